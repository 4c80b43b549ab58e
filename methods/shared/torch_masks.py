"""Annotated cells as tensors: cropped masks that follow matched boxes around, and are sampled where a loss asks.

The masks of an image stay one flat byte tensor however often its cells are matched; only indices are copied. What
detectron2's BitMasks gives by RoIAlign over N x H x W planes is gathered here from the crops: the same numbers
(tests hold the two together) without the planes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.masks.crops import CropMasks
from methods.shared.chunking import chunk_size
from methods.shared.device_transfer import tensor_to_device, to_device


class TorchMasks:
    """N cropped masks on a device; indexing shares the pixels.

    pixels: (P,) uint8. boxes: (N, 4) int64, x0 y0 x1 y1. offsets: (N,) int64, where each crop begins in pixels.
    last: (N, 2) float32, the last column and row of each mask's image.
    """

    def __init__(self, pixels: Tensor, boxes: Tensor, offsets: Tensor, last: Tensor) -> None:
        self.pixels, self.boxes, self.offsets, self.last = pixels, boxes, offsets, last

    @staticmethod
    def of_images(
        masks: Sequence[CropMasks], sizes: Sequence[tuple[int, int]], device: torch.device | str
    ) -> TorchMasks:
        """The masks of several images, image after image; sizes: height and width of each."""
        together, counts = CropMasks.concatenate(masks), [len(those) for those in masks]
        last = np.repeat(np.array([(width - 1, height - 1) for height, width in sizes], np.float32), counts, axis=0)
        arrays = (together.pixels, together.boxes.astype(np.int64), together.offsets[:-1], last)
        return TorchMasks(*(to_device(array, torch.device(device)) for array in arrays))

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: Tensor) -> TorchMasks:
        return TorchMasks(self.pixels, self.boxes[index], self.offsets[index], self.last[index])

    def bilinear(self, x: Tensor, y: Tensor) -> Tensor:
        """(N, ...) float values of mask i at continuous pixel coordinates x[i], y[i]; zero outside the crop.

        The centre of pixel 0 is at 0.5; coordinates beyond the outermost centres of the image are moved onto them,
        as RoIAlign does.
        """
        shape = (-1,) + (1,) * (x.dim() - 1)
        x0, y0, x1, y1 = (v.reshape(shape) for v in self.boxes.unbind(1))
        last_x, last_y = (v.reshape(shape) for v in self.last.unbind(1))
        start, span = self.offsets.reshape(shape), x1 - x0
        x, y = torch.minimum((x - 0.5).clamp(min=0), last_x), torch.minimum((y - 0.5).clamp(min=0), last_y)
        left, top = x.floor(), y.floor()
        fx, fy = x - left, y - top
        column, row = left.long(), top.long()

        def at(r: Tensor, c: Tensor) -> Tensor:
            inside = (r >= y0) & (r < y1) & (c >= x0) & (c < x1)
            where = start + (r - y0) * span + (c - x0)
            return self.pixels[torch.where(inside, where, 0)] * inside

        upper = at(row, column) * (1 - fx) + at(row, column + 1) * fx
        lower = at(row + 1, column) * (1 - fx) + at(row + 1, column + 1) * fx
        return upper * (1 - fy) + lower * fy

    def on_grid(self, boxes: Tensor, size: int, on_host: Tensor | None = None) -> Tensor:
        """(N, size, size): mask i averaged over the bins of a grid on boxes[i], as RoIAlign with adaptive sampling.

        The samples of RoIAlign stand in rows and columns, so that the bins are a product of three matrices: what each
        row of bins takes of the rows of pixels, the pixels that the box shows, what each column takes of the columns.
        on_host: the same (N, 4) boxes there, so that a GPU need not be asked for them.
        """
        if len(self) == 0:
            return boxes.new_zeros((0, size, size))
        here = (boxes if on_host is None else on_host).cpu()
        # rows and columns of pixels that a sample in the box may read
        spans = (here[:, 2:].ceil() - here[:, :2].floor()).int() + 2
        # boxes of about one size together, for a window is as large as the largest needs it; all up to 32 are small
        kind = spans.amax(dim=1).float().log2().ceil().int().clamp(min=5)
        pieces, where = [], []
        for of_kind in (torch.nonzero(kind == k)[:, 0] for k in kind.unique().tolist()):
            width, height = spans[of_kind].amax(dim=0).tolist()
            for rows in of_kind.split(chunk_size(height * width, boxes.device)):
                there = tensor_to_device(rows, boxes.device)
                pieces.append(self[there]._grid(boxes[there], size, height, width))
                where.append(rows)
        if len(pieces) == 1:
            return pieces[0]
        return torch.cat(pieces)[tensor_to_device(torch.cat(where).argsort(), boxes.device)]

    def _grid(self, boxes: Tensor, size: int, height: int, width: int) -> Tensor:
        """Where the samples of no box read more than so many rows and columns."""
        across, column = _read(boxes[:, ::2], size, width, self.boxes[:, ::2], self.last[:, 0])
        down, row = _read(boxes[:, 1::2], size, height, self.boxes[:, 1::2], self.last[:, 1])
        start = self.offsets[:, None] + row * (self.boxes[:, 2] - self.boxes[:, 0])[:, None]
        window = self.pixels[start[:, :, None] + column[:, None]].to(boxes.dtype)
        with torch.autocast(boxes.device.type, enabled=False):  # a half is to be told from a little less
            return down @ window @ across.transpose(1, 2)


def _read(edges: Tensor, size: int, count: int, crop: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    """Along one axis, the `count` pixels that the bins between (N, 2) edges read of crops between (N, 2) others.

    What each bin takes of each, (N, size, count), nothing outside the crop; and where in the crop they are, (N, count).
    """
    low, high = edges.unbind(1)
    first, end = crop[:, :1], crop[:, 1:]
    places = low[:, None].floor().long() - 1 + torch.arange(count, device=edges.device)
    shares = _shares(low, high, size, places, last) * ((places >= first) & (places < end))[:, None]
    return shares, places.clamp(first, end - 1) - first


def _shares(low: Tensor, high: Tensor, size: int, places: Tensor, last: Tensor) -> Tensor:
    """(N, size, P): what each bin between low and high takes of the (N, P) pixels of an axis at `places`.

    A bin is the mean of as many bilinear samples as it spans pixels. last: where the last pixel of the image is.
    """
    extent = high - low
    samples = (extent / size).ceil().clamp(min=1)
    # the last place is the one behind what a bin at the end reads
    most = max(1, -(-(places.shape[1] - 2) // size))
    number = torch.arange(most, device=low.device, dtype=low.dtype)
    bins = torch.arange(size, device=low.device, dtype=low.dtype)[:, None]
    at = bins + (number + 0.5) / samples[:, None, None]
    at = low[:, None, None] + at * (extent / size)[:, None, None] - 0.5
    at = torch.minimum(at.clamp(min=0), last[:, None, None])
    shares = (1 - (at[..., None] - places[:, None, None]).abs()).clamp(min=0)
    counted = (number < samples[:, None]) / samples[:, None]
    return (shares * counted[:, None, :, None]).sum(dim=2)


@dataclass
class MatchedLabels:
    """Implements methods.shared.supervision.MaskTargets for the R matched boxes of a batch.

    on_host: the boxes there, where they live on a GPU.
    """

    boxes: Tensor
    masks: TorchMasks | None
    points: Tensor | None = None
    point_labels: Tensor | None = None
    on_host: Tensor | None = None

    def masks_on_grid(self, size: int) -> Tensor:
        return self._masks().on_grid(self.boxes, size, self.on_host)

    def masks_at(self, points: Tensor) -> Tensor:
        origin, extent = self.boxes[:, None, :2], (self.boxes[:, 2:] - self.boxes[:, :2])[:, None]
        x, y = (origin + points * extent).unbind(-1)
        return self._masks().bilinear(x, y)

    def annotated_points(self) -> tuple[Tensor, Tensor]:
        if self.points is None or self.point_labels is None:
            raise RuntimeError("the samples carry no annotated points")
        return self.points, self.point_labels

    def _masks(self) -> TorchMasks:
        if self.masks is None:
            raise RuntimeError("the masks were taken away by the supervision")
        return self.masks
