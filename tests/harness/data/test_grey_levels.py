"""Pixels of more than 8 bits: the same range and the same grey levels as by the plain formula."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from harness.data.grey_levels import can_be_counted, counted_range, range_of, stretch, strips_of
from harness.data.pixels import to_8_bit

WHOLE = st.sampled_from([np.int8, np.uint16, np.int16]).map(np.dtype)
IMAGES = WHOLE.flatmap(lambda dtype: arrays(dtype, array_shapes(min_dims=2, max_dims=2, max_side=30)))


@given(IMAGES)
@example(np.array([[0, -128]], np.int8))
def test_counted_percentiles_are_those_of_numpy(pixels: NDArray) -> None:
    # as float64: between -128 and 0, of 8 bits, numpy's own difference runs over
    assert counted_range(strips_of(pixels), pixels.dtype) == range_of(pixels.astype(np.float64))


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.int32, np.float32])
def test_a_table_gives_the_levels_of_the_formula(dtype: type) -> None:
    """Larger than the table, and of more rows than are looked at together."""
    values = np.random.default_rng(3).normal(500, 900, (700, 150))
    pixels = values.clip(-3000 if dtype != np.uint16 else 0).astype(dtype)
    low, high = np.percentile(pixels, (0.1, 99.9))
    wanted = np.clip((pixels.astype(np.float64) - low) * (255 / (high - low)) + 0.5, 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(stretch(pixels, low, high), wanted)
    np.testing.assert_array_equal(to_8_bit(pixels)[0], wanted)
    assert can_be_counted(pixels.dtype) == (dtype in (np.uint16, np.int16))


def test_an_image_of_one_value_is_black() -> None:
    assert not to_8_bit(np.full((9, 9), 700, np.uint16))[0].any()
