"""RoIAlign by `torch.nn.functional.embedding_bag`: the numbers of torchvision's, faster on a CPU.

A bin of RoIAlign (He et al. 2017, section 3) is the mean of bilinear samples, so it is a weighted sum of a few pixels
of the map. torchvision adds them channel by channel and scatters gradients in one thread. An embedding bag adds whole
vectors of channels. The gradient of a pixel is such a weighted sum as well, over the bins that read the pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def roi_align_embedding_bag(feature: Tensor, rois: Tensor, size: int, scale: float, sampling_ratio: int) -> Tensor:
    """`torchvision.ops.roi_align(feature, rois, size, scale, sampling_ratio, aligned=True)`, channels last.

    The gradient goes to the map, not to the boxes.

    Args:
        feature: (B, C, h, w) map.
        rois: (R, 5) image index and box, x0 y0 x1 y1 in pixels of the network's input.
        size: Bins along each axis.
        scale: Pixels of the map for one pixel of the input.
        sampling_ratio: Samples of a bin along each axis; 0 for as many as the bin spans pixels of the map.

    Returns:
        (R, size, size, C) float32.
    """
    images, channels, height, width = feature.shape
    vectors = feature.permute(0, 2, 3, 1).reshape(images * height * width, channels).float()
    rois = rois.float()
    low, high = rois[:, 1:3] * scale, rois[:, 3:5] * scale
    # (R, 2) samples of a bin along x and y
    samples = ((high - low) / size).ceil().clamp(min=1) if sampling_ratio == 0 else torch.full_like(low, sampling_ratio)
    kinds, kind = samples.long().unique(dim=0, return_inverse=True)
    pieces, rows_of_pieces = [], []
    for index, (samples_x, samples_y) in enumerate(kinds.tolist()):
        rows = torch.nonzero(kind == index)[:, 0]
        x, x_weight = _bilinear_taps(low[rows, 0], high[rows, 0], size, width, samples_x)
        y, y_weight = _bilinear_taps(low[rows, 1], high[rows, 1], size, height, samples_y)
        first = rois[rows, 0].long() * (height * width)
        pixels = (first[:, None, None] + y * width)[:, :, None, :, None] + x[:, None, :, None, :]
        weights = y_weight[:, :, None, :, None] * x_weight[:, None, :, None, :]
        if sampling_ratio == 0:
            # a box without area has no samples, so its bins are zero
            weights = weights * (high > low).all(dim=1)[rows, None, None, None, None]
        bins = len(rows) * size * size
        sums: Tensor = _WeightedSum.apply(vectors, pixels.reshape(bins, -1), weights.reshape(bins, -1))
        pieces.append(sums.reshape(len(rows), size, size, channels))
        rows_of_pieces.append(rows)
    if not pieces:
        return vectors.new_zeros((0, size, size, channels))
    return restore_order(pieces, rows_of_pieces)


def restore_order(pieces: Sequence[Tensor], rows: Sequence[Tensor]) -> Tensor:
    """(R, ...) tensor put together from pieces. rows: for each piece, the indices of its rows in the result."""
    whole: Tensor = pieces[0] if len(pieces) == 1 else _GatherRows.apply(torch.cat(list(rows)), *pieces)
    return whole


class _GatherRows(torch.autograd.Function):
    """Puts rows in order. The gradient gathers rows; that of an index would be a sum in one thread."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, *pieces: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.lengths = [len(piece) for piece in pieces]
        return torch.cat(pieces).index_select(0, rows.argsort())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, *tuple[Tensor, ...]]:
        (rows,) = ctx.saved_tensors
        return None, *(gradient.index_select(0, of_piece) for of_piece in rows.split(ctx.lengths))


class _WeightedSum(torch.autograd.Function):
    """Weighted sums of rows of a table. The gradient is the sum by the transposed weights, with the same kernel."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
        """(n, C) from a (N, C) table, (n, k) int64 indices of its rows and (n, k) weights."""
        ctx.rows = len(table)
        ctx.save_for_backward(indices, weights)
        return F.embedding_bag(indices, table, mode="sum", per_sample_weights=weights)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        indices, weights = ctx.saved_tensors
        taps = indices.flatten()
        order = taps.argsort(stable=True)
        counts = torch.bincount(taps, minlength=ctx.rows)
        sums = F.embedding_bag(
            order // indices.shape[1],
            gradient.contiguous(),
            counts.cumsum(0) - counts,
            mode="sum",
            per_sample_weights=weights.flatten()[order],
        )
        return sums, None, None


def _bilinear_taps(low: Tensor, high: Tensor, size: int, length: int, samples: int) -> tuple[Tensor, Tensor]:
    """Which pixels of an axis the bins between `low` and `high` read, and their weights.

    A sample more than one pixel outside the map has no weight. Other samples outside are moved onto the border pixels.

    Args:
        low, high: (R,) edges of the boxes in pixels of the map.
        size: Bins.
        length: Pixels of the map along the axis.
        samples: Samples of a bin.

    Returns:
        Two (R, size, 2 * samples) tensors: int64 indices and float32 weights.
    """
    fractions = (torch.arange(size * samples, device=low.device, dtype=low.dtype) + 0.5) / (size * samples)
    positions = (low - 0.5)[:, None] + fractions * (high - low)[:, None]
    valid = (positions >= -1) & (positions <= length)
    positions = positions.clamp(0, length - 1)
    before = positions.floor()
    share = positions - before
    pixels = torch.stack([before, (before + 1).clamp(max=length - 1)], dim=-1).long()
    weights = torch.stack([1 - share, share], dim=-1) * (valid[..., None] / samples)
    return pixels.reshape(len(low), size, -1), weights.reshape(len(low), size, -1)
