"""COCO's average precision, for images with hundreds of cells.

The definition is pycocotools' (checked against it in the tests) but for two things that its loops over every
detection, cell, threshold and size make slow for cells: here each detection is only held against the cells it could
match, and all thresholds and sizes are worked through at once.

The rules, in short. Detections keep their overlaps and are visited in order of score, within a class. Each takes the
free cell of largest IoU, at least the threshold (>=, unlike iou_map); of equals the last. Cells outside the size range
and crowd regions count as nothing, and are taken only where no other cell can be; a crowd region can be taken again and
again, and its IoU is over the detection's own area. An unmatched detection outside the size range counts as nothing.
Precision is made monotone and read at 101 recalls; the mean over thresholds and over classes that have cells is AP.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.evaluation.close_pairs import LEAST_IOU, ClosePairs

IOU_THRESHOLDS = np.linspace(LEAST_IOU, 0.95, 10)
_RECALLS = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True, slots=True, eq=False)
class RankedImage:
    """Detections of one class on one image, in order of score, and its cells.

    pairs: those that may match. scores: (D,). areas: (D,). cell_areas: (G,). crowd: (G,) bool.
    """

    pairs: ClosePairs
    scores: NDArray[np.float32]
    areas: NDArray[np.int64]
    cell_areas: NDArray[np.int64]
    crowd: NDArray[np.bool_]


@dataclass(slots=True, eq=False)
class RankedClass:
    """Gathers the detections of one class over all images. ranges: (A, 2) smallest and largest area, inclusive.

    Holds, per detection, its score and two bits per size and threshold; no masks.
    """

    ranges: NDArray[np.float64]
    _scores: list[NDArray[np.float32]] = field(default_factory=list)
    _hits: list[NDArray[np.bool_]] = field(default_factory=list)
    _ignored: list[NDArray[np.bool_]] = field(default_factory=list)
    _cells: NDArray[np.int64] | int = 0

    def add(self, image: RankedImage) -> None:
        """Match one image's detections with its cells."""
        outside = _outside(image.cell_areas, self.ranges) | image.crowd
        taken = _assign(image.pairs, len(image.scores), outside, image.crowd)
        # a last column for taken == -1
        padded = np.pad(outside, ((0, 0), (0, 1)))
        matched = taken >= 0
        ignored = padded[np.arange(len(padded))[:, None, None], taken]
        ignored |= ~matched & _outside(image.areas, self.ranges)[:, None, :]
        self._scores.append(image.scores)
        self._hits.append(matched)
        self._ignored.append(ignored)
        self._cells = self._cells + np.count_nonzero(~outside, axis=1)

    def average_precision(self) -> NDArray[np.float64]:
        """(A, 10) at each size range and threshold; NaN where there is no cell of that size."""
        cells = np.broadcast_to(self._cells, len(self.ranges))
        scores = np.concatenate([np.zeros(0, np.float32), *self._scores])
        result = np.full((len(self.ranges), len(IOU_THRESHOLDS)), np.nan)
        order = np.argsort(-scores, kind="stable")
        for a in np.flatnonzero(cells):
            for t in range(len(IOU_THRESHOLDS)):
                hit = np.concatenate([np.zeros(0, np.bool_), *(h[a, t] for h in self._hits)])[order]
                counted = ~np.concatenate([np.zeros(0, np.bool_), *(i[a, t] for i in self._ignored)])[order]
                result[a, t] = _area_under(hit[counted], int(cells[a]))
        return result

    def recall(self) -> NDArray[np.float64]:
        """(A, 10) the part of the cells that is found, at each size range and threshold; NaN where there is no cell."""
        cells = np.broadcast_to(self._cells, len(self.ranges))[:, None]
        found = np.zeros((len(self.ranges), len(IOU_THRESHOLDS)))
        for hits, ignored in zip(self._hits, self._ignored, strict=True):
            found += np.count_nonzero(hits & ~ignored, axis=2)
        return np.where(cells > 0, found / np.maximum(cells, 1), np.nan)


def _outside(areas: NDArray[np.int64], ranges: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(A, n) whether each area lies outside each range."""
    return (areas < ranges[:, :1]) | (areas > ranges[:, 1:])


def _assign(pairs: ClosePairs, count: int, outside: NDArray[np.bool_], crowd: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(A, T, D) the cell that each of `count` detections takes at each size and threshold, or -1. outside: (A, G)."""
    sizes, cells = outside.shape
    taken = np.full((sizes, len(IOU_THRESHOLDS), count), -1)
    free = np.ones((sizes, len(IOU_THRESHOLDS), cells), np.bool_)
    least = np.minimum(IOU_THRESHOLDS, 1 - 1e-10)
    bounds = np.searchsorted(pairs.detection, np.arange(count + 1))
    for d in np.unique(pairs.detection).tolist():
        near = slice(bounds[d], bounds[d + 1])
        # worst first, so that the best that may be taken is written last; cells that count come after all others
        order = np.lexsort((pairs.cell[near], pairs.iou[near]))
        for c, iou in zip(pairs.cell[near][order].tolist(), pairs.iou[near][order].tolist(), strict=True):
            may = free[:, :, c] & (iou >= least)
            # a cell outside the range never replaces one inside
            current = taken[:, :, d]
            if_outside = (current < 0) | np.take_along_axis(outside, np.maximum(current, 0), axis=1)
            may &= ~outside[:, c][:, None] | if_outside
            current[may] = c
        a, t = np.nonzero(taken[:, :, d] >= 0)
        c_taken = taken[a, t, d]
        once = ~crowd[c_taken]
        free[a[once], t[once], c_taken[once]] = False
    return taken


def _area_under(hit: NDArray[np.bool_], cells: int) -> float:
    """Mean over 101 recalls of the best precision at that recall or a higher one."""
    true = np.cumsum(hit)
    recall = true / cells
    precision = true / np.arange(1, len(hit) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(recall, _RECALLS, side="left")
    return float(np.append(best, 0.0)[at].mean())


def mean_over_classes(classes: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """(A, 10) mean over the classes that have cells of that size; NaN where none has."""
    stack = np.stack(classes)
    there = ~np.isnan(stack)
    total = np.where(there, stack, 0.0).sum(axis=0)
    number = there.sum(axis=0)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)
