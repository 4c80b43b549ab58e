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

from harness.masks import CropMasks
from methods.engines.in_caches import rows_at_once
from methods.engines.transfer import sent, sent_tensor


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
        return TorchMasks(*(sent(array, torch.device(device)) for array in arrays))

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

        on_host: the same (N, 4) boxes there, so that a GPU need not be asked for them.
        """
        if len(self) == 0:
            return boxes.new_zeros((0, size, size))
        here = boxes if on_host is None else on_host
        needed = ((here[:, 2:] - here[:, :2]) / size).clamp(min=1).ceil().int().cpu()
        kinds, kind = needed.unique(dim=0, return_inverse=True)
        pieces, where = [], []
        for number, (kx, ky) in enumerate(kinds.tolist()):
            of_kind = torch.nonzero(kind == number)[:, 0]
            for rows in of_kind.split(rows_at_once(size * size * kx * ky, boxes.device)):
                there = sent_tensor(rows, boxes.device)
                pieces.append(self[there]._grid(boxes[there], size, kx, ky))
                where.append(rows)
        if len(pieces) == 1:
            return pieces[0]
        return torch.cat(pieces)[sent_tensor(torch.cat(where).argsort(), boxes.device)]

    def _grid(self, boxes: Tensor, size: int, kx: int, ky: int) -> Tensor:
        bins_x, bins_y = ((boxes[:, 2:] - boxes[:, :2]) / size).unbind(1)

        def centres(k: int) -> Tensor:
            return (torch.arange(size * k, device=boxes.device, dtype=boxes.dtype) + 0.5) / k

        x = boxes[:, 0, None] + centres(kx) * bins_x[:, None]
        y = boxes[:, 1, None] + centres(ky) * bins_y[:, None]
        n = len(boxes)
        dense = self.bilinear(
            x[:, None, :].expand(n, size * ky, size * kx), y[:, :, None].expand(n, size * ky, size * kx)
        )
        return dense.reshape(n, size, ky, size, kx).mean(dim=(2, 4)) if kx > 1 or ky > 1 else dense


@dataclass
class MatchedLabels:
    """Implements methods.nets.supervision.MaskTargets for the R matched boxes of a batch.

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
