"""Cropped masks as tensors, and the targets that a mask loss reads from them.

The masks of an image are one flat byte tensor, however many boxes are matched with them. Only indices are copied.
detectron2's `BitMasks.crop_and_resize` works by RoIAlign on N x H x W planes. Here the same numbers are computed from
the crops, without the planes; tests compare the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from harness.masks.crops import CropMasks
from methods.shared.chunking import chunk_size
from methods.shared.device_transfer import tensor_to_device, to_device

if TYPE_CHECKING:
    from methods.shared.neighbours import Neighbourhood


class TorchMasks:
    """N cropped masks on a device. Indexing shares the pixels.

    Attributes:
        pixels: (P,) uint8, the crops row by row, one after the other.
        boxes: (N, 4) int64, x0 y0 x1 y1 of the crops in pixels of the image.
        offsets: (N,) int64, where each crop begins in `pixels`.
        last_pixel: (N, 2) float32, last column and row of the image of each mask.
    """

    def __init__(self, pixels: Tensor, boxes: Tensor, offsets: Tensor, last_pixel: Tensor) -> None:
        self.pixels, self.boxes, self.offsets, self.last_pixel = pixels, boxes, offsets, last_pixel

    @staticmethod
    def from_images(
        masks: Sequence[CropMasks], sizes: Sequence[tuple[int, int]], device: torch.device | str
    ) -> TorchMasks:
        """The masks of several images, image after image. sizes: height and width of each image."""
        all_masks, counts = CropMasks.concatenate(masks), [len(of_image) for of_image in masks]
        last_pixel = np.repeat(
            np.array([(width - 1, height - 1) for height, width in sizes], np.float32), counts, axis=0
        )
        arrays = (all_masks.pixels, all_masks.boxes.astype(np.int64), all_masks.offsets[:-1], last_pixel)
        return TorchMasks(*(to_device(array, torch.device(device)) for array in arrays))

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: Tensor) -> TorchMasks:
        return TorchMasks(self.pixels, self.boxes[index], self.offsets[index], self.last_pixel[index])

    def sample_bilinear(self, x: Tensor, y: Tensor) -> Tensor:
        """(N, ...) float values of mask i at continuous pixel coordinates x[i], y[i]; zero outside the crop.

        The centre of pixel 0 is at 0.5. Coordinates beyond the outermost pixel centres of the image are moved onto
        them, as RoIAlign does.
        """
        shape = (-1,) + (1,) * (x.dim() - 1)
        x0, y0, x1, y1 = (v.reshape(shape) for v in self.boxes.unbind(1))
        last_x, last_y = (v.reshape(shape) for v in self.last_pixel.unbind(1))
        start, span = self.offsets.reshape(shape), x1 - x0
        x, y = torch.minimum((x - 0.5).clamp(min=0), last_x), torch.minimum((y - 0.5).clamp(min=0), last_y)
        left, top = x.floor(), y.floor()
        fx, fy = x - left, y - top
        column, row = left.long(), top.long()

        def pixel(r: Tensor, c: Tensor) -> Tensor:
            inside = (r >= y0) & (r < y1) & (c >= x0) & (c < x1)
            index = start + (r - y0) * span + (c - x0)
            return self.pixels[torch.where(inside, index, 0)] * inside

        upper = pixel(row, column) * (1 - fx) + pixel(row, column + 1) * fx
        lower = pixel(row + 1, column) * (1 - fx) + pixel(row + 1, column + 1) * fx
        return upper * (1 - fy) + lower * fy

    def roi_align(self, boxes: Tensor, size: int, host_boxes: Tensor | None = None) -> Tensor:
        """Mask i averaged over the bins of a grid on boxes[i], by RoIAlign with adaptive sampling.

        RoIAlign samples on a grid, so that its bins are a product of three matrices: the weights of pixel rows in each
        row of bins, the pixels under the box, the weights of pixel columns in each column of bins.

        Args:
            boxes: (N, 4), x0 y0 x1 y1 in pixels of the images.
            size: Bins along each axis.
            host_boxes: The same boxes on the host. Without them a GPU is waited for.

        Returns:
            (N, size, size) in [0, 1].
        """
        if len(self) == 0:
            return boxes.new_zeros((0, size, size))
        host_boxes = (boxes if host_boxes is None else host_boxes).cpu()
        # number of pixel columns and rows that the samples of a box may read
        spans = (host_boxes[:, 2:].ceil() - host_boxes[:, :2].floor()).int() + 2
        # boxes are grouped by size, because the window of a group is as large as its largest box; up to 32 is one group
        size_class = spans.amax(dim=1).float().log2().ceil().int().clamp(min=5)
        pieces, rows_of_pieces = [], []
        for group in (torch.nonzero(size_class == k)[:, 0] for k in size_class.unique().tolist()):
            width, height = spans[group].amax(dim=0).tolist()
            for rows in group.split(chunk_size(height * width, boxes.device)):
                index = tensor_to_device(rows, boxes.device)
                pieces.append(self[index]._roi_align_windows(boxes[index], size, height, width))
                rows_of_pieces.append(rows)
        if len(pieces) == 1:
            return pieces[0]
        return torch.cat(pieces)[tensor_to_device(torch.cat(rows_of_pieces).argsort(), boxes.device)]

    def _roi_align_windows(self, boxes: Tensor, size: int, height: int, width: int) -> Tensor:
        """`roi_align` of boxes whose samples read at most `height` rows and `width` columns of pixels."""
        column_weights, column = _bin_weights(boxes[:, ::2], size, width, self.boxes[:, ::2], self.last_pixel[:, 0])
        row_weights, row = _bin_weights(boxes[:, 1::2], size, height, self.boxes[:, 1::2], self.last_pixel[:, 1])
        start = self.offsets[:, None] + row * (self.boxes[:, 2] - self.boxes[:, 0])[:, None]
        window = self.pixels[start[:, :, None] + column[:, None]].to(boxes.dtype)
        # in float32, because targets are compared with one half
        with torch.autocast(boxes.device.type, enabled=False):
            return row_weights @ window @ column_weights.transpose(1, 2)


def _bin_weights(edges: Tensor, size: int, count: int, crop: Tensor, last_pixel: Tensor) -> tuple[Tensor, Tensor]:
    """Along one axis, the `count` pixels that the bins of boxes read from crops, and their weights in each bin.

    Args:
        edges: (N, 2) float, low and high edge of the boxes.
        size: Bins.
        count: Pixels in the window of each box.
        crop: (N, 2) int64, low and high edge of the crops.
        last_pixel: (N,) last pixel of the image.

    Returns:
        (N, size, count) weights, zero for pixels outside the crop, and (N, count) int64 positions in the crop.
    """
    low, high = edges.unbind(1)
    first, end = crop[:, :1], crop[:, 1:]
    pixels = low[:, None].floor().long() - 1 + torch.arange(count, device=edges.device)
    weights = _sample_weights(low, high, size, pixels, last_pixel) * ((pixels >= first) & (pixels < end))[:, None]
    return weights, pixels.clamp(first, end - 1) - first


def _sample_weights(low: Tensor, high: Tensor, size: int, pixels: Tensor, last_pixel: Tensor) -> Tensor:
    """(N, size, P) weights of the (N, P) `pixels` of an axis in each bin between `low` and `high`.

    A bin is the mean of as many bilinear samples as it spans pixels, as in RoIAlign with sampling ratio 0.
    """
    extent = high - low
    samples = (extent / size).ceil().clamp(min=1)
    # the window is two pixels wider than the box
    max_samples = max(1, -(-(pixels.shape[1] - 2) // size))
    number = torch.arange(max_samples, device=low.device, dtype=low.dtype)
    bins = torch.arange(size, device=low.device, dtype=low.dtype)[:, None]
    positions = bins + (number + 0.5) / samples[:, None, None]
    positions = low[:, None, None] + positions * (extent / size)[:, None, None] - 0.5
    positions = torch.minimum(positions.clamp(min=0), last_pixel[:, None, None])
    weights = (1 - (positions[..., None] - pixels[:, None, None]).abs()).clamp(min=0)
    sample_weight = (number < samples[:, None]) / samples[:, None]
    return (weights * sample_weight[:, None, :, None]).sum(dim=2)


@dataclass
class MatchedTargets:
    """The labels of the R matched boxes of a batch; implements methods.shared.supervision.MaskTargets.

    Attributes:
        boxes: (R, 4) float, x0 y0 x1 y1 in pixels of the images.
        masks: Of the R boxes, or None where the supervision removed them.
        points: (R, P, 2) annotated points in pixels of the images, or None.
        point_labels: (R, P): 1 inside, 0 outside, -1 to ignore.
        host_boxes: The boxes on the host, where `boxes` is on a GPU.
        neighbourhood: All instances of the batch, or None where there are no masks.
    """

    boxes: Tensor
    masks: TorchMasks | None
    points: Tensor | None = None
    point_labels: Tensor | None = None
    host_boxes: Tensor | None = None
    neighbourhood: Neighbourhood | None = None

    @property
    def has_masks(self) -> bool:
        return self.masks is not None

    def masks_on_grid(self, size: int) -> Tensor:
        return self._masks().roi_align(self.boxes, size, self.host_boxes)

    def occluders_on_grid(self, size: int, min_iou: float) -> Tensor:
        if self.neighbourhood is None:
            raise RuntimeError("the supervision removed the masks")
        host_boxes = self.boxes.cpu() if self.host_boxes is None else self.host_boxes
        return self.neighbourhood.on_grid(self.boxes, host_boxes, size, min_iou)

    def masks_at(self, points: Tensor) -> Tensor:
        origin, extent = self.boxes[:, None, :2], (self.boxes[:, 2:] - self.boxes[:, :2])[:, None]
        x, y = (origin + points * extent).unbind(-1)
        return self._masks().sample_bilinear(x, y)

    def annotated_points(self) -> tuple[Tensor, Tensor]:
        if self.points is None or self.point_labels is None:
            raise RuntimeError("the samples carry no annotated points")
        return self.points, self.point_labels

    def _masks(self) -> TorchMasks:
        if self.masks is None:
            raise RuntimeError("the supervision removed the masks")
        return self.masks
