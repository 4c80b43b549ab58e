"""Pixels of more than 8 bits brought to 8, by the range of the values of the whole image.

Whole numbers of up to 16 bits are counted and translated by a table: no second image of 8 bytes a pixel is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

LOWEST, HIGHEST = 0.1, 99.9
"""Percentiles of the values that become 0 and 255."""

ROWS = 512
"""Rows that are looked at together."""


def can_be_counted(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "ui" and dtype.itemsize <= 2


def strips_of(pixels: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """An image, ROWS rows at a time."""
    return (pixels[top : top + ROWS] for top in range(0, len(pixels), ROWS))


def counted_range(strips: Iterable[NDArray[Any]], dtype: np.dtype[Any]) -> tuple[float, float]:
    """The two percentiles of whole numbers of up to 16 bits, as np.percentile has them.

    Where they are equal: the smallest and the largest value.
    """
    offset = int(np.iinfo(dtype).min)
    counts = np.zeros(2 ** (8 * dtype.itemsize), np.int64)
    for strip in strips:
        counts += np.bincount(strip.ravel().astype(np.int64) - offset, minlength=len(counts))
    up_to = counts.cumsum()
    low, high = (_percentile(up_to, percent, offset) for percent in (LOWEST, HIGHEST))
    if not high > low:
        there = np.flatnonzero(counts)
        low, high = float(there[0] + offset), float(there[-1] + offset)
    return low, high


def _percentile(up_to: NDArray[np.int64], percent: float, offset: int) -> float:
    """up_to: how many values are at most offset, offset + 1, ... Linear between the two nearest ranks."""
    rank = percent / 100 * (int(up_to[-1]) - 1)
    part = rank - np.floor(rank)
    below, above = (float(np.searchsorted(up_to, r, side="right") + offset) for r in (np.floor(rank), np.ceil(rank)))
    # from the nearer of the two, as np.percentile rounds
    return below + (above - below) * part if part < 0.5 else above - (above - below) * (1 - part)


def range_of(values: NDArray[Any]) -> tuple[float, float]:
    """The two percentiles of any numbers; where they are equal, the smallest and the largest."""
    low, high = (float(v) for v in np.percentile(values, (LOWEST, HIGHEST)))
    return (low, high) if high > low else (float(values.min()), float(values.max()))


def stretch(pixels: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """low becomes 0 and high 255, linearly; values beyond them are cut off."""
    scale = 255.0 / (high - low) if high > low else 0.0

    def plain(values: NDArray[Any]) -> NDArray[np.uint8]:
        return np.clip((values.astype(np.float64) - low) * scale + 0.5, 0, 255).astype(np.uint8)

    if can_be_counted(pixels.dtype) and pixels.size > 2 ** (8 * pixels.dtype.itemsize):
        numbers = np.iinfo(pixels.dtype)
        # negative numbers count from the table's end, as Python's indices do
        table = plain(np.r_[0 : numbers.max + 1, numbers.min : 0])
        return table[pixels]
    stretched = np.empty(pixels.shape, np.uint8)
    for part, strip in zip(strips_of(stretched), strips_of(pixels), strict=True):
        part[:] = plain(strip)
    return stretched


def note_of(dtype: np.dtype[Any]) -> str:
    """What is done to pixels of this type, in words."""
    kind = "float" if dtype.kind == "f" else f"{8 * dtype.itemsize}-bit"
    return f"{kind}, stretched to 8-bit from the 0.1th to the 99.9th percentile"
