"""What is predicted at once: whole images, or tiles of large ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.config.preset import load_preset, with_settings
from harness.inference.grid import TILE, Division, Grid, with_margin

LARGE = (4000, 4400)


@pytest.fixture
def division() -> Division:
    return Division.of(load_preset("smoke"), 40)


def test_a_network_that_sees_enlarged_images_gets_smaller_tiles(division: Division) -> None:
    enlarged = Division.of(with_settings(load_preset("smoke"), {"model.scale": 2.0}), 40)
    assert enlarged.whole_pixels == division.whole_pixels / 4
    assert enlarged.applies_to((2048, 2048))
    assert not division.applies_to((2048, 2048))
    assert max(enlarged.tile_of(LARGE)) <= 512


def test_the_part_that_is_seen_at_once_is_the_image_or_a_tile(division: Division) -> None:
    assert division.tile_of((2000, 3000)) == (2000, 3000)
    assert division.tile_of(LARGE) == (TILE, TILE)
    assert division.tile_of((100, 100_000)) == (100, TILE)


def test_cells_are_counted_where_they_are_densest(division: Division) -> None:
    few = [[x, y, x + 9, y + 9] for x in range(0, 4000, 500) for y in range(0, 4000, 500)]
    crowd = [[x, y, x + 9, y + 9] for x in range(2000, 2200, 10) for y in range(1000, 1200, 10)]
    boxes = np.array([*few, *crowd], np.int32)
    assert len(crowd) < division.most_cells(LARGE, boxes) <= len(crowd) + 9
    assert division.most_cells((2000, 3000), boxes) == len(boxes)
    assert division.most_cells(LARGE, boxes[:0]) == 0


@given(
    st.tuples(st.integers(1, 700), st.integers(1, 700)),
    st.lists(st.tuples(st.integers(0, 690), st.integers(0, 690)), min_size=1, max_size=30),
)
def test_no_window_of_a_core_holds_more_cells_than_are_counted(
    size: tuple[int, int], corners: list[tuple[int, int]]
) -> None:
    division = replace(Division.of(load_preset("smoke"), 40), whole_pixels=0, grid=Grid.of(40, 256))
    boxes = np.array([[x, y, x + 1, y + 1] for y, x in corners if y < size[0] and x < size[1]], np.int32).reshape(-1, 4)
    most = division.most_cells(size, boxes)
    height, width = division.tile_of(size)
    for core in division.grid.cores(size):
        top, left, bottom, right = with_margin(core, division.grid.margin, size)
        assert bottom - top <= height
        assert right - left <= width
        inside = [1 for x, y, *_ in boxes.tolist() if top <= y + 0.5 < bottom and left <= x + 0.5 < right]
        assert len(inside) <= most
