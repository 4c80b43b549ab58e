from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_cells import bars, blobs, jittered, label_image, planes_of, predictions_of, truth_of
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from harness.evaluation.iou_map import true_positives
from harness.evaluation.matching import THRESHOLDS, Match, match
from harness.evaluation.overlap import make_disjoint

seeds = st.integers(0, 2**32 - 1)


def matched(predictions: np.ndarray, cells: np.ndarray, crowd: np.ndarray | None = None) -> Match:
    return match(make_disjoint(predictions_of(predictions)), truth_of(cells, crowd=crowd).pixels())


@pytest.mark.parametrize("k", range(10))
def test_iou_at_a_threshold_does_not_count_and_above_it_does(k: int) -> None:
    # IoU exactly (10 + k) / 20, then one pixel more of 400
    cell, union = bars((0, 0, 400)), 400
    at = union * (10 + k) // 20
    exact = matched(bars((0, 0, at)), cell)
    above = matched(bars((0, 0, at + 1)), cell)
    assert exact.levels.tolist() == [k]
    assert above.levels.tolist() == [k + 1]
    assert above.iou[0] == (at + 1) / union


def test_whole_numbers_decide_like_the_public_evaluator() -> None:
    """Every IoU of up to 1,200 pixels: > over np.arange(0.5, 1, 0.05), whose steps have rounding errors."""
    union = np.repeat(np.arange(1, 1201), np.arange(1, 1201))
    shared = np.concatenate([np.arange(1, u + 1) for u in range(1, 1201)])
    for k, step in enumerate(np.arange(0.5, 1.0, 0.05)):
        assert np.array_equal(shared / union > step, 20 * shared > (10 + k) * union)


@given(seed=seeds)
def test_one_to_one_and_as_many_as_can_be_where_cells_overlap(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cells = blobs(rng, int(rng.integers(1, 8)))
    # several annotations of nearly the same cell, so that one prediction can have several partners
    cells = np.concatenate([cells, jittered(rng, cells, 1), jittered(rng, cells, 1)])
    predictions = jittered(rng, cells[rng.permutation(len(cells))[: len(cells) // 2]], 1)
    found = matched(predictions, cells)
    left = make_disjoint(predictions_of(predictions))
    disjoint = (left.labels[None] == left.places[:, None]).astype(np.int64)
    flat_cells = cells.reshape(len(cells), -1).astype(np.int64)
    shared = disjoint @ flat_cells.T
    union = disjoint.sum(1)[:, None] + flat_cells.sum(1)[None] - shared
    for k, hits in enumerate(true_positives(found.levels)):
        possible = csr_array(20 * shared > (10 + k) * union)
        assert hits == np.count_nonzero(maximum_bipartite_matching(possible) >= 0)
    partners = found.partner[found.partner >= 0]
    assert len(np.unique(partners)) == len(partners)
    for prediction, partner in enumerate(found.partner.tolist()):
        if partner >= 0:
            assert found.iou[prediction] == (shared / union)[prediction].max() == (shared / union)[prediction, partner]


@given(seed=seeds)
def test_pairs_with_pixels_in_common(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cells = blobs(rng, int(rng.integers(0, 8)))
    predictions = planes_of(label_image(blobs(rng, int(rng.integers(0, 8)))))
    found = matched(predictions, cells)
    table = np.einsum("chw,phw->cp", cells.astype(np.int64), predictions)
    where = np.nonzero(table)
    assert np.array_equal(found.cell, where[0])
    assert np.array_equal(found.prediction, where[1])
    assert np.array_equal(found.shared, table[where])


def test_predictions_mostly_in_a_crowd_region_count_as_nothing() -> None:
    cells, crowd = bars((0, 0, 20)), bars((2, 0, 100))
    # half in the crowd, more than half in it, and a cell
    found = matched(bars((2, 90, 110), (2, 0, 20), (0, 0, 20)), cells, crowd)
    assert found.ignored.tolist() == [False, True, False]
    assert found.partner.tolist() == [-1, -1, 0]


def test_a_cell_inside_a_crowd_region_can_be_found() -> None:
    found = matched(bars((0, 0, 20)), bars((0, 0, 20)), bars((0, 0, 100)))
    assert found.ignored.tolist() == [False]
    assert found.levels.tolist() == [10]


def test_thresholds_are_the_ten_of_the_competition() -> None:
    assert np.allclose(THRESHOLDS, np.arange(0.5, 1.0, 0.05))
