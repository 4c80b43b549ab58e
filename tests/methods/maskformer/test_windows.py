"""Windows cover the image, and each point belongs to one of them."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from methods.maskformer.windows import windows

SIDE = st.integers(8, 64)
LENGTH = st.integers(1, 200)


@given(height=LENGTH, width=LENGTH, side=SIDE)
def test_every_pixel_is_in_one_middle_and_in_the_window_of_that_middle(height: int, width: int, side: int) -> None:
    owned = np.zeros((height, width), int)
    rows, columns = np.arange(height) + 0.5, np.arange(width) + 0.5
    for window in windows((height, width), side):
        top, left, bottom, right = window.middle
        owned += ((rows >= top) & (rows < bottom))[:, None] & ((columns >= left) & (columns < right))
        assert window.top <= top
        assert bottom <= window.bottom
        assert window.left <= left
        assert right <= window.right
        assert 0 <= window.top < window.bottom <= height
        assert 0 <= window.left < window.right <= width
        assert window.bottom - window.top <= side
    assert (owned == 1).all()


@given(length=st.integers(9, 200), side=SIDE)
def test_neighbours_overlap_by_half(length: int, side: int) -> None:
    begins = sorted({window.left for window in windows((1, length), side)})
    assert all(b - a <= side / 2 + 1 for a, b in itertools.pairwise(begins))


def test_a_cell_belongs_to_the_window_around_its_middle() -> None:
    whole = np.zeros((64, 128), bool)
    whole[20:30, 60:75] = True
    found = [w for w in windows((64, 128), 64) if w.owns(whole[w.top : w.bottom, w.left : w.right])]
    assert [(w.left, w.right) for w in found] == [(32, 96)]


def test_a_small_image_is_one_window() -> None:
    (only,) = windows((20, 30), 64)
    assert (only.top, only.left, only.bottom, only.right) == (0, 0, 20, 30)
