"""Outlines along the edges of pixels."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from harness.masks.outlines import pixel_outlines


def filled(pieces: list[list[list[tuple[int, int]]]], shape: tuple[int, int]) -> np.ndarray:
    """Pixels whose centres lie inside, by counting the edges to their right (even-odd)."""
    inside = np.zeros(shape, np.uint8)
    for ring in (ring for piece in pieces for ring in piece):
        assert ring[0] == ring[-1]
        for (x0, y0), (x1, y1) in pairwise(ring):
            assert (x0 == x1) != (y0 == y1)
            inside[min(y0, y1) : max(y0, y1), :x0] ^= x0 == x1
    return inside


@pytest.mark.parametrize("seed", range(20))
def test_filling_the_outlines_gives_the_mask_again(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = (rng.random((rng.integers(1, 14), rng.integers(1, 14))) < rng.uniform(0.2, 0.9)).astype(np.uint8)
    mask[0, 0] = 1
    np.testing.assert_array_equal(filled(pixel_outlines(mask), mask.shape), mask)


def test_a_square_has_four_corners_and_a_ring_has_a_hole() -> None:
    square = np.ones((3, 5), np.uint8)
    assert pixel_outlines(square) == [[[(0, 0), (5, 0), (5, 3), (0, 3), (0, 0)]]]
    square[1, 2] = 0
    ((outer, hole),) = pixel_outlines(square)
    assert len(outer) == len(hole) == 5


def test_pixels_that_meet_at_a_corner_are_two_pieces() -> None:
    assert len(pixel_outlines(np.eye(2, dtype=np.uint8))) == 2
