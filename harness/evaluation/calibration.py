"""The post-processing rule: one search for all methods, on the calibration images only.

A rule has a score threshold and a smallest area for each class. An image gets those of its predicted class, the one
whose scores on the image have the largest sum. Once the rule is chosen, no annotation is used to apply it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from harness.contract import Predictions
from harness.errors import HarnessError
from harness.evaluation.ground_truth import GroundTruths, check_pair
from harness.evaluation.iou_map import prefix_scores
from harness.evaluation.mask_pixels import MaskPixels
from harness.evaluation.matching import match
from harness.evaluation.overlap import (
    above_threshold,
    make_disjoint,
    remove_overlaps,
    remove_overlaps_in_turn,
)
from harness.evaluation.schema import PostprocessRule

THRESHOLDS = tuple(round(0.05 * k, 2) for k in range(1, 20))
AREA_FRACTIONS = (0.0, 0.05, 0.1, 0.2, 0.35)
"""Smallest areas that are tried, as fractions of the median area of the calibration cells."""

SHARED_IMAGES = 1
"""A class's search counts the mean over all calibration images as if it were this many images of the class."""

PIXELS_AT_ONCE = 2**24
"""Pixels of an image from which on overlaps are removed mask by mask, in less memory."""

TOLERANCE = 0.002
"""Thresholds whose score is within this of the best count as equal; the middle one is taken."""


def predicted_type(predictions: Predictions, classes: int) -> int:
    """The class whose scores have the largest sum; the first where nothing is predicted."""
    return int(np.argmax(np.bincount(predictions.labels, predictions.scores, minlength=classes)))


def apply_rule(predictions: Predictions, rule: PostprocessRule, classes: Sequence[str]) -> Predictions:
    """The disjoint predictions the rule leaves: what is scored and what a submission would hold."""
    threshold, min_area = rule_for(predictions, rule, classes)
    large = predictions.size[0] * predictions.size[1] > PIXELS_AT_ONCE
    return (remove_overlaps_in_turn if large else remove_overlaps)(above_threshold(predictions, threshold), min_area)


def rule_for(predictions: Predictions, rule: PostprocessRule, classes: Sequence[str]) -> tuple[float, int]:
    """Score threshold and smallest area for this image."""
    name = classes[predicted_type(predictions, len(classes))]
    return rule.score_thresholds[name], rule.min_areas[name]


def choose_rule(
    predictions: Mapping[str, Predictions], truth: GroundTruths, classes: Sequence[str], threshold: float | None = None
) -> PostprocessRule:
    """Search thresholds and areas for the largest calibration score, `iou_map`, of each class's images.

    Every class counts the mean over all calibration images too (SHARED_IMAGES), which matters where it has few. Of
    equally good areas the smallest is taken, of equally good thresholds the middle one.

    Args:
        predictions: image id to raw predictions, of the calibration images.
        truth: image id to ground truth, of those images at least.
        classes: names, in the order of labels.
        threshold: a fixed score threshold, 0 to 1; the area alone is then searched.

    Raises:
        HarnessError: there is no calibration image, or the fixed threshold is not in [0, 1].
    """
    return _RuleSearch(truth, classes, threshold).choose(predictions, "calibration")


def choose_rules_across(
    folds: Sequence[Mapping[str, Predictions]],
    truth: GroundTruths,
    classes: Sequence[str],
    threshold: float | None = None,
) -> list[PostprocessRule]:
    """The rule of each fold, chosen from the predictions of all others. So no image is spent on calibration.

    Args:
        folds: image id to raw predictions of a model that has not seen these images; two folds at least.
        truth, classes, threshold: as in choose_rule.

    Raises:
        HarnessError: as choose_rule.
    """
    search = _RuleSearch(truth, classes, threshold)
    rules = []
    for i in range(len(folds)):
        others = {image_id: found for j, fold in enumerate(folds) if j != i for image_id, found in fold.items()}
        rules.append(search.choose(others, "the other folds"))
    return rules


class _RuleSearch:
    """Chooses rules from sets of images that may overlap. The scores of an image are computed once for each area."""

    def __init__(self, truth: GroundTruths, classes: Sequence[str], threshold: float | None) -> None:
        """Raises HarnessError where the fixed threshold is not in [0, 1]."""
        if threshold is not None and not 0 <= threshold <= 1:
            raise HarnessError(f"score threshold {threshold} is not between 0 and 1")
        self._truth, self._classes, self._is_fixed = truth, classes, threshold is not None
        self._thresholds = THRESHOLDS if threshold is None else (threshold,)
        self._rows: dict[tuple[str, int], NDArray[np.float64]] = {}

    def choose(self, predictions: Mapping[str, Predictions], chosen_on: str) -> PostprocessRule:
        """The rule that is best on these images. chosen_on: what they are, in words. Raises HarnessError for none."""
        if not predictions:
            raise HarnessError("no calibration images: give the calibration split at least one image")
        thresholds, areas = self._thresholds, _candidate_areas(self._truth, predictions)
        by_image = [
            (self._score_grid(image_id, found, areas), predicted_type(found, len(self._classes)))
            for image_id, found in predictions.items()
        ]
        grids, types = np.stack([grid for grid, _ in by_image]), np.asarray([label for _, label in by_image])
        overall = grids.mean(axis=0)

        chosen, search = {}, []
        for label, name in enumerate(self._classes):
            mine = grids[types == label]
            grid = (mine.sum(axis=0) + SHARED_IMAGES * overall) / (len(mine) + SHARED_IMAGES)
            t, a = _centre_of_plateau(grid)
            chosen[name] = (thresholds[t], areas[a])
            search += [
                {"class": name, "images": len(mine), "threshold": at, "min_area": area, "iou_map": round(float(v), 6)}
                for area, row in zip(areas, grid, strict=True)
                for at, v in zip(thresholds, row, strict=True)
            ]
        return PostprocessRule(
            score_thresholds={name: t for name, (t, _) in chosen.items()},
            min_areas={name: a for name, (_, a) in chosen.items()},
            chosen_on=f"{chosen_on} (areas); threshold given" if self._is_fixed else chosen_on,
            search=search,
        )

    def _score_grid(self, image_id: str, predictions: Predictions, areas: Sequence[int]) -> NDArray[np.float64]:
        """(areas, thresholds) the image's score under each pair.

        One overlap removal and one matching per area serve all thresholds, see harness.evaluation.overlap.
        """
        missing = [area for area in areas if (image_id, area) not in self._rows]
        if missing:
            image = self._truth[image_id]
            check_pair(image_id, predictions, image)
            truth_pixels = image.pixels()
            pixels = MaskPixels.of(predictions.masks, predictions.size[1])
            for area in missing:
                flat = make_disjoint(predictions, area, pixels)
                scores = prefix_scores(match(flat, truth_pixels), [flat.count(t) for t in self._thresholds])
                self._rows[image_id, area] = scores
        return np.stack([self._rows[image_id, area] for area in areas])


def _candidate_areas(truth: GroundTruths, image_ids: Mapping[str, Predictions]) -> tuple[int, ...]:
    cells = np.concatenate([truth[i].cells.areas() for i in image_ids])
    median = float(np.median(cells)) if len(cells) else 0.0
    return tuple(sorted({max(1, round(fraction * median)) for fraction in AREA_FRACTIONS}))


def _centre_of_plateau(grid: NDArray[np.float64]) -> tuple[int, int]:
    """Threshold and area index: the area of the largest value, the middle of the run of good thresholds around it."""
    a, peak = np.unravel_index(int(np.argmax(grid)), grid.shape)
    good = grid[a] >= grid[a, peak] - TOLERANCE
    breaks = np.flatnonzero(~good)
    low = breaks[breaks < peak].max(initial=-1) + 1
    high = breaks[breaks > peak].min(initial=len(good)) - 1
    return int(low + high) // 2, int(a)
