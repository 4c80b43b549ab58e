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


class TorchMasks:
    """N cropped masks of one image on a device; indexing shares the pixels.

    pixels: (P,) uint8. boxes: (N, 4) int64, x0 y0 x1 y1. offsets: (N,) int64, where each crop begins in pixels.
    size: height and width of the image.
    """

    def __init__(self, pixels: Tensor, boxes: Tensor, offsets: Tensor, size: tuple[int, int]) -> None:
        self.pixels, self.boxes, self.offsets, self.size = pixels, boxes, offsets, size

    @staticmethod
    def of(masks: CropMasks, size: tuple[int, int], device: torch.device | str) -> TorchMasks:
        return TorchMasks(
            torch.from_numpy(np.ascontiguousarray(masks.pixels)).to(device, non_blocking=True),
            torch.from_numpy(masks.boxes.astype(np.int64)).to(device, non_blocking=True),
            torch.from_numpy(np.ascontiguousarray(masks.offsets[:-1])).to(device, non_blocking=True),
            size,
        )

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: Tensor) -> TorchMasks:
        return TorchMasks(self.pixels, self.boxes[index], self.offsets[index], self.size)

    def bilinear(self, x: Tensor, y: Tensor) -> Tensor:
        """(N, ...) float values of mask i at continuous pixel coordinates x[i], y[i]; zero outside the crop.

        The centre of pixel 0 is at 0.5; coordinates beyond the outermost centres of the image are moved onto them,
        as RoIAlign does.
        """
        height, width = self.size
        shape = (-1,) + (1,) * (x.dim() - 1)
        x0, y0, x1, y1 = (v.reshape(shape) for v in self.boxes.unbind(1))
        start, span = self.offsets.reshape(shape), x1 - x0
        x, y = (x - 0.5).clamp(0, width - 1), (y - 0.5).clamp(0, height - 1)
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

    def on_grid(self, boxes: Tensor, size: int) -> Tensor:
        """(N, size, size): mask i averaged over the bins of a grid on boxes[i], as RoIAlign with adaptive sampling."""
        if len(self) == 0:
            return boxes.new_zeros((0, size, size))
        bins_x, bins_y = ((boxes[:, 2] - boxes[:, 0]) / size), ((boxes[:, 3] - boxes[:, 1]) / size)
        needed = torch.stack([bins_x, bins_y], dim=1).clamp(min=1).ceil().int()
        kinds, kind = needed.unique(dim=0, return_inverse=True)
        pieces, where = [], []
        for number, (kx, ky) in enumerate(kinds.tolist()):
            of_kind = torch.nonzero(kind == number)[:, 0]
            for rows in of_kind.split(rows_at_once(size * size * kx * ky, boxes.device)):
                pieces.append(self[rows]._grid(boxes[rows], bins_x[rows], bins_y[rows], size, kx, ky))
                where.append(rows)
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)[torch.cat(where).argsort()]

    def _grid(self, boxes: Tensor, bins_x: Tensor, bins_y: Tensor, size: int, kx: int, ky: int) -> Tensor:
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
    """Implements methods.nets.supervision.MaskTargets for the matched boxes of a batch, image after image."""

    boxes: Tensor
    counts: Sequence[int]
    masks: Sequence[TorchMasks] | None
    points: Tensor | None = None
    point_labels: Tensor | None = None

    def masks_on_grid(self, size: int) -> Tensor:
        return torch.cat([m.on_grid(b, size) for m, b in zip(self._masks(), self._per_image(), strict=True)])

    def masks_at(self, points: Tensor) -> Tensor:
        origin, extent = self.boxes[:, None, :2], (self.boxes[:, 2:] - self.boxes[:, :2])[:, None]
        pixels = (origin + points * extent).split(list(self.counts))
        return torch.cat([m.bilinear(p[..., 0], p[..., 1]) for m, p in zip(self._masks(), pixels, strict=True)])

    def annotated_points(self) -> tuple[Tensor, Tensor]:
        if self.points is None or self.point_labels is None:
            raise RuntimeError("the samples carry no annotated points")
        return self.points, self.point_labels

    def _masks(self) -> Sequence[TorchMasks]:
        if self.masks is None:
            raise RuntimeError("the masks were taken away by the supervision")
        return self.masks

    def _per_image(self) -> tuple[Tensor, ...]:
        return self.boxes.split(list(self.counts))
