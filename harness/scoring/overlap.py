"""Overlap removal: the one rule that makes a method's predictions disjoint, the same for all methods.

Masks are visited in the order of their scores (of equal scores, the one that comes first); pixels that a mask visited
before has taken are removed; what then has fewer than `min_area` pixels is dropped, and its pixels stay free for the
masks after it. Dropping everything below a score threshold gives the same masks before as after, since a mask never
touches those visited before it: the masks at a threshold are the first few of those without one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.contract import Predictions
from harness.masks import CropMasks


@dataclass(frozen=True, slots=True, eq=False)
class SetPixels:
    """Where the set pixels of N masks are; made once where the same masks are looked at several times.

    index: (P,) int64, row-major in the image, masks in order. counts: (N,) int64, pixels of each mask.
    """

    index: NDArray[np.int64]
    counts: NDArray[np.int64]

    @staticmethod
    def of(masks: CropMasks, width: int) -> SetPixels:
        return SetPixels(*masks.pixel_index(width))


@dataclass(frozen=True, slots=True, eq=False)
class Flat:
    """Disjoint predictions of one image: a label image and what its labels mean.

    labels: (H * W,) int32, 0 where there is none, k + 1 where kept[k] is. kept: (M,) int64, indices into the
    predictions, in the order of visiting. areas: (M,) int64, pixels that are left of each. scores: (M,) float32.
    """

    labels: NDArray[np.int32]
    kept: NDArray[np.int64]
    areas: NDArray[np.int64]
    scores: NDArray[np.float32]

    def count(self, threshold: float) -> int:
        """How many of the masks, from the first, have a score of at least `threshold`."""
        return int(np.count_nonzero(self.scores >= np.float32(threshold)))


def flatten(predictions: Predictions, min_area: int = 1, pixels: SetPixels | None = None) -> Flat:
    """Make predictions disjoint. pixels: those of predictions.masks, where they are at hand."""
    height, width = predictions.size
    found = SetPixels.of(predictions.masks, width) if pixels is None else pixels
    order = np.argsort(-predictions.scores, kind="stable")
    # in the label image a mask is its place in the order, counted from 1
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(1, len(order) + 1, dtype=np.int32)
    values = np.repeat(place, found.counts)
    labels = np.zeros(height * width, np.int32)
    areas = found.counts[order] - _paint(labels, found.index, values, len(order))

    stays = areas >= max(min_area, 1)
    if not stays.all():
        labels[:] = 0
        solid = stays[values - 1]
        areas = found.counts[order] - _paint(labels, found.index[solid], values[solid], len(order))
        _settle(labels, found, order, areas, stays, max(min_area, 1))
        renumbered = np.zeros(len(order) + 1, np.int32)
        renumbered[1:][stays] = np.arange(1, np.count_nonzero(stays) + 1)
        labels[found.index] = renumbered[labels[found.index]]
    kept = order[stays]
    return Flat(labels, kept, areas[stays], predictions.scores[kept])


def _paint(labels: NDArray[np.int32], index: NDArray[np.int64], values: NDArray[np.int32], n: int) -> NDArray[np.int64]:
    """Write values at the places of an all-zero array, the lowest where several meet; (n,) pixels each value lost.

    A plain write first, whichever value wins; then only the places where values met are looked at again.
    """
    labels[index] = values
    met = np.flatnonzero(labels[index] != values)
    if not len(met):
        return np.zeros(n, np.int64)
    at, contenders = index[met], values[met]
    first = labels[at]
    np.minimum.at(labels, at, contenders)
    # where a contender took the place, the first value lost it; every other contender lost it too
    won = contenders == labels[at]
    return np.bincount(np.where(won, first, contenders) - 1, minlength=n)


def _settle(
    labels: NDArray[np.int32],
    found: SetPixels,
    order: NDArray[np.int64],
    areas: NDArray[np.int64],
    stays: NDArray[np.bool_],
    min_area: int,
) -> None:
    """Decide in order on the masks that were too small while all others were taken to stay.

    The others do stay: whatever is dropped before them can only leave them more. `labels` holds them alone; `areas`
    and `stays` are brought up to date in place.
    """
    ends = np.cumsum(found.counts)
    for rank in np.flatnonzero(~stays & (found.counts[order] >= min_area)).tolist():
        mask = order[rank]
        mine = found.index[ends[mask] - found.counts[mask] : ends[mask]]
        here = labels[mine]
        free = (here == 0) | (here > rank + 1)
        area = int(np.count_nonzero(free))
        if area >= min_area:
            stays[rank], areas[rank] = True, area
            robbed = here[free]
            areas -= np.bincount(robbed[robbed > 0] - 1, minlength=len(areas))
            labels[mine[free]] = rank + 1


def above(predictions: Predictions, threshold: float) -> Predictions:
    """Those with a score of at least `threshold`, compared as float32 like the scores."""
    kept = np.flatnonzero(predictions.scores >= np.float32(threshold))
    if len(kept) == len(predictions):
        return predictions
    masks = predictions.masks.select(kept)
    return Predictions(predictions.size, masks, predictions.scores[kept], predictions.labels[kept])


def remove_overlaps(predictions: Predictions, min_area: int = 1) -> Predictions:
    """The disjoint predictions themselves, in the order of their scores; boxes are tight."""
    masks = predictions.masks
    pixels = SetPixels.of(masks, predictions.size[1])
    flat = flatten(predictions, min_area, pixels)
    label = np.zeros(len(predictions), np.int32)
    label[flat.kept] = np.arange(1, len(flat.kept) + 1)
    mine = flat.labels[pixels.index] == np.repeat(label, pixels.counts)
    left = np.zeros_like(masks.pixels)
    left[np.flatnonzero(masks.pixels)[mine]] = 1
    tight, _ = CropMasks(masks.boxes, left, masks.offsets).select(flat.kept).tight()
    return Predictions(predictions.size, tight, flat.scores, predictions.labels[flat.kept])
