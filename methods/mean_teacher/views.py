"""The strong view of an image: other pixels, the same places."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def strong_view(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """The image with random contrast, brightness, blur, noise and up to three filled rectangles.

    After Unbiased Teacher's strong augmentation (colour jitter, blur, cutout), without colour.

    Args:
        image: (H, W) or (H, W, 3).
        rng: Of everything random.

    Returns:
        A new array of the same shape.
    """
    import cv2

    pixels = image.astype(np.float32)
    mean = float(pixels.mean())
    if rng.random() < 0.8:
        pixels = (pixels - mean) * rng.uniform(0.6, 1.4) + mean + rng.uniform(-25, 25)
    if rng.random() < 0.5:
        pixels = cv2.GaussianBlur(np.ascontiguousarray(pixels), (0, 0), rng.uniform(0.1, 2.0)).reshape(image.shape)
    if rng.random() < 0.5:
        pixels = pixels + rng.normal(0, rng.uniform(1, 8), image.shape).astype(np.float32)
    height, width = image.shape[:2]
    for largest, chance in ((0.2, 0.7), (0.2, 0.5), (0.2, 0.3)):
        if rng.random() < chance:
            h, w = (max(1, int(side * rng.uniform(0.05, largest))) for side in (height, width))
            y, x = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
            pixels[y : y + h, x : x + w] = rng.uniform(0, 255)
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
