"""The competition's mean average precision over IoU thresholds: `iou_map`, the "IoU" of the tables.

Of one image at one threshold: TP / (TP + FP + FN); of the image: the mean over the ten thresholds; of a data set: the
mean over images, each image counting alike. Scores rank nothing and classes are ignored. An image without cells and
without predictions counts 1. (Sartorius competition; the same number is cellpose's "average precision" and micro-sam's
"mSA" averaged over these thresholds.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.evaluation.matching import THRESHOLDS, Match


def true_positives(levels: NDArray[np.integer]) -> NDArray[np.int64]:
    """(10,) true positives at each threshold, from the levels of the predictions of one image."""
    at_level = np.bincount(levels, minlength=len(THRESHOLDS) + 1)
    return np.cumsum(at_level[:0:-1])[::-1]


def image_curve(match: Match) -> NDArray[np.float64]:
    """(10,) TP / (TP + FP + FN) of one image at each threshold; its mean is the image's score."""
    predictions = len(match.levels) - int(np.count_nonzero(match.ignored))
    if predictions + match.cells == 0:
        return np.ones(len(THRESHOLDS))
    hits = true_positives(match.levels)
    return hits / (predictions + match.cells - hits)


def prefix_scores(match: Match, counts: Sequence[int]) -> NDArray[np.float64]:
    """(C,) the image's score if only the first counts[i] predictions were there: scores at several thresholds."""
    level = np.arange(1, len(THRESHOLDS) + 1)
    reached = (match.levels[:, None] >= level) & ~match.ignored[:, None]
    hits = np.concatenate([np.zeros((1, len(level)), np.int64), np.cumsum(reached, axis=0)])[list(counts)]
    there = np.concatenate([[0], np.cumsum(~match.ignored)])[list(counts)]
    total = there[:, None] + match.cells - hits
    return np.where(total == 0, 1.0, hits / np.maximum(total, 1)).mean(axis=1)
