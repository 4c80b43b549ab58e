"""What is predicted at once: whole images, or tiles of large ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.config.preset import load_preset, with_settings
from harness.config.tiling import TILE
from harness.inference.grid import TilingPolicy, with_margin

LARGE = (4000, 4400)


@pytest.fixture
def tiling() -> TilingPolicy:
    return TilingPolicy.of(load_preset("smoke"), 40)


def test_a_network_that_sees_enlarged_images_gets_smaller_tiles(tiling: TilingPolicy) -> None:
    enlarged = TilingPolicy.of(with_settings(load_preset("smoke"), {"model.scale": 2.0}), 40)
    assert enlarged.applies_to((2048, 2048))
    assert not tiling.applies_to((2048, 2048))
    assert enlarged.grid(LARGE).tile == 512
    assert tiling.grid(LARGE).tile == TILE


def test_images_of_some_sizes_are_divided_by_their_own_scale() -> None:
    settings = {"model.scale": 0.25, "model.scale_by_size": {"360x360": 2.0, "4000x4000": 1.0}}
    mixed = TilingPolicy.of(with_settings(load_preset("smoke"), settings), 40)
    assert not mixed.applies_to((360, 360))
    assert not mixed.applies_to((5000, 5000)), "1.6 million pixels for the network"
    assert mixed.grid((20_000, 20_000)).tile == 4 * TILE
    assert mixed.applies_to((4000, 4000))
    assert mixed.grid((4000, 4000)).tile == TILE


def test_the_part_that_is_seen_at_once_is_the_image_or_a_tile(tiling: TilingPolicy) -> None:
    assert tiling.seen_at_once((2000, 3000)) == (2000, 3000)
    assert tiling.seen_at_once(LARGE) == (TILE, TILE)
    assert tiling.seen_at_once((100, 100_000)) == (100, TILE)


def test_cells_are_counted_where_they_are_densest(tiling: TilingPolicy) -> None:
    few = [[x, y, x + 9, y + 9] for x in range(0, 4000, 500) for y in range(0, 4000, 500)]
    crowd = [[x, y, x + 9, y + 9] for x in range(2000, 2200, 10) for y in range(1000, 1200, 10)]
    boxes = np.array([*few, *crowd], np.int32)
    assert len(crowd) < tiling.most_cells(LARGE, boxes) <= len(crowd) + 9
    assert tiling.most_cells((2000, 3000), boxes) == len(boxes)
    assert tiling.most_cells(LARGE, boxes[:0]) == 0


@given(
    st.tuples(st.integers(1, 700), st.integers(1, 700)),
    st.lists(st.tuples(st.integers(0, 690), st.integers(0, 690)), min_size=1, max_size=30),
)
def test_no_tile_holds_more_cells_than_are_counted(size: tuple[int, int], corners: list[tuple[int, int]]) -> None:
    tiling = TilingPolicy(1.0, {}, 40, tile=256, whole_pixels=0)
    boxes = np.array([[x, y, x + 1, y + 1] for y, x in corners if y < size[0] and x < size[1]], np.int32).reshape(-1, 4)
    most, (height, width), grid = tiling.most_cells(size, boxes), tiling.seen_at_once(size), tiling.grid(size)
    for core in grid.cores(size):
        top, left, bottom, right = with_margin(core, grid.margin, size)
        assert bottom - top <= height
        assert right - left <= width
        inside = [1 for x, y, *_ in boxes.tolist() if top <= y + 0.5 < bottom and left <= x + 0.5 < right]
        assert len(inside) <= most
