"""How many cells the anchors of a region proposal network reach."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

STRIDES = (4, 8, 16, 32, 64)
"""Pixels of the network between neighbouring anchors, by level of the pyramid."""

RATIOS = ((0.5, 1.0, 2.0), (1 / 3, 1.0, 3.0), (0.2, 1.0, 5.0))
"""Height over width of the anchors: the engines' own, and those for longer cells. Always three, so that pretrained
weights of the RPN fit."""

SCALES = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
"""Side of an anchor over its level's stride."""

PLACES = 32
"""Places of each cell's centre that a recall is taken over."""

MOST_BOXES = 500
"""Boxes that a recall is taken from, evenly from all by their size."""


def anchor_recall(boxes: NDArray[np.float64], anchor_scale: float, anchor_ratios: Sequence[float] = RATIOS[0]) -> float:
    """Share of cells with an anchor of IoU 0.5, wherever in the image they lie.

    Anchors lie on grids. A small anchor of a coarse level fits the size of a cell and is rarely where the cell is, so
    the recall is a mean over places of the cells' centres.

    Args:
        boxes: (N, 2) widths and heights, in pixels of the network.
        anchor_scale: side of an anchor over its level's stride.
        anchor_ratios: height over width.
    """
    order = boxes.prod(axis=1).argsort(kind="stable")
    some = boxes[order[np.linspace(0, len(order) - 1, min(len(order), MOST_BOXES)).round().astype(np.int64)]]
    wide, high = some[:, :1], some[:, 1:]
    places = _places()
    reached = np.zeros((len(some), PLACES), np.bool_)
    for stride in STRIDES:
        # distance from each centre to the nearest anchor, in x and y
        x, y = np.minimum(places % stride, -places % stride).T
        for ratio in np.sqrt(np.asarray(anchor_ratios)):
            w, h = stride * anchor_scale / ratio, stride * anchor_scale * ratio
            shared = _shared(wide, w, x) * _shared(high, h, y)
            reached |= shared >= 0.5 * (wide * high + w * h - shared)
    return float(reached.mean())


def _places() -> NDArray[np.float64]:
    """(PLACES, 2) x and y, spread evenly over a square of the coarsest stride (the R2 sequence of Roberts, 2018)."""
    # 1.3247... is the plastic number, the real root of x**3 = x + 1
    steps = 1.32471795724474602596 ** -np.array([1.0, 2.0])
    return STRIDES[-1] * (np.arange(1, PLACES + 1)[:, None] * steps % 1)


def _shared(cell: NDArray[np.float64], anchor: float, apart: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, PLACES) length that (N, 1) cells share with an anchor whose centre is (PLACES,) pixels away."""
    return np.clip(np.minimum(cell / 2, apart + anchor / 2) - np.maximum(-cell / 2, apart - anchor / 2), 0, None)
