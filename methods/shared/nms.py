"""Non-maximum suppression of many boxes on a CPU: only boxes that begin close to each other are compared.

torchvision compares every box that stays with all boxes after it, which is most of the work on images with thousands of
cells. Here boxes are sorted along the longer side of the image. The boxes that remain are the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision import ops

from methods.shared.device_transfer import on_gpu

FEW = 500
"""Up to so many boxes, comparing all is quicker."""

PAIRS = 2**20
"""Pairs that are looked at together."""

MOST_COMPARED = 1 / 40
"""Share of all pairs from which on comparing all is quicker."""

SLACK = 1e-4
"""Share of a box's width by which more boxes are compared, since float32 rounds."""


def compare_all(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    kept: Tensor = ops.nms(boxes, scores, threshold)
    return kept


def nms(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """As torchvision.ops.nms: of two boxes that overlap too far, the one with the lower score is removed.

    Args:
        boxes: (N, 4) float32, x0 y0 x1 y1.
        scores: (N,).
        threshold: IoU above which two boxes overlap too far; above 0.

    Returns:
        Indices of the boxes that remain, best first.
    """
    if on_gpu(boxes) or len(boxes) <= FEW:
        return compare_all(boxes, scores, threshold)
    order = scores.sort(descending=True, stable=True).indices
    ranked = boxes.detach()[order].numpy()
    near = _Near.of(ranked, threshold)
    if near.count() > MOST_COMPARED * len(boxes) ** 2:
        return compare_all(boxes, scores, threshold)
    pairs = list(near.overlapping(ranked, threshold))
    better = np.concatenate([np.minimum(a, b) for a, b in pairs])
    worse = np.concatenate([np.maximum(a, b) for a, b in pairs])
    return order[torch.from_numpy(_remaining(len(boxes), better, worse))]


@dataclass(frozen=True)
class _Near:
    """Pairs of boxes that may overlap too far, by where they begin along one axis.

    axis: 0 for x, 1 for y. order: of the boxes by their begin. each: how many of those after it a box is compared with.
    """

    axis: int
    order: NDArray[np.int64]
    each: NDArray[np.int64]

    @staticmethod
    def of(boxes: NDArray[np.float32], threshold: float) -> _Near:
        low, high = boxes[:, :2], boxes[:, 2:]
        axis = int(np.ptp(low[:, 1]) > np.ptp(low[:, 0]))
        order = np.argsort(low[:, axis], kind="stable")
        begin, length = low[order, axis], (high - low)[order, axis]
        # boxes that have `threshold` of this one's length in common begin at most so far behind it
        last = np.searchsorted(begin, begin + (1 - threshold + SLACK) * length, side="right")
        return _Near(axis, order, np.maximum(last - np.arange(len(order)) - 1, 0))

    def count(self) -> int:
        return int(self.each.sum())

    def overlapping(
        self, boxes: NDArray[np.float32], threshold: float
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Indices of boxes with an IoU above the threshold, each pair once."""
        along, across = self.axis, 1 - self.axis
        low, high = boxes[:, :2], boxes[:, 2:]
        areas = (high - low).prod(axis=1)
        for first, end in _chunks(self.each):
            each = self.each[first:end]
            a = np.repeat(np.arange(first, end), each)
            b = np.arange(len(a)) - np.repeat(np.cumsum(each) - each, each) + a + 1
            a, b = self.order[a], self.order[b]
            wide = np.minimum(high[a, across], high[b, across]) - np.maximum(low[a, across], low[b, across])
            near = wide > 0
            a, b, wide = a[near], b[near], wide[near]
            long = np.minimum(high[a, along], high[b, along]) - np.maximum(low[a, along], low[b, along])
            common = np.maximum(long, 0) * wide
            # the better box's area first, as torchvision adds them
            union = areas[np.minimum(a, b)] + areas[np.maximum(a, b)] - common
            with np.errstate(invalid="ignore", divide="ignore"):
                too_far = common / union > np.float32(threshold)
            yield a[too_far], b[too_far]


def _chunks(each: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Ranges of boxes with at most PAIRS pairs, or of one box."""
    up_to, begin = each.cumsum(), 0
    while begin < len(each):
        done = up_to[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(up_to, done + PAIRS, side="right")))
        yield begin, end
        begin = end


def _remaining(count: int, better: NDArray[np.int64], worse: NDArray[np.int64]) -> NDArray[np.int64]:
    """Indices that remain, where each pair removes `worse` if `better` remains; in ascending order."""
    removed = np.zeros(count, np.bool_)
    while len(better):
        waits = np.zeros(count, np.bool_)
        waits[worse] = True
        # a box that nothing above it can remove any more stays, and removes what it overlaps
        stays = ~waits[better]
        removed[worse[stays]] = True
        left = ~stays & ~removed[better] & ~removed[worse]
        better, worse = better[left], worse[left]
    return np.flatnonzero(~removed)
