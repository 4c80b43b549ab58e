"""How large the cells of images are, by a network that knows cells of one size best."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.config.fit import BEST_SIDE, MAX_SCALE, SMALLEST_IMAGE
from harness.contract import Instances, Model, Sample
from harness.inference.predictor import predict_all
from harness.inference.scaled import at_scale
from harness.masks.crops import CropMasks

SCALES = tuple(MAX_SCALE / 2 ** (step / 2) for step in range(2, 11))
"""From 2 down to an eighth: cells of 10 to 160 pixels."""
SURE = 8
"""A cell of score s counts s to this power: 0.17 of one at 0.8, next to nothing at 0.5."""
PATCH = 256
"""Side, in pixels of the network, of what it is shown of an image at each scale: the middle."""


def typical_side(
    model: Model, images: Sequence[NDArray[np.uint8]], classes: int, device: str, threshold: float
) -> float:
    """Side of a typical cell in pixels of the images.

    The network is shown the middle of each image at every scale. At the right one it is sure of most cells, for so many
    pixels of its own: smaller ones it overlooks or doubts, larger ones are fewer. A high power of the scores counts the
    sure ones, without a threshold to jump over. Where it is sure of none, images keep their size.

    Args:
        model: that sees images at their size.
        images: (H, W) or (H, W, 3).
        classes: of the model.
        device: where it predicts.
        threshold: scores below it are no cells.
    """
    short = min(min(image.shape[:2]) for image in images)
    scales = [scale for scale in SCALES if scale >= 1 or short * scale >= SMALLEST_IMAGE]
    sure = [_surety(at_scale(model, scale), images, scale, (classes, device, threshold)) for scale in scales]
    return BEST_SIDE / (scales[int(np.argmax(sure))] if any(sure) else 1.0)


def _surety(model: Model, images: Sequence[NDArray[np.uint8]], scale: float, how: tuple[int, str, float]) -> float:
    """How many cells it is sure of, for each pixel of the network."""
    classes, device, threshold = how
    no_cells = Instances.of_masks(CropMasks.empty(), np.zeros(0, np.int64))
    total, pixels = 0.0, 0.0
    for image in images:
        patch = _middle(image, round(PATCH / scale))
        found = predict_all(model, [Sample("patch", patch, no_cells)], classes, device, threshold)[0]["patch"]
        total += float((found.scores.astype(np.float64) ** SURE).sum())
        pixels += patch.shape[0] * patch.shape[1] * scale**2
    return total / pixels


def _middle(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    top, left = (max(0, (length - side) // 2) for length in image.shape[:2])
    return np.ascontiguousarray(image[top : top + side, left : left + side])
