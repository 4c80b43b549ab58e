"""From what a microscope shows to pixels of 8 bits: uneven light, dust, defocus, noise, grey levels."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from harness.data.painted.fields import blurred, smooth_noise
from harness.data.painted.scene import Scene

MEAN, STANDARD_DEVIATION = 100.0, 40.0
"""Of a painted image whose mean and contrast are those of its data set, in grey levels of 0 to 255."""
RANGE = 3.5
"""Brighter pixels are cut off in some images, at so many standard deviations or fewer."""


def photograph(scene: Scene, shown: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
    """(H, W) or (H, W, 3) pixels of an image in arbitrary units."""
    size = shown.shape[0], shown.shape[1]
    image = ((shown - shown.mean()) / max(float(shown.std()), 1e-6)).reshape(*size, -1)
    light = scene.light * smooth_noise(size, max(size) * rng.uniform(0.15, 0.6), rng)
    if scene.debris and rng.random() < 0.2:
        light += _dust(size, rng)
    shot = 0.5 if rng.random() < 0.5 else 0.0
    for channel in range(image.shape[2]):
        lit = blurred(np.ascontiguousarray(image[..., channel]), scene.blur) * (1 + 0.25 * light) + light
        noise = scene.noise * smooth_noise(size, scene.grain, rng)
        # shot noise is stronger where it is bright
        image[..., channel] = lit + noise * np.sqrt(np.clip(1 + shot * lit, 0.1, 4))
    image = np.round(image * scene.levels) / scene.levels
    image = (image - image.mean()) / max(float(image.std()), 1e-6)
    if rng.random() < 0.2:
        image = np.minimum(image, rng.uniform(1.5, RANGE))
    image = image * min(scene.gain, 2.0) + scene.offset
    pixels = np.clip(np.round(MEAN + STANDARD_DEVIATION * image), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(pixels[..., 0]) if shown.ndim == 2 else pixels


def _dust(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """A few large soft discs, dark or bright."""
    plane = np.zeros(size, np.float32)
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(size[1])), int(rng.integers(size[0]))
        cv2.circle(plane, at, int(rng.integers(2, max(3, min(size) // 12))), float(rng.uniform(-1.5, 0.8)), -1)
    return blurred(plane, rng.uniform(1, 5))
