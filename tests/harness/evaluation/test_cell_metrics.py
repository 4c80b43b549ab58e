from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_cells import bars, blobs, jittered, label_image, planes_of, predictions_of, truth_of

from harness.evaluation.cell_metrics import ERRORS, CellTotals, count_errors
from harness.evaluation.matching import Match, match
from harness.evaluation.overlap import make_disjoint


def matched(predictions: np.ndarray, cells: np.ndarray, crowd: np.ndarray | None = None) -> Match:
    return match(make_disjoint(predictions_of(predictions)), truth_of(cells, crowd=crowd).pixels())


def totals(*matches: Match) -> CellTotals:
    result = CellTotals()
    for one in matches:
        result.add(one)
    return result


CASES = {
    "perfect": ([(0, 0, 20)], [(0, 0, 20)], {}),
    "nothing there": ([], [(0, 0, 20)], {"missed": 1}),
    "nothing meant": ([(0, 0, 20)], [], {"false": 1}),
    "one over two": ([(0, 0, 41)], [(0, 0, 20), (0, 21, 41)], {"merged": 2}),
    "one over two, matching the larger": ([(0, 0, 40)], [(0, 0, 30), (0, 31, 40)], {"merged": 1}),
    "two in one": ([(0, 0, 20), (0, 20, 40)], [(0, 0, 40)], {"split": 1}),
    "a piece beside a match": ([(0, 0, 30), (0, 30, 40)], [(0, 0, 40)], {"false": 1}),
    "too small": ([(0, 0, 15)], [(0, 0, 40)], {"poor_outline": 1}),
    "barely touching": ([(0, 38, 60)], [(0, 0, 40)], {"missed": 1, "false": 1}),
}


@pytest.mark.parametrize("name", CASES)
def test_what_went_wrong(name: str) -> None:
    predictions, cells, expected = CASES[name]
    assert count_errors(matched(bars(*predictions), bars(*cells))) == {**dict.fromkeys(ERRORS, 0), **expected}


@given(seed=st.integers(0, 2**32 - 1))
def test_errors_of_cells_add_up_to_those_not_found(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cells = blobs(rng, int(rng.integers(0, 10)))
    found = matched(np.concatenate([jittered(rng, cells, 3), blobs(rng, 3)]), cells)
    counts = count_errors(found)
    lone = found.cells - np.count_nonzero(found.partner >= 0)
    assert counts["missed"] + counts["merged"] + counts["split"] + counts["poor_outline"] == lone
    assert counts["false"] <= np.count_nonzero(found.partner < 0)


def test_quantities_by_hand() -> None:
    # image 1: IoU 0.75 and a miss; image 2: one false prediction
    found = totals(
        matched(bars((0, 0, 30)), bars((0, 0, 40), (2, 0, 10))),
        matched(bars((0, 0, 10)), bars()),
    )
    assert found.f1 == 2 / (2 + 2)
    assert found.mean_matched_iou == 0.75
    assert found.panoptic_quality == 0.75 / (1 + 0.5 + 0.5)
    assert found.count_error == (1 / 2 + 1 / 1) / 2


def test_nothing_to_find_and_nothing_found() -> None:
    found = totals(matched(bars(), bars()))
    assert (found.f1, found.panoptic_quality, found.count_error) == (1.0, 1.0, 0.0)
    assert found.mean_matched_iou is None


def test_predictions_in_a_crowd_region_are_no_errors() -> None:
    found = totals(matched(bars((2, 0, 20), (0, 0, 9)), bars((0, 0, 9)), bars((2, 0, 50))))
    assert (found.f1, found.count_error, found.errors["false"]) == (1.0, 0.0, 0)


def test_agrees_with_stardist_over_a_data_set() -> None:
    stardist = pytest.importorskip("stardist.matching", reason="pip install --no-deps stardist, and what it asks for")
    rng = np.random.default_rng(0)
    truths, guesses, ours = [], [], CellTotals()
    for _ in range(60):
        cells = planes_of(label_image(blobs(rng, int(rng.integers(1, 12)))))
        predicted = label_image(np.concatenate([jittered(rng, cells), blobs(rng, 1)]))
        truths.append(label_image(cells))
        guesses.append(predicted)
        ours.add(matched(planes_of(predicted), cells))
    theirs = stardist.matching_dataset(truths, guesses, thresh=0.5 + 1e-6, show_progress=False)
    assert ours.f1 == pytest.approx(theirs.f1)
    assert ours.panoptic_quality == pytest.approx(theirs.panoptic_quality, abs=1e-6)
    assert ours.mean_matched_iou == pytest.approx(theirs.mean_matched_score, abs=1e-6)
