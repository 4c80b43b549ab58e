"""Grid distortion: the rows and columns of a coarse grid made wider and narrower at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.transforms.options import between, whole


@dataclass(frozen=True)
class GridDistortion:
    """strength: each row and column is scaled by a factor drawn from 1 - strength to 1 + strength; at most 0.5.

    steps: rows and columns of the grid. The image's rim stays where it is: factors are scaled to fill the side.
    """

    strength: float = 0.3
    steps: int = 5

    def __post_init__(self) -> None:
        between("grid_strength", self.strength, 0, 0.5)
        whole("grid_steps", self.steps, 1)

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
