"""Outlines of many cells at once, by families of shapes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

POINTS = 48
"""Points of an outline."""
ANGLES = np.linspace(0, 2 * np.pi, POINTS, endpoint=False)
ORDERS = np.arange(2, 7)[:, None]
WAVES = np.concatenate([np.cos(ORDERS * ANGLES), np.sin(ORDERS * ANGLES)]) / np.concatenate([ORDERS, ORDERS])
"""(10, POINTS): what makes an outline uneven, slow waves stronger than quick ones."""

Outlines = NDArray[np.float64]
"""(N, POINTS, 2): x y of each cell around the origin, in pixels."""


@dataclass(frozen=True)
class Family:
    """A family of shapes.

    elongation: range of length over width. roughness: largest unevenness of the outline, as a share of its radius.
    corners: range of the exponent of the superellipse: 2 is an ellipse, less tapers to the ends, more is a rod.
    spikes: range of the number of processes. reach: their largest length over the cell's width. bend: largest sag of
    the long axis, as a share of it.
    """

    elongation: tuple[float, float]
    roughness: float
    corners: tuple[float, float] = (2.0, 2.0)
    spikes: tuple[int, int] = (0, 0)
    reach: float = 0.0
    bend: float = 0.0


FAMILIES = {
    "round": Family((1.0, 1.25), 0.06),
    "oval": Family((1.1, 2.2), 0.12),
    "spindle": Family((2.0, 7.0), 0.2, corners=(0.9, 1.8), spikes=(0, 2), reach=0.8, bend=0.15),
    "amoeboid": Family((1.0, 2.2), 0.55, corners=(1.0, 2.5)),
    "star": Family((1.0, 2.0), 0.35, corners=(0.9, 2.0), spikes=(2, 6), reach=1.8),
    "rod": Family((1.8, 5.0), 0.04, corners=(3.0, 5.0), bend=0.12),
}
"""Nuclei and lymphocytes; epithelium; fibroblasts; amoebae; neurons and astrocytes; bacteria and yeasts."""


def outlines(family: Family, sides: NDArray[np.float64], rng: np.random.Generator) -> Outlines:
    """One outline for each of the (N,) sides: the square root of the area of its box, in pixels."""
    number = len(sides)
    elongation = rng.uniform(*family.elongation, (number, 1))
    long, short = np.sqrt(elongation), 1 / np.sqrt(elongation)
    power = rng.uniform(*family.corners, (number, 1))
    radius = (np.abs(np.cos(ANGLES) / long) ** power + np.abs(np.sin(ANGLES) / short) ** power) ** (-1 / power)
    rough = family.roughness * rng.uniform(0.2, 1, (number, 1))
    radius *= np.maximum(1 + rough / 2 * rng.normal(size=(number, len(WAVES))) @ WAVES, 0.25)
    radius += _spikes(family, number, rng) * short
    x, y = radius * np.cos(ANGLES), radius * np.sin(ANGLES)
    y += family.bend * rng.uniform(-1, 1, (number, 1)) * (x**2 / long - long / 3)
    turn = rng.uniform(0, 2 * np.pi, (number, 1))
    points = np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], axis=2)
    low, high = points.min(axis=1), points.max(axis=1)
    points -= ((low + high) / 2)[:, None]
    return np.asarray(points * (sides / np.sqrt((high - low).prod(axis=1)))[:, None, None])


def _spikes(family: Family, number: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """(N, POINTS): how much the processes of each cell add to its radius."""
    most = family.spikes[1]
    if not most:
        return np.zeros((number, POINTS))
    there = np.arange(most) < rng.integers(family.spikes[0], most + 1, (number, 1))
    # those of bipolar cells are near the ends of the long axis
    ends = rng.choice([0.0, np.pi], (number, most)) + rng.normal(0, 0.35, (number, most))
    at = ends if most <= 2 else rng.uniform(0, 2 * np.pi, (number, most))
    height = there * rng.uniform(0.3, 1, (number, most)) * family.reach
    width = rng.uniform(0.12, 0.28, (number, most, 1))
    away = (ANGLES - at[:, :, None] + np.pi) % (2 * np.pi) - np.pi
    return np.asarray((height[:, :, None] * np.exp(-((away / width) ** 2))).sum(axis=1))
