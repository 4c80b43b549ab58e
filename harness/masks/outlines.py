"""Outlines of masks along the edges of their pixels, so that drawing them gives the same mask again."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Ring = list[tuple[int, int]]
"""Corners x y, the first one repeated at the end."""


def pixel_outlines(mask: NDArray[np.uint8]) -> list[list[Ring]]:
    """The outline of each 4-connected piece of an (h, w) mask: its outer ring, then its holes.

    Corners are those of pixels: the first pixel has the corners (0, 0) and (1, 1). The inside lies to the right of an
    edge, seen with y downwards, so that outer rings run clockwise on the screen.
    """
    rings = [_without_straight_corners(ring) for ring in _trace(_edges(mask))]
    outer = [(ring, _area(ring)) for ring in rings]
    pieces = [[ring] for ring, area in outer if area > 0]
    for hole in (ring for ring, area in outer if area < 0):
        owner = min((p for p in pieces if _holds(p[0], hole[0])), key=lambda p: _area(p[0]), default=None)
        if owner is not None:
            owner.append(hole)
    return pieces


def _edges(mask: NDArray[np.uint8]) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """From the corner at which an edge begins to those at which edges end; every edge has the inside to its right."""
    inside = np.pad(mask.astype(np.int8), 1)
    across, down = np.diff(inside, axis=0)[:, 1:-1], np.diff(inside, axis=1)[1:-1]
    edges: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for y, x in np.argwhere(across == 1).tolist():  # inside below: to the right
        edges.setdefault((x, y), []).append((x + 1, y))
    for y, x in np.argwhere(across == -1).tolist():
        edges.setdefault((x + 1, y), []).append((x, y))
    for y, x in np.argwhere(down == 1).tolist():  # inside to the right of it: upwards
        edges.setdefault((x, y + 1), []).append((x, y))
    for y, x in np.argwhere(down == -1).tolist():
        edges.setdefault((x, y), []).append((x, y + 1))
    return edges


def _trace(edges: dict[tuple[int, int], list[tuple[int, int]]]) -> list[Ring]:
    rings = []
    while edges:
        start = next(iter(edges))
        ring, before, at = [start], None, start
        while True:
            ends = edges[at]
            after = ends[0] if len(ends) == 1 or before is None else _right_turn(before, at, ends)
            ends.remove(after)
            if not ends:
                del edges[at]
            before, at = at, after
            ring.append(at)
            if at == start:
                break
        rings.append(ring)
    return rings


def _right_turn(before: tuple[int, int], at: tuple[int, int], ends: list[tuple[int, int]]) -> tuple[int, int]:
    """Where two pixels meet at a corner only, the turn that stays with the pixel that the outline runs along."""
    dx, dy = at[0] - before[0], at[1] - before[1]
    return max(ends, key=lambda end: dx * (end[1] - at[1]) - dy * (end[0] - at[0]))


def _without_straight_corners(ring: Ring) -> Ring:
    around = [ring[-2], *ring]
    kept = [
        b
        for a, b, c in zip(around, around[1:], around[2:], strict=False)
        if (b[0] - a[0]) * (c[1] - b[1]) != (b[1] - a[1]) * (c[0] - b[0])
    ]
    return [*kept, kept[0]]


def _area(ring: Ring) -> float:
    """Positive for outer rings."""
    return sum(a[0] * b[1] - b[0] * a[1] for a, b in pairwise(ring)) / 2


def _holds(ring: Ring, corner: tuple[int, int]) -> bool:
    """Whether the pixel to the lower right of a hole's corner, or left of it, lies in the ring."""
    x, y = corner[0] + 0.5, corner[1] + 0.5
    crossings = sum((a[1] > y) != (b[1] > y) and x < a[0] for a, b in pairwise(ring) if a[0] == b[0])
    return crossings % 2 == 1
