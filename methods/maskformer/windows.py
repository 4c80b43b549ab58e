"""Windows of a training crop's size that cover an image, each with the middle part whose cells are taken from it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Window:
    """A part of an image in its pixels, half open.

    middle: top, left, bottom, right of the part that is this window's alone. The middles of all windows cover the image
        once.
    """

    top: int
    left: int
    bottom: int
    right: int
    middle: tuple[float, float, float, float]

    def owns(self, mask: NDArray[np.bool_]) -> bool:
        """Whether the centroid of a mask, in pixels of the window, lies in the middle part. The mask holds a pixel."""
        rows, columns = np.nonzero(mask)
        y, x = rows.mean() + 0.5 + self.top, columns.mean() + 0.5 + self.left
        top, left, bottom, right = self.middle
        return bool(top <= y < bottom and left <= x < right)


def windows(size: tuple[int, int], side: int) -> list[Window]:
    """Windows of `side` pixels, or less where the image is smaller, that overlap by half or more."""
    rows, columns = (_along(length, side) for length in size)
    return [
        Window(top, left, bottom, right, (own_top, own_left, own_bottom, own_right))
        for top, bottom, own_top, own_bottom in rows
        for left, right, own_left, own_right in columns
    ]


def _along(length: int, side: int) -> list[tuple[int, int, float, float]]:
    """Begin and end of each window along an axis, and begin and end of its middle."""
    if length <= side:
        return [(0, length, 0.0, float(length))]
    count = -(-2 * (length - side) // side) + 1
    begins = np.linspace(0, length - side, count).round().astype(int).tolist()
    # between two windows the border lies in the middle of what both see
    borders = [(left + side + right) / 2 for left, right in itertools.pairwise(begins)]
    return [
        (begin, begin + side, low, high)
        for begin, low, high in zip(begins, [0.0, *borders], [*borders, float(length)], strict=True)
    ]
