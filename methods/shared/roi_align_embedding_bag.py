"""RoIAlign as weighted sums of feature vectors: the same numbers as torchvision's, faster on a CPU.

A bin of RoIAlign is the mean of bilinear samples, so it is a weighted sum of a few cells of the map. torchvision adds
them up channel by channel, and scatters their gradients by one thread; an embedding bag adds up whole vectors of
channels. The gradient is such a sum too, of the bins that a cell of the map went into.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def roi_align_embedding_bag(feature: Tensor, rois: Tensor, size: int, scale: float, sampling_ratio: int) -> Tensor:
    """(R, size, size, C) float32 from a (B, C, h, w) map and (R, 5) rows of image index and box in input pixels.

    Equals torchvision.ops.roi_align(feature, rois, size, scale, sampling_ratio, aligned=True), channels last; the
    gradient goes to the map, not to the boxes.
    """
    images, channels, height, width = feature.shape
    vectors = feature.permute(0, 2, 3, 1).reshape(images * height * width, channels).float()
    rois = rois.float()
    low, high = rois[:, 1:3] * scale, rois[:, 3:5] * scale
    # samples a bin along x and along y
    wanted = ((high - low) / size).ceil().clamp(min=1) if sampling_ratio == 0 else torch.full_like(low, sampling_ratio)
    kinds, kind = wanted.long().unique(dim=0, return_inverse=True)
    pieces, where = [], []
    for number, (along_x, along_y) in enumerate(kinds.tolist()):
        rows = torch.nonzero(kind == number)[:, 0]
        x, x_weight = _taps(low[rows, 0], high[rows, 0], size, width, along_x)
        y, y_weight = _taps(low[rows, 1], high[rows, 1], size, height, along_y)
        first = rois[rows, 0].long() * (height * width)
        cells = (first[:, None, None] + y * width)[:, :, None, :, None] + x[:, None, :, None, :]
        weights = y_weight[:, :, None, :, None] * x_weight[:, None, :, None, :]
        if sampling_ratio == 0:
            # as many samples as the box is wide: none in a box of no width
            weights = weights * (high > low).all(dim=1)[rows, None, None, None, None]
        bins = len(rows) * size * size
        sums: Tensor = _WeightedSums.apply(vectors, cells.reshape(bins, -1), weights.reshape(bins, -1))
        pieces.append(sums.reshape(len(rows), size, size, channels))
        where.append(rows)
    if not pieces:
        return vectors.new_zeros((0, size, size, channels))
    return in_order(pieces, where)


def in_order(pieces: Sequence[Tensor], where: Sequence[Tensor]) -> Tensor:
    """(R, ...) tensor of the rows of the pieces; where: for each piece the numbers of its rows, all R in all."""
    together: Tensor = pieces[0] if len(pieces) == 1 else _GatherRows.apply(torch.cat(list(where)), *pieces)
    return together


class _GatherRows(torch.autograd.Function):
    """Rows put in order; the gradient is read row by row, where that of an index would be added up by one thread."""

    @staticmethod
    def forward(ctx: Any, where: Tensor, *pieces: Tensor) -> Tensor:
        ctx.save_for_backward(where)
        ctx.lengths = [len(piece) for piece in pieces]
        return torch.cat(pieces).index_select(0, where.argsort())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, *tuple[Tensor, ...]]:
        (where,) = ctx.saved_tensors
        return None, *(gradient.index_select(0, rows) for rows in where.split(ctx.lengths))


class _WeightedSums(torch.autograd.Function):
    """Sums of rows of a table; the gradient is the sum by the transposed weights, made by the same kernel."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, cells: Tensor, weights: Tensor) -> Tensor:
        """(n, C) from a (N, C) table, (n, k) int64 numbers of its rows and (n, k) weights."""
        ctx.rows = len(table)
        ctx.save_for_backward(cells, weights)
        return F.embedding_bag(cells, table, mode="sum", per_sample_weights=weights)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        cells, weights = ctx.saved_tensors
        taps = cells.flatten()
        order = taps.argsort(stable=True)
        taken = torch.bincount(taps, minlength=ctx.rows)
        sums = F.embedding_bag(
            order // cells.shape[1],
            gradient.contiguous(),
            taken.cumsum(0) - taken,
            mode="sum",
            per_sample_weights=weights.flatten()[order],
        )
        return sums, None, None


def _taps(low: Tensor, high: Tensor, size: int, length: int, samples: int) -> tuple[Tensor, Tensor]:
    """Which cells of an axis each bin between low and high reads, and how much each counts.

    Two (R, size, 2 * samples) tensors, int64 and float32. A sample more than one cell outside the map counts nothing;
    other samples outside are moved onto the outermost cells.
    """
    places = (torch.arange(size * samples, device=low.device, dtype=low.dtype) + 0.5) / (size * samples)
    extent = (high - low)[:, None]
    at = (low - 0.5)[:, None] + places * extent
    counts = (at >= -1) & (at <= length)
    at = at.clamp(0, length - 1)
    before = at.floor()
    share = at - before
    cells = torch.stack([before, (before + 1).clamp(max=length - 1)], dim=-1).long()
    weights = torch.stack([1 - share, share], dim=-1) * (counts[..., None] / samples)
    return cells.reshape(len(low), size, -1), weights.reshape(len(low), size, -1)
