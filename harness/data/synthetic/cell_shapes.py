"""Outlines of drawn cells, modelled on three types of neural culture in the Sartorius images.

Areas, elongation and number per image follow what is annotated there: shsy5y about 200 pixels, twice as long as wide,
crowded; astro several hundred pixels, with processes, ragged, a fifth or so with a hole; cort about 200, round, sparse.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Polygon = NDArray[np.float64]
"""(P, 2) points, x y, continuous pixel coordinates."""


@dataclass(frozen=True)
class Shape:
    """A cell around the origin: the union of its solids less its holes. tips: where neurites leave, with direction.

    tips: (T, 3) x, y and angle in radians.
    """

    solids: tuple[Polygon, ...]
    holes: tuple[Polygon, ...]
    tips: NDArray[np.float64]


@dataclass(frozen=True)
class CellType:
    """How cells of a type look. count: mean on 256 x 256 pixels. clustered: fraction lying beside an earlier cell.

    overlap: largest fraction of a cell that may lie on earlier ones. Grey levels: fill inside, rim just inside the
    outline, halo just outside, texture inside. neurites: mean number a cell. debris: mean specks on 256 x 256 pixels.
    """

    name: str
    shape: Callable[[np.random.Generator], Shape]
    count: float
    clustered: float
    overlap: float
    fill: float
    rim: float
    halo: float
    texture: float
    neurites: float
    neurite_length: float
    debris: float


ANGLES = np.linspace(0, 2 * np.pi, 40, endpoint=False)
ORDERS = np.arange(2, 6)[:, None]
WAVES = np.concatenate([np.cos(ORDERS * ANGLES), np.sin(ORDERS * ANGLES)]) / np.concatenate([ORDERS, ORDERS])
"""(8, 40): what makes an ellipse uneven, slow waves stronger than quick ones."""


def blob(rng: np.random.Generator, area: float, elongation: float, roughness: float, spikes: int = 0) -> Shape:
    """A rough ellipse with tapered corners, where neurites leave."""
    long, short = math.sqrt(area / math.pi * elongation), math.sqrt(area / math.pi / elongation)
    radius = long * short / np.hypot(short * np.cos(ANGLES), long * np.sin(ANGLES))
    radius *= 1 + roughness / math.sqrt(2) * rng.normal(size=8) @ WAVES
    # corners sit near the ends of the long axis, as in bipolar cells
    at = rng.choice([0.0, math.pi], spikes) + rng.normal(0, 0.4, spikes)
    for tip in at.tolist():
        away = (ANGLES - tip + math.pi) % (2 * math.pi) - math.pi
        radius += rng.uniform(0.6, 1.7) * short * np.exp(-((away / 0.25) ** 2))
    np.maximum(radius, 3.5, out=radius)
    turn = rng.uniform(0, 2 * math.pi)
    points = radius[:, None] * np.stack([np.cos(ANGLES + turn), np.sin(ANGLES + turn)], axis=1)
    nearest = np.round(at / (2 * math.pi) * len(ANGLES)).astype(int) % len(ANGLES)
    return Shape((points,), (), np.column_stack([points[nearest], at + turn]))


def process(
    rng: np.random.Generator, start: NDArray[np.float64], heading: float, length: float, width: float
) -> Polygon:
    """A curved strip that tapers to a third of its width."""
    steps = max(4, int(length / 5))
    turning = heading + np.cumsum(rng.normal(0, 0.14, steps)) + rng.normal(0, 0.06) * np.arange(steps)
    along = np.stack([np.cos(turning), np.sin(turning)], axis=1)
    centre = start + np.cumsum(along * (length / steps), axis=0)
    half = width * np.linspace(0.5, 0.17, steps)[:, None]
    across = np.stack([-along[:, 1], along[:, 0]], axis=1) * half
    return np.concatenate([centre + across, (centre - across)[::-1]])


def shsy5y(rng: np.random.Generator) -> Shape:
    area = float(np.clip(rng.lognormal(np.log(215), 0.4), 80, 600))
    return blob(rng, area, rng.uniform(1.1, 2.8), 0.2, int(rng.integers(0, 4)))


def astro(rng: np.random.Generator) -> Shape:
    body = blob(rng, float(np.clip(rng.lognormal(np.log(480), 0.5), 180, 1800)), rng.uniform(1.1, 2.4), 0.5)
    outline = body.solids[0]
    reach = np.hypot(*outline.T)
    solids, tips = [outline], []
    for heading in rng.uniform(0, 2 * np.pi, int(rng.integers(0, 4))):
        toward = int(np.argmin(np.abs(np.angle(np.exp(1j * (np.arctan2(outline[:, 1], outline[:, 0]) - heading))))))
        start = outline[toward] * 0.4
        strip = process(rng, start, heading, 0.6 * reach[toward] + rng.uniform(8, 26), rng.uniform(8, 13))
        solids.append(strip)
        tip = strip[len(strip) // 2]
        tips.append((tip[0], tip[1], heading))
    holes = []
    if rng.random() < 0.12:
        size = 0.35 * reach.min()
        centre = rng.uniform(-0.4, 0.4, 2) * reach.min()
        holes.append(blob(rng, max(14.0, np.pi * size**2), rng.uniform(1, 1.6), 0.2).solids[0] + centre)
    return Shape(tuple(solids), tuple(holes), np.asarray(tips).reshape(-1, 3))


def cort(rng: np.random.Generator) -> Shape:
    area = float(np.clip(rng.lognormal(np.log(205), 0.35), 90, 500))
    soma = blob(rng, area, rng.uniform(1.0, 1.6), 0.1, int(rng.integers(0, 2)))
    outline = soma.solids[0]
    leaving = rng.integers(0, len(outline), 9)
    heading = np.arctan2(outline[leaving, 1], outline[leaving, 0]) + rng.normal(0, 0.3, len(leaving))
    return Shape(soma.solids, (), np.column_stack([outline[leaving], heading]))


TYPES = {
    t.name: t
    for t in (
        CellType("shsy5y", shsy5y, 44, 0.5, 0.12, 9, 66, 78, 11, 1.8, 45, 5),
        CellType("astro", astro, 13, 0.25, 0.10, 8, 62, 70, 12, 0.4, 50, 9),
        CellType("cort", cort, 12, 0.3, 0.12, 10, 66, 95, 14, 13, 70, 50),
    )
}
"""The three types by name, in the order of the Sartorius classes."""
