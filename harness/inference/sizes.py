"""How large the cells of images are, by a network that knows cells of one size best."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.config.fit import BEST_SIDE, MAX_SCALE, SMALLEST_IMAGE
from harness.contract import Model
from harness.inference.predictor import predict_image
from harness.inference.scaled import at_scale

SCALES = tuple(MAX_SCALE / 2 ** (step / 2) for step in range(10, 1, -1))
"""From an eighth up to 2: cells of 160 to 10 pixels."""
SURE = 8
"""A cell of score s counts s to this power: 0.17 of one at 0.8, next to nothing at 0.5."""
LEAST_SCORE = 0.3
"""Scores below it count nothing."""
PATCH = 256
"""Side, in pixels of the network, of what it is shown of an image at each scale: the middle."""
NEARLY = 0.8
"""Scales are steps: cells are taken to be as large as the best where they are so much of it."""
AGREE = 1.5
"""Sizes of cells that are seen at two scales agree where one is at most so many times the other."""


def typical_side(model: Model, images: Sequence[NDArray[np.uint8]], classes: int, device: str) -> float:
    """Side of a typical cell in pixels of the images.

    The network is shown the middle of each image at every scale, from small to large. Where cells are too small for it,
    it takes them, or several together, for cells of half the size that it knows best. The first scale at which the
    cells that it is sure of are as large as that one is right, where the next scale tells the same. On images of
    Sartorius, DSB2018, Usiigaci, LIVECell and `synthetic` this came to 0.6 to 1.2 of the median side. Where it is sure
    of no cell, images keep their size.

    Args:
        model: that sees images at their size.
        images: (H, W) or (H, W, 3).
        classes: of the model.
        device: where it predicts.
    """
    short = min(min(image.shape[:2]) for image in images)
    scales = [scale for scale in SCALES if scale >= 1 or short * scale >= SMALLEST_IMAGE]
    seen = [(side, scale) for scale in scales if (side := _side_seen(model, images, scale, classes, device))]
    sizes = [side / scale for side, scale in seen]
    for (side, _), size, larger_scale in zip(seen, sizes, [*sizes[1:], sizes[-1]] if sizes else [], strict=True):
        if side >= NEARLY * BEST_SIDE and 1 / AGREE <= size / larger_scale <= AGREE:
            return size
    return sizes[-1] if sizes else BEST_SIDE


def _side_seen(
    model: Model, images: Sequence[NDArray[np.uint8]], scale: float, classes: int, device: str
) -> float | None:
    """Median side, in pixels of the network, of the cells it is sure of at a scale; None where it is of none."""
    scaled = at_scale(model, scale)
    patches = [_middle(image, round(PATCH / scale)) for image in images]
    found = [predict_image(scaled, patch, classes, device, LEAST_SCORE)[0] for patch in patches]
    boxes = np.concatenate([one.masks.boxes for one in found]).astype(np.float64)
    sides = scale * np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
    order = np.argsort(sides)
    sure = np.cumsum(np.concatenate([one.scores for one in found]).astype(np.float64)[order] ** SURE)
    return float(sides[order][np.searchsorted(sure, sure[-1] / 2)]) if len(sure) else None


def _middle(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    top, left = (max(0, (length - side) // 2) for length in image.shape[:2])
    return np.ascontiguousarray(image[top : top + side, left : left + side])
