from __future__ import annotations

import numpy as np
import pytest
from random_cells import bar, bars, blobs, jittered, predictions_of, truth_of

from harness.contract import Predictions
from harness.errors import HarnessError
from harness.evaluation.calibration import THRESHOLDS, apply_rule, choose_rule, predicted_type, rule_for
from harness.evaluation.ground_truth import GroundTruth
from harness.evaluation.iou_map import image_curve
from harness.evaluation.matching import match
from harness.evaluation.overlap import make_disjoint
from harness.evaluation.schema import PostprocessRule
from harness.evaluation.scorer import match_image

CLASSES = ("cort", "astro")


def noisy(good: float, bad: float, label: int = 0) -> tuple[Predictions, GroundTruth]:
    """Correct predictions with one score and wrong ones with another."""
    cells, wrong = bars((0, 0, 20), (2, 0, 30)), bars((4, 0, 20), (6, 0, 20))
    found = predictions_of(np.concatenate([cells, wrong]), [good, good, bad, bad], [label] * 4)
    return found, truth_of(cells)


def chosen(images: list[tuple[Predictions, GroundTruth]], threshold: float | None = None) -> PostprocessRule:
    named = {f"image {i}": image for i, image in enumerate(images)}
    predictions = {name: found for name, (found, _) in named.items()}
    return choose_rule(predictions, {name: truth for name, (_, truth) in named.items()}, CLASSES, threshold)


def test_threshold_is_the_middle_of_all_that_part_right_from_wrong() -> None:
    rule = chosen([noisy(good=0.9, bad=0.3)])
    # 0.35 ... 0.90 all do
    assert rule.score_thresholds["cort"] == pytest.approx(0.6)
    assert rule.min_areas["cort"] == 1


def test_each_class_has_its_own() -> None:
    rule = chosen([noisy(0.9, 0.7, 0)] * 4 + [noisy(0.4, 0.1, 1)] * 4)
    assert 0.7 < rule.score_thresholds["cort"] <= 0.9
    assert 0.1 < rule.score_thresholds["astro"] <= 0.4


def test_a_class_without_calibration_images_takes_the_rule_of_all() -> None:
    rule = chosen([noisy(0.9, 0.5, 0)] * 3)
    assert rule.score_thresholds["astro"] == rule.score_thresholds["cort"]
    assert rule.min_areas["astro"] == rule.min_areas["cort"]


def test_small_wrong_predictions_are_met_by_an_area() -> None:
    cells, specks = bars((0, 0, 40), (2, 0, 40)), bars((4, 0, 3), (4, 9, 12), (6, 0, 3))
    found = predictions_of(np.concatenate([cells, specks]), [0.5, 0.5, 0.9, 0.9, 0.9])
    rule = chosen([(found, truth_of(cells))])
    assert 3 < rule.min_areas["cort"] <= 40
    assert rule.score_thresholds["cort"] <= 0.5


def test_search_is_recorded_and_true() -> None:
    """Each entry of the search equals the score under the rule of that entry."""
    rng = np.random.default_rng(3)
    images = []
    for _ in range(3):
        cells = blobs(rng, 8)
        drawn = np.concatenate([jittered(rng, cells), jittered(rng, cells), blobs(rng, 4)])
        images.append((predictions_of(drawn, rng.random(len(drawn))), truth_of(cells)))
    rule = chosen(images)
    areas = {entry["min_area"] for entry in rule.search}
    assert len(areas) > 2
    assert len(rule.search) == len(THRESHOLDS) * len(areas) * len(CLASSES)
    for entry in rule.search[::7]:
        one = PostprocessRule(
            score_thresholds=dict.fromkeys(CLASSES, entry["threshold"]),
            min_areas=dict.fromkeys(CLASSES, entry["min_area"]),
            chosen_on="",
        )
        scores = [image_curve(match_image(found, truth, one, CLASSES)).mean() for found, truth in images]
        assert entry["iou_map"] == pytest.approx(np.mean(scores), abs=1e-6)
    best = max(entry["iou_map"] for entry in rule.search)
    of_rule = [
        entry["iou_map"]
        for entry in rule.search
        if entry["threshold"] == rule.score_thresholds["cort"] and entry["min_area"] == rule.min_areas["cort"]
    ]
    assert best - of_rule[0] <= 0.002


def test_a_fixed_threshold_is_kept() -> None:
    rule = chosen([noisy(0.9, 0.3)], threshold=0.2)
    assert rule.score_thresholds == {"cort": 0.2, "astro": 0.2}
    assert "given" in rule.chosen_on


@pytest.mark.parametrize("threshold", [-0.1, 1.5])
def test_a_threshold_that_is_none_is_refused(threshold: float) -> None:
    with pytest.raises(HarnessError, match="not between 0 and 1"):
        chosen([noisy(0.9, 0.3)], threshold=threshold)


def test_no_calibration_images_are_refused() -> None:
    with pytest.raises(HarnessError, match="calibration"):
        choose_rule({}, {}, CLASSES)


def test_images_without_anything_do_not_stop_the_search() -> None:
    rule = chosen([(predictions_of(bars()), truth_of(bars()))])
    assert set(rule.score_thresholds) == set(CLASSES)


def test_other_sizes_are_refused() -> None:
    found, _ = noisy(0.9, 0.3)
    with pytest.raises(HarnessError, match="image 0 is 9x9"):
        chosen([(found, truth_of(np.ones((1, 9, 9), np.uint8)))])


def test_type_of_an_image_is_the_class_with_most_score() -> None:
    found = predictions_of(bars((0, 0, 9), (1, 0, 9), (2, 0, 9)), [0.9, 0.5, 0.5], [0, 1, 1])
    assert predicted_type(found, 2) == 1
    assert predicted_type(predictions_of(bars()), 2) == 0


def test_rule_follows_the_predicted_type_and_never_the_true_one() -> None:
    rule = PostprocessRule(
        score_thresholds={"cort": 0.9, "astro": 0.1}, min_areas={"cort": 1, "astro": 5}, chosen_on=""
    )
    found = predictions_of(bar(0, 0, 9), [0.5], [1])
    assert rule_for(found, rule, CLASSES) == (0.1, 5)
    truth = truth_of(bar(0, 0, 9), labels=[0], cell_type="cort")
    assert match_image(found, truth, rule, CLASSES).levels.tolist() == [10]
    assert len(apply_rule(found, rule, CLASSES)) == 1
    assert len(apply_rule(predictions_of(bar(0, 0, 9), [0.5], [0]), rule, CLASSES)) == 0


def test_scored_and_submitted_predictions_are_the_same() -> None:
    rng = np.random.default_rng(5)
    cells = blobs(rng, 9)
    found = predictions_of(np.concatenate([cells, jittered(rng, cells)]), rng.random(18))
    rule = PostprocessRule(
        score_thresholds=dict.fromkeys(CLASSES, 0.4), min_areas=dict.fromkeys(CLASSES, 6), chosen_on=""
    )
    truth = truth_of(cells)
    submitted = match(make_disjoint(apply_rule(found, rule, CLASSES)), truth.pixels())
    assert submitted.areas.tolist() == match_image(found, truth, rule, CLASSES).areas.tolist()
