"""Which prediction found which cell, and at which IoU thresholds.

A pair counts at a threshold where its IoU is *greater* than it; IoU equal to a threshold does not count, as in the
competition's definition. Thresholds are 0.50, 0.55 ... 0.95, and IoU > (10 + k) / 20 is decided in whole numbers, as
20 * intersection > (10 + k) * union, so no rounding is involved. The public evaluator compares floating-point numbers
whose thresholds come from steps of 0.05 and lie at or a hair above these; no IoU of images that fit in memory falls
between, so both decide alike.

Matching is strictly one to one. Predictions are disjoint, so at most one of them can cover more than half of a cell,
which an IoU above 0.5 needs: a cell has at most one partner. Cells may overlap, so a prediction can have several. The
graph of possible pairs is therefore a set of stars around predictions, and its largest matching has one pair for each
prediction that has a partner at all: we take the partner of largest IoU, which is best at every threshold at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.evaluation.ground_truth import TruthPixels
from harness.evaluation.mask_pixels import MaskPixels
from harness.evaluation.overlap import DisjointMasks

THRESHOLDS = tuple((10 + k) / 20 for k in range(10))
"""0.50, 0.55 ... 0.95; a true positive needs an IoU above, not at, the threshold."""


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """M disjoint predictions, in order of score, against N cells of one image.

    levels: (M,) int64, 0 to 10: at how many thresholds, from the lowest, the prediction is a true positive.
    partner: (M,) int64, the cell it found (IoU > 0.5), or -1. iou: (M,) float64 with that cell, or 0.
    ignored: (M,) bool, more than half in a crowd region: not counted as anything.
    cell, prediction, shared: (K,) each, every pair with pixels in common and how many; ordered by cell.
    cell_areas: (N,) int64. areas: (M,) int64.
    """

    levels: NDArray[np.int64]
    partner: NDArray[np.int64]
    iou: NDArray[np.float64]
    ignored: NDArray[np.bool_]
    cell: NDArray[np.int64]
    prediction: NDArray[np.int64]
    shared: NDArray[np.int64]
    cell_areas: NDArray[np.int64]
    areas: NDArray[np.int64]

    @property
    def cells(self) -> int:
        """N, the number of annotated cells."""
        return len(self.cell_areas)


def match(flat: DisjointMasks, target: TruthPixels) -> Match:
    """Match disjoint predictions with the cells of their image."""
    m = len(flat.kept)
    cell, prediction, shared = intersections(flat, target.cells)
    union = target.cells.counts[cell] + flat.areas[prediction] - shared

    ignored = np.zeros(m, np.bool_)
    if len(target.crowd):
        in_crowd = np.bincount(flat.labels[target.crowd], minlength=int(flat.places.max(initial=0)) + 1)[flat.places]
        ignored = 2 * in_crowd > flat.areas

    levels, partner, iou = np.zeros(m, np.int64), np.full(m, -1), np.zeros(m)
    good = np.flatnonzero((2 * shared > union) & ~ignored[prediction])
    ratio = shared[good] / union[good]
    order = np.lexsort((-cell[good], ratio, prediction[good]))
    found = prediction[good][order]
    # of a prediction's partners the best stands last; of equals, the first cell
    best = good[order[np.append(found[1:] != found[:-1], True)]] if len(good) else good
    at = prediction[best]
    partner[at], iou[at] = cell[best], shared[best] / union[best]
    # one more than the largest k with 20 * shared > (10 + k) * union: the thresholds passed
    levels[at] = (20 * shared[best] - 1) // union[best] - 9
    return Match(levels, partner, iou, ignored, cell, prediction, shared, target.cells.counts, flat.areas)


Pairs = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
"""Cells, predictions, and the pixels that they share: three (K,) arrays."""


def intersections(flat: DisjointMasks, cells: MaskPixels) -> Pairs:
    """Every cell and prediction with pixels in common, and how many, ordered by cell."""
    nothing = np.zeros(0, np.int64)
    last_place = int(flat.places.max(initial=0))
    found = [(nothing, nothing, nothing)]
    for some, index in cells.parts():
        cell, label, shared = _labels_under(flat.labels.take(index), cells.counts[some])
        number = flat.numbers(max(last_place, int(label.max(initial=0)))).take(label)
        there = np.flatnonzero(number >= 0)
        found.append((cell.take(there) + some.start, number.take(there), shared.take(there)))
    cell, number, shared = (np.concatenate(part) for part in zip(*found, strict=True))
    return cell, number, shared


def _labels_under(under: NDArray[np.signedinteger], counts: NDArray[np.int64]) -> Pairs:
    """Every cell and label with pixels in common, and how many, ordered by cell.

    The labels under the cells are cut into runs of equal label; what follows works on runs, of which there are few, and
    on no table of cells by labels.

    Args:
        under: (P,) labels of the cells' pixels, cells in order; 0 where there is none.
        counts: (N,) pixels of each cell.
    """
    if not len(under):
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64)
    breaks = np.empty(len(under), np.bool_)
    np.not_equal(under[1:], under[:-1], out=breaks[1:])
    # a cell ends a run too; one without a pixel would break the next, which is broken there already
    first = np.cumsum(counts) - counts
    breaks[first[counts > 0]] = True
    begin = np.flatnonzero(breaks)
    length = np.diff(begin, append=len(under))
    label = under.take(begin)
    cell = np.repeat(np.arange(len(first)), np.diff(np.searchsorted(begin, first), append=len(begin)))

    labelled = np.flatnonzero(label)
    most = int(label.max())
    pair = cell.take(labelled) * (most + 1) + label.take(labelled)
    order = np.argsort(pair, kind="stable")
    pair = pair.take(order)
    new = np.flatnonzero(np.diff(pair, prepend=-1))
    shared = np.add.reduceat(length.take(labelled.take(order)), new) if len(new) else new
    cell, label = np.divmod(pair.take(new), most + 1)
    return cell, label, shared
