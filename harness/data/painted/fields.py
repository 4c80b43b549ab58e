"""Smooth random fields, from which texture, uneven light and warps are made."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
"""(H, W) float32."""


def smooth_noise(size: tuple[int, int], sigma: float, rng: np.random.Generator) -> Field:
    """Noise of mean 0 and standard deviation of about 1, smooth over about `sigma` pixels. 0 for white noise."""
    if sigma < 0.3:
        return rng.standard_normal(size, dtype=np.float32)
    # drawn on a coarse grid where it is smooth
    step = max(1.0, sigma / 1.5)
    coarse = max(4, round(size[0] / step)), max(4, round(size[1] / step))
    noise = blurred(rng.standard_normal(coarse, dtype=np.float32), sigma / step)
    noise /= max(float(noise.std()), 1e-6)
    if coarse == size:
        return noise
    return np.asarray(cv2.resize(noise, (size[1], size[0]), interpolation=cv2.INTER_CUBIC), np.float32)


def blurred(image: Field, sigma: float) -> Field:
    """The image under a Gaussian of that standard deviation in pixels. A wide one is applied to a smaller copy."""
    if sigma < 0.2:
        return image
    step = int(sigma // 3)
    if step < 2 or min(image.shape) < 8 * step:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT), np.float32)
    height, width = image.shape
    small = cv2.resize(image, (-(-width // step), -(-height // step)), interpolation=cv2.INTER_AREA)
    soft = cv2.GaussianBlur(small, (0, 0), sigma / step, borderType=cv2.BORDER_REFLECT)
    return np.asarray(cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
