"""Which images are predicted in tiles, and how they are divided: cores that cover the image, each with a margin."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.config.preset import Preset
from harness.config.tiling import TILE, WHOLE_PIXELS

ALIGN = 64
"""Cores and margins are multiples of this many pixels: the grids of a network then lie as on the whole image."""

UNKNOWN_CELL = 128
"""Largest side of a cell, in pixels, where the model does not say what it was trained on."""

SMALLEST_CORE = 64
"""A core is not divided further."""

SEAM = 8
"""How far from the border of its core, in pixels, the centre of a cell may lie outside it."""

Box = tuple[int, int, int, int]
"""Top, left, bottom, right, half open."""

Size = tuple[int, int]
"""Height and width of an image, in its pixels."""


@dataclass(frozen=True)
class Grid:
    """core: side of a core; margin: on each side of it; both in pixels of the image and multiples of ALIGN."""

    core: int
    margin: int

    @staticmethod
    def of(largest_cell: int, tile: int = TILE) -> Grid:
        """For cells whose boxes have sides of up to `largest_cell` pixels; 0 where that is not known."""
        margin = up(max(1, (largest_cell or UNKNOWN_CELL) / 2 + SEAM))
        return Grid(max(SMALLEST_CORE, up(tile - 2 * margin + 1) - ALIGN, up(margin)), margin)

    @property
    def tile(self) -> int:
        """Side of a tile with its margins."""
        return self.core + 2 * self.margin

    def __str__(self) -> str:
        return f"tiles of {self.tile} pixels, which overlap"

    def cores(self, size: Size) -> list[Box]:
        """Cores that cover an image of that height and width, row by row."""
        height, width = size
        return [
            (top, left, min(top + self.core, height), min(left + self.core, width))
            for top in range(0, height, self.core)
            for left in range(0, width, self.core)
        ]


@dataclass(frozen=True)
class TilingPolicy:
    """Which images are predicted in tiles, and how large tiles are, for a network that sees images resized.

    scale, scale_by_size: the preset's factors by which images are resized.
    largest_cell: longer side of the largest cell, in pixels of the images; 0 where that is not known.
    tile: side of a tile with its margins, in pixels of the network.
    whole_pixels: of the largest image that is predicted as a whole, in pixels of the network.
    """

    scale: float
    scale_by_size: Mapping[Size, float] = field(default_factory=dict)
    largest_cell: int = 0
    tile: int = TILE
    whole_pixels: int = WHOLE_PIXELS

    @staticmethod
    def of(preset: Preset, largest_cell: int, tile: int = TILE) -> TilingPolicy:
        return TilingPolicy(preset.scale, preset.scale_by_size, largest_cell, tile)

    def applies_to(self, size: Size) -> bool:
        """Whether an image of that height and width is predicted in tiles where nothing else is asked for."""
        return size[0] * size[1] * self._factor(size) ** 2 > self.whole_pixels

    def grid(self, size: Size) -> Grid:
        """How an image of that height and width is divided, in its pixels."""
        return Grid.of(self.largest_cell, round(self.tile / self._factor(size)))

    def seen_at_once(self, size: Size) -> Size:
        """Height and width of the largest part of such an image that is predicted at once, in pixels of the image."""
        if not self.applies_to(size):
            return size
        side = self.grid(size).tile
        return min(size[0], side), min(size[1], side)

    def most_cells(self, size: Size, boxes: NDArray[np.int32]) -> int:
        """Most cells on any part of such an image that is predicted at once.

        boxes: (N, 4), x0 y0 x1 y1, of all its cells. Those count whose centres lie in the part.
        """
        if not self.applies_to(size) or not len(boxes):
            return len(boxes)
        x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
        grid = self.grid(size)
        tiles = (with_margin(core, grid.margin, size) for core in grid.cores(size))
        return max(
            int(np.count_nonzero((y >= top) & (y < bottom) & (x >= left) & (x < right)))
            for top, left, bottom, right in tiles
        )

    def _factor(self, size: Size) -> float:
        return self.scale_by_size.get(size, self.scale)


def with_margin(core: Box, margin: int, size: Size) -> Box:
    """The tile of a core: with a margin on each side, as far as the image of that height and width reaches."""
    top, left, bottom, right = core
    return max(0, top - margin), max(0, left - margin), min(size[0], bottom + margin), min(size[1], right + margin)


def up(pixels: float) -> int:
    """The next multiple of ALIGN."""
    return ALIGN * math.ceil(pixels / ALIGN)
