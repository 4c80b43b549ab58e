"""Random square crops of a sample at a random scale: from images of any size to training crops."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.contract import Pool, Sample
from harness.transforms.instances import clip


@dataclass(frozen=True)
class RandomWindow:
    """A side x side window of the image, resized by a random factor. Only the window is resized, not the whole image.

    side: of the result, in pixels. An image that does not fill it is padded at the right and bottom with its mean
        colour.
    min_scale, max_scale: the factor is uniform between them. Factor 1 leaves pixels unchanged.
    fit: if True, factor 1 makes the whole image just fit into the window (large-scale jitter as published).
    focus: probability that the window holds the centre of a random cell, so that few windows are empty. Otherwise it is
        anywhere.
    """

    side: int
    min_scale: float = 1.0
    max_scale: float = 1.0
    fit: bool = False
    focus: float = 0.75

    needs_masks = False

    def __call__(self, sample: Sample, rng: np.random.Generator, pool: Pool) -> Sample:
        scale = rng.uniform(self.min_scale, self.max_scale)
        if self.fit:
            scale *= min(self.side / sample.size[0], self.side / sample.size[1])
        height, new_height = self.shown_and_scaled_length(sample.size[0], scale)
        width, new_width = self.shown_and_scaled_length(sample.size[1], scale)
        x0, y0 = self.random_corner(sample, height, width, rng)
        image = sample.image[y0 : y0 + height, x0 : x0 + width]
        if (new_height, new_width) != (height, width):
            image = resize(image, new_height, new_width)
        instances = clip(sample.instances, x0, y0, x0 + width, y0 + height, (new_height, new_width))
        return sample.with_(image=self.pad(image), instances=instances)

    def shown_and_scaled_length(self, length: int, scale: float) -> tuple[int, int]:
        """Of an image side of that length: the pixels that the window shows, and the pixels that they become."""
        if round(length * scale) <= self.side:
            return length, max(1, round(length * scale))
        return min(length, max(1, round(self.side / scale))), self.side

    def random_corner(self, sample: Sample, height: int, width: int, rng: np.random.Generator) -> tuple[int, int]:
        """x0 and y0 of the window: uniform, or with probability `focus` among those with a random cell's centre."""
        spare_x, spare_y = sample.size[1] - width, sample.size[0] - height
        low, high = (0, 0), (spare_x, spare_y)
        if len(sample.instances) and rng.random() < self.focus:
            left, top, right, bottom = sample.instances.boxes[rng.integers(len(sample.instances))].tolist()
            x, y = (left + right) // 2, (top + bottom) // 2
            low = _clamp(0, x - width + 1, spare_x), _clamp(0, y - height + 1, spare_y)
            high = _clamp(0, x, spare_x), _clamp(0, y, spare_y)
        x0, y0 = rng.integers(low, high, endpoint=True).tolist()
        return x0, y0

    def pad(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A new (side, side[, 3]) array: the image at the top left, its mean colour elsewhere."""
        if image.shape[:2] == (self.side, self.side):
            return image.copy()
        grey = image.mean(axis=(0, 1))
        full = np.empty((self.side, self.side, *image.shape[2:]), np.uint8)
        full[:] = np.rint(grey)
        full[: image.shape[0], : image.shape[1]] = image
        return full


def _clamp(low: int, value: int, high: int) -> int:
    return min(max(low, value), high)


def resize(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """The image at another size: area average if it becomes smaller, bilinear if larger."""
    import cv2

    shrinks = height * width < image.shape[0] * image.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.ascontiguousarray(image), (width, height), interpolation=method), np.uint8)
