"""The numbered checks of the metric's definition, properties, and agreement with independent implementations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_cells import Planes, bars, blobs, jittered, label_image, planes_of, predictions_of, truth_of
from scipy.optimize import linear_sum_assignment

from harness.evaluation.iou_map import image_curve, prefix_scores
from harness.evaluation.matching import THRESHOLDS, match
from harness.evaluation.overlap import make_disjoint

seeds = st.integers(0, 2**32 - 1)
JUST_ABOVE = [t + 1e-6 for t in THRESHOLDS]
"""For implementations that count an IoU at the threshold; StarDist's IoU has the precision of float32."""


def curve(predictions: Planes, cells: Planes, scores: np.ndarray | None = None) -> np.ndarray:
    return image_curve(match(make_disjoint(predictions_of(predictions, scores)), truth_of(cells).pixels()))


def cells_of(seed: int, fewest: int = 0) -> tuple[np.random.Generator, Planes]:
    """Disjoint cells."""
    rng = np.random.default_rng(seed)
    return rng, planes_of(label_image(blobs(rng, int(rng.integers(fewest, 12)))))


def test_perfect_is_one() -> None:
    cells = bars((0, 0, 20), (2, 5, 9))
    assert curve(cells, cells).mean() == 1.0


def test_one_exact_and_one_of_iou_7_tenths() -> None:
    found = curve(bars((0, 0, 20), (2, 0, 70)), bars((0, 0, 20), (2, 0, 100)))
    assert found.tolist() == [1.0] * 4 + [1 / 3] * 6
    assert found.mean() == pytest.approx(0.6, abs=1e-15)


def test_one_exact_and_one_of_iou_one_half() -> None:
    assert curve(bars((0, 0, 20), (2, 0, 50)), bars((0, 0, 20), (2, 0, 100))).mean() == pytest.approx(1 / 3)


def test_a_duplicate_is_gone_after_overlap_removal() -> None:
    cells = bars((0, 0, 20), (2, 0, 30))
    assert np.array_equal(curve(np.concatenate([cells, cells[:1]]), cells), curve(cells, cells))


@pytest.mark.parametrize(("predictions", "cells", "score"), [([], [(0, 0, 9)], 0), ([(0, 0, 9)], [], 0), ([], [], 1)])
def test_empty_sides(predictions: list, cells: list, score: float) -> None:
    assert curve(bars(*predictions), bars(*cells)).mean() == score


def test_mean_over_images_is_not_the_pooled_score() -> None:
    few = curve(bars((0, 0, 20)), bars((0, 0, 20)))
    many = curve(bars((0, 0, 20)), bars((0, 0, 20), (1, 0, 20), (2, 0, 20), (3, 0, 20)))
    assert np.mean([few.mean(), many.mean()]) == 0.625
    assert (1 + 1) / (1 + 4) != 0.625


@given(seed=seeds)
def test_order_of_predictions_and_of_cells_does_not_matter(seed: int) -> None:
    rng, cells = cells_of(seed)
    predictions, scores = jittered(rng, cells), rng.permutation(len(cells)) / 100
    a, b = rng.permutation(len(cells)), rng.permutation(len(cells))
    assert np.array_equal(curve(predictions, cells, scores), curve(predictions[a], cells[b], scores[a]))


@given(seed=seeds)
def test_perfect_is_one_for_any_cells(seed: int) -> None:
    _, cells = cells_of(seed)
    assert curve(cells, cells).tolist() == [1.0] * 10


@given(seed=seeds)
def test_merging_two_right_predictions_never_helps(seed: int) -> None:
    rng, cells = cells_of(seed, fewest=2)
    if len(cells) >= 2:
        i, j = rng.choice(len(cells), 2, replace=False)
        merged = np.concatenate([np.delete(cells, [i, j], axis=0), (cells[i] | cells[j])[None]])
        assert np.all(curve(merged, cells) < 1)


@given(seed=seeds)
def test_splitting_a_right_prediction_never_helps(seed: int) -> None:
    rng, cells = cells_of(seed, fewest=1)
    ys, xs = np.nonzero(cells[0]) if len(cells) else ([], [])
    if len(ys) >= 2:
        part = np.zeros_like(cells[0])
        some = rng.permutation(len(ys))[: int(rng.integers(1, len(ys)))]
        part[np.asarray(ys)[some], np.asarray(xs)[some]] = 1
        split = np.concatenate([cells[1:], part[None], (cells[0] - part)[None]])
        assert np.all(curve(split, cells) < 1)


@given(seed=seeds)
def test_a_duplicate_never_helps(seed: int) -> None:
    rng, cells = cells_of(seed, fewest=1)
    if len(cells):
        predictions, scores = jittered(rng, cells), rng.random(len(cells))
        copied = int(rng.integers(len(cells)))
        with_copy = curve(
            np.concatenate([predictions, predictions[copied][None]]), cells, np.append(scores, scores[copied] / 2)
        )
        assert np.array_equal(with_copy, curve(predictions, cells, scores))


@given(seed=seeds)
def test_a_wrong_prediction_beside_the_others_never_helps(seed: int) -> None:
    rng, cells = cells_of(seed)
    predictions = jittered(rng, cells)
    blank = (predictions.sum(0) == 0) & (cells.sum(0) == 0)
    if blank.any():
        more = np.concatenate([predictions, blank[None].astype(np.uint8)])
        scores = np.linspace(0.9, 0.1, len(more))
        assert np.all(curve(more, cells, scores) <= curve(predictions, cells, scores[:-1]))


@given(seed=seeds)
def test_first_predictions_alone(seed: int) -> None:
    rng, cells = cells_of(seed)
    flat = make_disjoint(predictions_of(jittered(rng, cells), rng.random(len(cells))))
    found = match(flat, truth_of(cells).pixels())
    numbers = flat.numbers(len(cells)) + 1
    left = planes_of(numbers[flat.labels.reshape(cells.shape[1:])])
    counts = range(len(left) + 1)
    assert prefix_scores(found, counts) == pytest.approx([curve(left[:n], cells).mean() for n in counts], abs=1e-15)


# --------------------------------------------------------------------- thousands of random label images, three ways


def plain_curve(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """By optimal assignment on a dense IoU matrix: slow, and independent of our code."""
    cells, masks = planes_of(truth).reshape(truth.max(initial=0), -1), planes_of(predicted)
    masks = masks.reshape(predicted.max(initial=0), -1)
    result = []
    for threshold in JUST_ABOVE:
        shared = (cells[:, None] & masks[None]).sum(-1).astype(float)
        iou = shared / np.maximum((cells[:, None] | masks[None]).sum(-1), 1)
        rows, columns = linear_sum_assignment(-(iou >= threshold).astype(float))
        hits = int((iou[rows, columns] >= threshold).sum())
        total = len(cells) + len(masks) - hits
        result.append(hits / total if total else 1.0)
    return np.asarray(result)


def cellpose_curve(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    metrics = pytest.importorskip("cellpose.metrics", reason="pip install --no-deps cellpose, and what it asks for")
    return metrics.average_precision(truth, predicted, threshold=JUST_ABOVE)[0]


def stardist_curve(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    matching = pytest.importorskip("stardist.matching", reason="pip install --no-deps stardist, and what it asks for")
    return np.asarray([m.accuracy for m in matching.matching(truth, predicted, thresh=JUST_ABOVE)])


@pytest.mark.parametrize("other", [plain_curve, cellpose_curve, stardist_curve])
def test_agrees_with_an_independent_implementation(
    other: Callable[[np.ndarray, np.ndarray], np.ndarray], agreement_images: int
) -> None:
    rng = np.random.default_rng(0)
    between = 0
    for _ in range(agreement_images):
        cells = planes_of(label_image(blobs(rng, int(rng.integers(1, 12)))))
        drawn = jittered(rng, cells, int(rng.integers(1, 3)))[rng.random(len(cells)) < 0.9]
        predicted = label_image(np.concatenate([drawn, blobs(rng, int(rng.integers(1, 3)))]))
        ours = curve(planes_of(predicted), cells)
        assert ours == pytest.approx(other(label_image(cells), predicted), abs=1e-6)
        between += 0 < ours.mean() < 1
    # scores lie between 0 and 1
    assert between > agreement_images / 2
