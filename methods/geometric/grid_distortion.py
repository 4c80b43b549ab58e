"""Grid distortion: the rows and columns of a coarse grid made wider and narrower at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class GridDistortion:
    """Random scaling of rows and columns; factors are normalised so that the image's border stays where it is.

    strength: factors are uniform between 1 - strength and 1 + strength. steps: rows and columns of the grid.
    """

    strength: float
    steps: int

    def __call__(self, size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
        field = np.empty((*size, 2), np.float32)
        field[..., 0] = self.along(size[1], rng)
        field[..., 1] = self.along(size[0], rng)[:, None]
        return field

    def along(self, length: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """(length,) displacements along one side of that length."""
        factors = rng.uniform(1 - self.strength, 1 + self.strength, self.steps)
        source = np.concatenate([[0], np.cumsum(factors / factors.sum())]) * length
        centres = np.arange(length) + 0.5
        return np.interp(centres, np.linspace(0, length, self.steps + 1), source) - centres
