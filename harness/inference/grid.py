"""How an image is divided into tiles: cores that cover it, each with a margin."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.config.fit import WHOLE_PIXELS
from harness.config.preset import Preset

ALIGN = 64
"""Cores and margins are multiples of this many pixels: the grids of a network then lie as on the whole image."""

TILE = 1024
"""Side of a tile with its margins, in pixels, where the margin leaves room."""

UNKNOWN_CELL = 128
"""Largest side of a cell, in pixels, where the model does not say what it was trained on."""

SMALLEST_CORE = 64
"""A core is not divided further."""

SEAM = 8
"""How far from the border of its core, in pixels, the centre of a cell may lie outside it."""

Box = tuple[int, int, int, int]
"""Top, left, bottom, right, half open."""


@dataclass(frozen=True)
class Grid:
    """core: side of a core; margin: on each side of it; both in pixels and multiples of ALIGN."""

    core: int
    margin: int

    @staticmethod
    def of(largest_cell: int, tile: int = TILE) -> Grid:
        """For cells whose boxes have sides of up to `largest_cell` pixels; 0 where that is not known."""
        margin = up(max(1, (largest_cell or UNKNOWN_CELL) / 2 + SEAM))
        return Grid(max(SMALLEST_CORE, up(tile - 2 * margin + 1) - ALIGN, up(margin)), margin)

    def cores(self, size: tuple[int, int]) -> list[Box]:
        """Cores that cover an image of that height and width, row by row."""
        height, width = size
        return [
            (top, left, min(top + self.core, height), min(left + self.core, width))
            for top in range(0, height, self.core)
            for left in range(0, width, self.core)
        ]


@dataclass(frozen=True)
class Division:
    """Which images are predicted in tiles, and how they are divided.

    whole_pixels: of the largest image that is predicted as a whole.
    """

    whole_pixels: float
    grid: Grid

    @staticmethod
    def of(preset: Preset, largest_cell: int, side: int = TILE) -> Division:
        """For a network that sees images as large as the preset resizes them.

        Args:
            preset: of the trial.
            largest_cell: longer side of the largest cell, in pixels of the images; 0 where that is not known.
            side: of a tile with its margins, in pixels of the network.
        """
        scale = max(preset.scale, *preset.scale_by_size.values(), 0)
        return Division(WHOLE_PIXELS / scale**2, Grid.of(largest_cell, round(side / scale)))

    def applies_to(self, size: tuple[int, int]) -> bool:
        """Whether an image of that height and width is predicted in tiles where nothing else is asked for."""
        return size[0] * size[1] > self.whole_pixels

    def tile_of(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the largest part of such an image that is predicted at once, in pixels of the image."""
        if not self.applies_to(size):
            return size
        side = self.grid.core + 2 * self.grid.margin
        return min(size[0], side), min(size[1], side)

    def most_cells(self, size: tuple[int, int], boxes: NDArray[np.int32]) -> int:
        """Most cells on any part of such an image that is predicted at once.

        boxes: (N, 4), x0 y0 x1 y1, of all its cells. Those count whose centres lie in the part.
        """
        if not self.applies_to(size) or not len(boxes):
            return len(boxes)
        x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
        tiles = (with_margin(core, self.grid.margin, size) for core in self.grid.cores(size))
        return max(
            int(np.count_nonzero((y >= top) & (y < bottom) & (x >= left) & (x < right)))
            for top, left, bottom, right in tiles
        )

    def __str__(self) -> str:
        return f"tiles of {self.grid.core + 2 * self.grid.margin} pixels, which overlap"


def with_margin(core: Box, margin: int, size: tuple[int, int]) -> Box:
    """The tile of a core: with a margin on each side, as far as the image of that height and width reaches."""
    top, left, bottom, right = core
    return max(0, top - margin), max(0, left - margin), min(size[0], bottom + margin), min(size[1], right + margin)


def up(pixels: float) -> int:
    """The next multiple of ALIGN."""
    return ALIGN * math.ceil(pixels / ALIGN)
