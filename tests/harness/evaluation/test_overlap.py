from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_cells import Planes, bars, blobs, predictions_of

from harness.contract import Predictions
from harness.evaluation.overlap import above_threshold, make_disjoint, remove_overlaps, remove_overlaps_in_turn
from harness.masks.crops import CropMasks

seeds = st.integers(0, 2**32 - 1)


def one_by_one(planes: Planes, scores: np.ndarray, min_area: int) -> tuple[list[int], list[np.ndarray]]:
    """The rule as it is documented, on whole planes."""
    used = np.zeros(planes.shape[1:], bool)
    kept, left = [], []
    for i in sorted(range(len(planes)), key=lambda i: (-scores[i], i)):
        rest = (planes[i] != 0) & ~used
        if rest.sum() >= max(min_area, 1):
            used |= rest
            kept.append(i)
            left.append(rest)
    return kept, left


def crowded(seed: int) -> tuple[Planes, np.ndarray]:
    rng = np.random.default_rng(seed)
    planes = blobs(rng, int(rng.integers(0, 25)))
    # few distinct scores, so that ties occur
    return planes, rng.choice(np.float32([0.1, 0.4, 0.8, 0.9]), len(planes))


@given(seed=seeds, min_area=st.integers(0, 40))
def test_same_masks_as_the_rule_worked_by_hand(seed: int, min_area: int) -> None:
    planes, scores = crowded(seed)
    kept, left = one_by_one(planes, scores, min_area)
    found = predictions_of(planes, scores)
    flat = make_disjoint(found, min_area)
    assert flat.kept.tolist() == kept
    assert flat.areas.tolist() == [int(mask.sum()) for mask in left]
    expected = np.zeros(planes.shape[1:], int)
    for label, mask in enumerate(left, start=1):
        expected[mask] = label
    numbered = flat.numbers(len(planes))[flat.labels.reshape(planes.shape[1:])] + 1
    assert np.array_equal(numbered, expected)
    disjoint = remove_overlaps(found, min_area)
    assert np.array_equal(disjoint.masks.planes(*planes.shape[1:]), np.asarray(left).reshape(-1, *planes.shape[1:]))


@given(seed=seeds, min_area=st.integers(0, 40))
def test_result_is_disjoint_and_in_the_order_of_scores(seed: int, min_area: int) -> None:
    planes, scores = crowded(seed)
    disjoint = remove_overlaps(predictions_of(planes, scores, np.arange(len(planes))), min_area)
    assert disjoint.masks.planes(*planes.shape[1:]).sum(axis=0).max(initial=0) <= 1
    assert np.all(np.diff(disjoint.scores) <= 0)
    assert np.array_equal(disjoint.scores, scores[disjoint.labels])
    assert disjoint.masks.areas().min(initial=max(1, min_area)) >= max(1, min_area)


@given(seed=seeds, min_area=st.integers(0, 40), threshold=st.sampled_from([0.0, 0.1, 0.3, 0.8, 0.95]))
def test_a_threshold_before_or_after_gives_the_same_masks(seed: int, min_area: int, threshold: float) -> None:
    planes, scores = crowded(seed)
    found = predictions_of(planes, scores)
    before = remove_overlaps(above_threshold(found, threshold), min_area)
    after = make_disjoint(found, min_area)
    assert after.count(threshold) == len(before)
    kept = after.kept[: len(before)]
    assert np.array_equal(before.scores, scores[kept])
    assert before.masks.areas().tolist() == after.areas[: len(before)].tolist()


def test_smallest_area_is_asked_after_the_subtraction() -> None:
    # the second bar has 10 pixels, 6 of them taken
    found = predictions_of(bars((0, 0, 10), (0, 4, 14)), [0.9, 0.8])
    assert len(remove_overlaps(found, 4)) == 2
    assert len(remove_overlaps(found, 5)) == 1


def test_pixels_of_a_dropped_mask_stay_free() -> None:
    # the second keeps 2 pixels and is dropped; the third gets those pixels
    found = predictions_of(bars((0, 0, 10), (0, 8, 12), (0, 10, 20)), [0.9, 0.8, 0.7])
    assert remove_overlaps(found, 5).masks.areas().tolist() == [10, 10]
    assert remove_overlaps(found, 2).masks.areas().tolist() == [10, 2, 8]


def test_of_equal_scores_the_first_keeps_the_pixels() -> None:
    found = predictions_of(bars((0, 0, 10), (0, 5, 15)), [0.5, 0.5], [7, 8])
    disjoint = remove_overlaps(found)
    assert disjoint.labels.tolist() == [7, 8]
    assert disjoint.masks.areas().tolist() == [10, 5]


@pytest.mark.parametrize("threshold", [0.15, 0.3, 0.7])
def test_a_score_at_the_threshold_is_kept(threshold: float) -> None:
    found = predictions_of(bars((0, 0, 10)), [threshold])
    assert len(above_threshold(found, threshold)) == 1
    assert make_disjoint(found).count(threshold) == 1
    assert len(above_threshold(found, threshold + 1e-3)) == 0


def test_nothing_stays_nothing() -> None:
    nothing: Predictions = predictions_of(bars())
    assert len(remove_overlaps(nothing, 5)) == 0
    assert make_disjoint(nothing).labels.sum() == 0


@pytest.mark.parametrize("min_area", [1, 6])
@pytest.mark.parametrize("seed", range(5))
def test_one_mask_after_the_other_gives_the_same(seed: int, min_area: int) -> None:
    rng = np.random.default_rng(seed)
    boxes, crops = [], []
    for _ in range(60):
        y, x, h, w = (int(v) for v in (*rng.integers(0, 40, 2), *rng.integers(1, 14, 2)))
        crop = rng.random((h, w)) < 0.8
        crop[0, 0] = True
        boxes.append((x, y, x + w, y + h))
        crops.append(crop)
    masks, _ = CropMasks.from_crops(boxes, crops).tight()
    scores = rng.integers(0, 9, len(masks)).astype(np.float32) / 9
    predictions = Predictions((60, 60), masks, scores, rng.integers(0, 3, len(masks)))
    one, other = remove_overlaps(predictions, min_area), remove_overlaps_in_turn(predictions, min_area)
    for name in ("scores", "labels"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    np.testing.assert_array_equal(one.masks.boxes, other.masks.boxes)
    np.testing.assert_array_equal(one.masks.pixels, other.masks.pixels)
