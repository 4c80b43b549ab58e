"""The recall of anchors is that of boxes laid on their grids."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.config import anchors
from harness.config.anchors import RATIOS, SCALES, STRIDES, anchor_recall

SIDE = 512


def counted(box: tuple[float, float], scale: float, ratios: tuple[float, ...]) -> float:
    """Share of the places with an anchor of IoU 0.5 among all that detectron2 would lay."""
    found = 0
    for x, y in anchors._places() + SIDE / 2:
        cell = np.array([x - box[0] / 2, y - box[1] / 2, x + box[0] / 2, y + box[1] / 2])
        best = 0.0
        for stride in STRIDES:
            at = np.arange(0, SIDE + 1, stride, dtype=np.float64)
            for ratio in np.sqrt(ratios):
                half = np.array([stride * scale / ratio, stride * scale * ratio]) / 2
                shared_x = np.minimum(cell[2], at + half[0]) - np.maximum(cell[0], at - half[0])
                shared_y = np.minimum(cell[3], at + half[1]) - np.maximum(cell[1], at - half[1])
                shared = max(0.0, shared_x.max()) * max(0.0, shared_y.max())
                best = max(best, shared / (box[0] * box[1] + 4 * half.prod() - shared))
        found += best >= 0.5
    return found / len(anchors._places())


@given(st.floats(3, 200), st.floats(3, 200), st.sampled_from(SCALES), st.sampled_from(RATIOS))
def test_it_is_that_of_anchors_laid_out(wide: float, high: float, scale: float, ratios: tuple[float, ...]) -> None:
    assert anchor_recall(np.array([[wide, high]]), scale, ratios) == pytest.approx(counted((wide, high), scale, ratios))


def test_an_anchor_of_the_right_size_is_of_no_use_where_its_grid_is_coarse() -> None:
    cells = np.full((50, 2), 16.0)
    # anchors of 16 pixels every 16, every 8 and every 4 pixels
    coarse, middle, fine = (anchor_recall(cells, scale) for scale in (1.0, 2.0, 4.0))
    assert coarse < 0.3 < 0.8 < middle < fine


def test_a_recall_is_a_mean_over_cells_of_all_sizes() -> None:
    none = anchor_recall(np.array([[1.0, 1.0], [4000.0, 4000.0]]), 4.0)
    all_of_them = anchor_recall(np.array([[16.0, 16.0], [64.0, 64.0]]), 4.0)
    assert none == 0
    assert anchor_recall(np.array([[1.0, 1.0], [16.0, 16.0], [64.0, 64.0], [4000.0, 4000.0]]), 4.0) == all_of_them / 2
    many = np.repeat(np.linspace(10, 80, 2000)[:, None], 2, axis=1)
    shuffled = many[np.random.default_rng(0).permutation(len(many))]
    assert anchor_recall(many, 2.0) == anchor_recall(shuffled, 2.0)
