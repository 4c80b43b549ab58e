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
from harness.evaluation.mask_pixels import MaskPixels
from harness.masks.crops import CropMasks


@dataclass(frozen=True, slots=True, eq=False)
class DisjointMasks:
    """Disjoint predictions of one image: a label image and what its labels mean.

    labels: (H * W,) int16, or int32 where there are many masks: the mask's place in the order of visiting, counted from
    1; 0 where there is none. A place that is not in `places` is of a mask that was dropped, and means nothing.
    kept: (M,) int64, indices into the predictions, in the order of visiting. places: (M,) int64, ascending, their
    places. areas: (M,) int64, pixels that are left of each. scores: (M,) float32.
    """

    labels: NDArray[np.signedinteger]
    kept: NDArray[np.int64]
    places: NDArray[np.int64]
    areas: NDArray[np.int64]
    scores: NDArray[np.float32]

    def count(self, threshold: float) -> int:
        """How many of the masks, from the first, have a score of at least `threshold`."""
        return int(np.count_nonzero(self.scores >= np.float32(threshold)))

    def numbers(self, masks: int) -> NDArray[np.int64]:
        """(masks + 1,) from label to number among the kept, from 0; -1 for the background and what was dropped."""
        numbers = np.full(masks + 1, -1)
        numbers[self.places] = np.arange(len(self.places))
        return numbers


def make_disjoint(predictions: Predictions, min_area: int = 1, pixels: MaskPixels | None = None) -> DisjointMasks:
    """Make predictions disjoint.

    Args:
        predictions: masks that may overlap, in any order.
        min_area: pixels; a mask with fewer left is dropped.
        pixels: those of predictions.masks, where they are known already.
    """
    height, width = predictions.size
    found = MaskPixels.of(predictions.masks, width) if pixels is None else pixels
    order = np.argsort(-predictions.scores, kind="stable")
    counts = found.counts[order]
    conflicts = _PixelConflicts.of(found, order, height * width)

    # a mask that is too small even with all its pixels takes none from others
    dropped = counts < max(min_area, 1)
    areas = counts - conflicts.resolve(dropped)
    doubtful = np.flatnonzero(~dropped & (areas < max(min_area, 1)))
    if len(doubtful):
        dropped[doubtful] = True
        areas = counts - conflicts.resolve(dropped)
        _restore_small_masks(conflicts.labels, found, order, doubtful, areas, dropped, max(min_area, 1))
    stays = np.flatnonzero(~dropped)
    kept = order[stays]
    return DisjointMasks(conflicts.labels, kept, stays + 1, areas[stays], predictions.scores[kept])


@dataclass(frozen=True, slots=True, eq=False)
class _PixelConflicts:
    """A label image, and the few of its pixels that several masks share.

    All masks are written into the label image first. Where a mask then reads another's place, both share the pixel.
    at: (K,) int64, pixels; one that k masks share is there k - 1 times. first: (K,) the place written there first, and
    other: (K,) that of one of the others.
    """

    labels: NDArray[np.signedinteger]
    at: NDArray[np.int64]
    first: NDArray[np.signedinteger]
    other: NDArray[np.signedinteger]

    @staticmethod
    def of(found: MaskPixels, order: NDArray[np.int64], pixels: int) -> _PixelConflicts:
        """Of masks visited in that order, in an image of so many pixels."""
        # resolve() counts to twice the number of masks
        kind: type[np.signedinteger] = np.int16 if 2 * len(order) < 2**15 else np.int32
        place = np.empty(len(order), kind)
        place[order] = np.arange(1, len(order) + 1, dtype=kind)
        labels = np.zeros(pixels, kind)
        for masks, index in found.parts():
            labels[index] = np.repeat(place[masks], found.counts[masks])
        shared, others = [], []
        for masks, index in found.parts():
            values = np.repeat(place[masks], found.counts[masks])
            met = np.flatnonzero(labels.take(index) != values)
            shared.append(index[met])
            others.append(values[met])
        at = np.concatenate([np.zeros(0, np.int64), *shared])
        return _PixelConflicts(labels, at, labels[at], np.concatenate([np.zeros(0, kind), *others]))

    def resolve(self, last: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Give every shared pixel to the earliest place, and those in `last` only what no other place has.

        last: (N,) bool, by place. Returns the (N,) number of pixels that each place lost.
        """
        n = self.labels.dtype.type(len(last))
        if not len(self.at):
            return np.zeros(n, np.int64)
        rank = np.arange(n + 1, dtype=self.labels.dtype)
        rank[1:][last] += n
        first, other = rank[self.first], rank[self.other]
        self.labels[self.at] = first
        np.minimum.at(self.labels, self.at, other)
        winner = self.labels[self.at]
        # where one of the others won, the first lost; every other of the others lost too
        lost = np.where(other == winner, self.first, self.other)
        self.labels[self.at] = np.where(winner > n, winner - n, winner)
        return np.bincount(lost - 1, minlength=n)


def _restore_small_masks(
    labels: NDArray[np.signedinteger],
    found: MaskPixels,
    order: NDArray[np.int64],
    doubtful: NDArray[np.int64],
    areas: NDArray[np.int64],
    dropped: NDArray[np.bool_],
    min_area: int,
) -> None:
    """Restore, in order, each small mask that is large enough once those before it are dropped.

    The masks that are not in doubt stay in any case: dropping others can only leave them more pixels. doubtful, areas
    and dropped are indexed by place less one. areas, dropped and labels are changed in place.
    """
    for rank in doubtful.tolist():
        mine = found.of_mask(order[rank])
        here = labels[mine].astype(np.int64)
        free = (here == 0) | (here > rank + 1) | dropped[here - 1]
        area = int(np.count_nonzero(free))
        if area >= min_area:
            reassigned = here[free]
            areas -= np.bincount(reassigned[reassigned > 0] - 1, minlength=len(areas))
            dropped[rank], areas[rank] = False, area
            labels[mine[free]] = rank + 1


def above_threshold(predictions: Predictions, threshold: float) -> Predictions:
    """Those with a score of at least `threshold`, compared as float32 like the scores."""
    kept = np.flatnonzero(predictions.scores >= np.float32(threshold))
    if len(kept) == len(predictions):
        return predictions
    masks = predictions.masks.select(kept)
    return Predictions(predictions.size, masks, predictions.scores[kept], predictions.labels[kept])


def remove_overlaps(predictions: Predictions, min_area: int = 1) -> Predictions:
    """The disjoint predictions themselves, in the order of their scores; boxes are tight."""
    masks = predictions.masks
    pixels = MaskPixels.of(masks, predictions.size[1])
    flat = make_disjoint(predictions, min_area, pixels)
    place = np.zeros(len(predictions), np.int64)
    place[flat.kept] = flat.places
    mine = flat.labels[pixels.all()] == np.repeat(place, pixels.counts)
    left = np.zeros_like(masks.pixels)
    left[np.flatnonzero(masks.pixels)[mine]] = 1
    tight, _ = CropMasks(masks.boxes, left, masks.offsets).select(flat.kept).tight()
    return Predictions(predictions.size, tight, flat.scores, predictions.labels[flat.kept])


def remove_overlaps_in_turn(predictions: Predictions, min_area: int = 1) -> Predictions:
    """As remove_overlaps, one mask after the other: a byte for each pixel of the image, and no index of any pixel.

    It takes some 20 microseconds for each mask more, and far less memory where the image has 100 million pixels.
    """
    masks, (height, width) = predictions.masks, predictions.size
    taken = np.zeros((height, width), np.bool_)
    kept, crops = [], []
    for i in np.argsort(-predictions.scores, kind="stable").tolist():
        x0, y0, x1, y1 = masks.boxes[i].tolist()
        place = taken[y0:y1, x0:x1]
        free = masks.crop(i).view(np.bool_) & ~place
        if np.count_nonzero(free) >= max(min_area, 1):
            place |= free
            kept.append(i)
            crops.append(free)
    tight, _ = CropMasks.from_crops(masks.boxes[kept].reshape(-1, 4), crops).tight()
    return Predictions(predictions.size, tight, predictions.scores[kept], predictions.labels[kept])
