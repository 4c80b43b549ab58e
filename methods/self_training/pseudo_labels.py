"""From predictions of unlabelled images to their pseudo-labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from harness.contract import Instances, Predictions
from harness.masks.crops import CropMasks
from harness.transforms.instances import from_set_pixels

SAME_OBJECT = 0.5
"""IoU of two masks of a class from which on they are of one object."""

VISIBLE = 0.5
"""An object of which better ones cover more than the rest is left out."""

Predict = Callable[[NDArray[np.uint8]], Predictions]


def predict_with_flips(predict: Predict, image: NDArray[np.uint8], flips: bool = True) -> Predictions:
    """What is found on an image, with scores that are means over the image and its two mirror images.

    Where a mirror image has no mask of the same class with an IoU of at least SAME_OBJECT, its score counts as 0.

    Args:
        predict: Of an image.
        image: (H, W) or (H, W, 3).
        flips: False for the scores of the image alone.
    """
    found = predict(image)
    if not flips or not len(found):
        return found
    height, width = found.size
    scores = found.scores.astype(np.float64)
    for horizontal, vertical in ((True, False), (False, True)):
        mirrored = image[:, ::-1] if horizontal else image[::-1]
        other = predict(np.ascontiguousarray(mirrored))
        back = replace(other, masks=other.masks.flip(height, width, horizontal, vertical))
        scores += _scores_of_same(found, back)
    return replace(found, scores=(scores / 3).astype(np.float32))


def _scores_of_same(found: Predictions, other: Predictions) -> NDArray[np.float64]:
    """(N,) the best score that each object of `found` has in `other`; 0 where it is not there."""
    if not len(other):
        return np.zeros(len(found))
    same = (mask_iou(found.masks, other.masks, found.size) >= SAME_OBJECT) & (
        found.labels[:, None] == other.labels[None]
    )
    best: NDArray[np.float64] = np.where(same, other.scores[None], 0.0).max(axis=1)
    return best


def mask_iou(a: CropMasks, b: CropMasks, size: tuple[int, int]) -> NDArray[np.float64]:
    """(A, B) IoU of the masks of one image of that height and width."""
    from scipy.sparse import csr_matrix

    def matrix(masks: CropMasks) -> csr_matrix:
        pixels, owners = masks.set_pixels(size[1])
        return csr_matrix((np.ones(len(pixels)), (owners, pixels)), shape=(len(masks), size[0] * size[1]))

    shared = np.asarray((matrix(a) @ matrix(b).T).todense())
    union = a.areas()[:, None] + b.areas()[None] - shared
    iou: NDArray[np.float64] = shared / np.maximum(union, 1)
    return iou


def matched_counts(
    found: Mapping[int, Predictions], cells_per_image: Sequence[float], uncertain: float, minimum_score: float
) -> dict[int, Instances]:
    """Pseudo-labels with as many objects an image, on average and of each class, as labelled images have.

    Source: Wang et al. 2022: a threshold for each class at which the numbers are equal. The next best
    objects become crowd regions, which are trained neither as cells nor as background.

    Args:
        found: Predictions by number of the image.
        cells_per_image: Of labelled images, by class.
        uncertain: Crowd regions for each object that is kept.
        minimum_score: Objects with a lower score are background.

    Returns:
        By number of the image, those that have an object.
    """
    scores = np.concatenate([found[i].scores for i in found]) if found else np.zeros(0, np.float32)
    labels = np.concatenate([found[i].labels for i in found]) if found else np.zeros(0, np.int64)
    kept, unsure = np.zeros(len(scores), bool), np.zeros(len(scores), bool)
    for label, mean in enumerate(cells_per_image):
        able = np.flatnonzero((labels == label) & (scores >= minimum_score))
        best = able[np.argsort(-scores[able], kind="stable")]
        wanted = round(mean * len(found))
        kept[best[:wanted]] = True
        unsure[best[wanted : wanted + round(wanted * uncertain)]] = True
    instances, begin = {}, 0
    for number, predictions in found.items():
        here = slice(begin, begin + len(predictions))
        begin = here.stop
        made = _disjoint(predictions, kept[here], unsure[here])
        if made is not None:
            instances[number] = made
    return instances


def _disjoint(found: Predictions, kept: NDArray[np.bool_], unsure: NDArray[np.bool_]) -> Instances | None:
    """The objects that are kept or unsure, each pixel with the better one; None where none is kept.

    An object that loses more than 1 - VISIBLE of its pixels is left out.
    """
    chosen = np.flatnonzero(kept | unsure)
    # better ones last: they paint over the others
    chosen = chosen[np.lexsort((found.scores[chosen], kept[chosen]))]
    masks = found.masks.select(chosen)
    pixels, owners = masks.set_pixels(found.size[1])
    plane = np.full(found.size[0] * found.size[1], -1, np.int64)
    plane[pixels[np.argsort(owners, kind="stable")]] = np.sort(owners, kind="stable")
    seen = np.flatnonzero(plane >= 0)
    left, index = from_set_pixels(seen, plane[seen], len(masks), found.size[1])
    good = left.areas() >= VISIBLE * masks.areas()[index]
    left, index = left.select(good), chosen[index[good]]
    if not kept[index].any():
        return None
    return Instances.of_masks(left, found.labels[index], ~kept[index])
