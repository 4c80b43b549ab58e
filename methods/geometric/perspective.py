"""Perspective: the image seen as a plane tilted at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Perspective:
    """strength: largest displacement of each corner along each side, as a fraction of that side."""

    strength: float

    def __call__(self, size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
        import cv2

        height, width = size
        corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
        moved = corners + rng.uniform(-self.strength, self.strength, (4, 2)).astype(np.float32) * (width, height)
        (a, b, c), (d, e, f), (g, h, i) = cv2.getPerspectiveTransform(corners, moved.astype(np.float32))
        x, y = np.arange(width) + 0.5, (np.arange(height) + 0.5)[:, None]
        depth = g * x + h * y + i
        return np.stack([(a * x + b * y + c) / depth - x, (d * x + e * y + f) / depth - y], axis=-1).astype(np.float32)
