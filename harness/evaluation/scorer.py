"""All validation scores of one trial of a run, from its predictions and the rule chosen for them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from harness.config.protocol import ScoringProtocol
from harness.contract import Predictions
from harness.errors import HarnessError
from harness.evaluation.calibration import rule_for
from harness.evaluation.cell_metrics import CellTotals
from harness.evaluation.coco import CocoScorer, max_detections
from harness.evaluation.ground_truth import GroundTruth, GroundTruths, check_pair
from harness.evaluation.iou_map import image_curve
from harness.evaluation.livecell import LivecellScorer
from harness.evaluation.matching import THRESHOLDS, Match, match
from harness.evaluation.overlap import above_threshold, make_disjoint
from harness.evaluation.schema import PostprocessRule, Scores

SCORING_VERSION = "1"
"""Raised whenever the same predictions would get other scores; records of two versions are not ranked together."""


def score(
    predictions: Mapping[str, Predictions],
    truth: GroundTruths,
    rule: PostprocessRule | Mapping[str, PostprocessRule],
    classes: Sequence[str],
    one_class: bool = False,
    protocol: ScoringProtocol = "",
) -> Scores:
    """Every score of harness.evaluation.schema.Scores, over the images of `predictions`.

    The image's type decides in which of `by_type` it counts: that of the truth, which the rule never sees.
    rule: the same for all images, or that of each image id.
    one_class: AP takes all cells as of one class, for a model whose classes are not those of the data.
    protocol: "livecell" for that protocol's scores besides.
    Raises HarnessError where an image has no truth or another size.
    """
    if not predictions:
        raise HarnessError("no validation images: give the validation split at least one image")
    curves: dict[str, NDArray[np.float64]] = {}
    cell_types: dict[str, str] = {}
    totals = CellTotals()
    coco = CocoScorer(
        1 if one_class else len(classes), max_detections([len(_truth_of(i, truth).cells) for i in predictions])
    )
    livecell = LivecellScorer() if protocol == "livecell" else None
    for image_id, found in predictions.items():
        image = _truth_of(image_id, truth)
        check_pair(image_id, found, image)
        matched = match_image(found, image, rule if isinstance(rule, PostprocessRule) else rule[image_id], classes)
        curves[image_id] = image_curve(matched)
        if image.cell_type is not None:
            cell_types[image_id] = image.cell_type
        totals.add(matched)
        coco.add(*_as_one_class(found, image) if one_class else (found, image))
        if livecell is not None:
            livecell.add(found, image)
    ranked = coco.result()
    curve = np.mean(list(curves.values()), axis=0)
    return Scores(
        scoring_version=SCORING_VERSION,
        iou_map=float(curve.mean()),
        by_type=_by_type(curves, cell_types),
        by_threshold={f"{t:.2f}": float(value) for t, value in zip(THRESHOLDS, curve, strict=True)},
        by_image={image_id: float(values.mean()) for image_id, values in curves.items()},
        cell_types=cell_types,
        ap=_known(ranked.ap),
        ap50=_known(ranked.ap50),
        ap75=_known(ranked.ap75),
        boundary_ap=_known(ranked.boundary_ap),
        **{f"ap_{size}": _known(value) for size, value in ranked.sizes.items()},
        f1_50=totals.f1,
        panoptic_quality=totals.panoptic_quality,
        mean_matched_iou=totals.mean_matched_iou,
        count_error=totals.count_error,
        errors=totals.errors,
        livecell={} if livecell is None else livecell.result(),
    )


def iou_map(
    predictions: Mapping[str, Predictions], truth: GroundTruths, rule: PostprocessRule, classes: Sequence[str]
) -> float:
    """The competition's number alone: what a learning curve needs."""
    scores = [image_curve(match_image(p, _truth_of(i, truth), rule, classes)).mean() for i, p in predictions.items()]
    return float(np.mean(scores))


def match_image(predictions: Predictions, image: GroundTruth, rule: PostprocessRule, classes: Sequence[str]) -> Match:
    """One image's predictions under the rule, matched with its cells."""
    threshold, min_area = rule_for(predictions, rule, classes)
    return match(make_disjoint(above_threshold(predictions, threshold), min_area), image.pixels())


def _as_one_class(predictions: Predictions, image: GroundTruth) -> tuple[Predictions, GroundTruth]:
    labels, crowd_labels = np.zeros_like(image.labels), np.zeros_like(image.crowd_labels)
    return (
        replace(predictions, labels=np.zeros_like(predictions.labels)),
        replace(image, labels=labels, crowd_labels=crowd_labels),
    )


def _by_type(curves: Mapping[str, NDArray[np.float64]], cell_types: Mapping[str, str]) -> dict[str, float]:
    grouped = defaultdict(list)
    for image_id, cell_type in cell_types.items():
        grouped[cell_type].append(curves[image_id].mean())
    return {name: float(np.mean(values)) for name, values in sorted(grouped.items())}


def _truth_of(image_id: str, truth: GroundTruths) -> GroundTruth:
    try:
        return truth[image_id]
    except KeyError as error:
        raise HarnessError(f"there are predictions for image {image_id!r}, which the data does not have") from error


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value
