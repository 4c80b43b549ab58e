"""Samples and pools for the tests of augmentations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from harness.contract import Instances, Sample
from harness.masks.crops import CropMasks


class OnePool:
    """A pool that always gives the same sample, and notes what it was asked for."""

    def __init__(self, sample: Sample) -> None:
        self.sample, self.asked = sample, []

    def draw(self, rng: np.random.Generator, cell_type: str | None = None) -> Sample:
        self.asked.append(cell_type)
        return self.sample


@pytest.fixture(scope="session")
def pool_of() -> Callable[[Sample], OnePool]:
    return OnePool


@pytest.fixture(scope="session")
def sample_of() -> Callable[..., Sample]:
    """Makes a sample of an image and dense (N, H, W) planes."""

    def make(image: np.ndarray, planes: np.ndarray, **more: object) -> Sample:
        masks = CropMasks.from_planes(planes) if len(planes) else CropMasks.empty()
        instances = Instances.of_masks(masks, np.arange(len(masks)) % 3)
        return Sample("image", image, instances, **more)

    return make


@pytest.fixture(scope="session")
def scene() -> Callable[..., Sample]:
    """Makes a sample of random, partly overlapping ellipses with 10 labelled points each, inside their boxes."""

    def make(seed: int = 0, size: tuple[int, int] = (90, 120), cells: int = 25, colour: bool = False) -> Sample:
        rng = np.random.default_rng(seed)
        height, width = size
        y, x = np.mgrid[:height, :width]
        planes = []
        for _ in range(cells):
            cx, cy, a, b = rng.uniform((0, 0, 3, 3), (width, height, 12, 12))
            planes.append(((x - cx) / a) ** 2 + ((y - cy) / b) ** 2 < 1)
        masks = CropMasks.from_planes(np.array([plane for plane in planes if plane.sum() >= 4]).reshape(-1, *size))
        image = rng.integers(90, 110, (*size, 3) if colour else size).astype(np.uint8)
        points = np.empty((len(masks), 10, 2), np.float32)
        labels = np.empty((len(masks), 10), np.int8)
        for i, (box, crop) in enumerate(zip(masks.boxes, masks, strict=True)):
            image[box[1] : box[3], box[0] : box[2]][crop != 0] = 150 + 4 * (i % 20)
            # rounded to float32, a draw just below the right or lower edge may lie on it, where the crop has no pixel
            below_edge = np.nextafter(box[2:].astype(np.float32), np.float32(0))
            points[i] = np.minimum(rng.uniform(box[:2], box[2:], (10, 2)), below_edge)
            local = np.floor(points[i]).astype(int) - box[:2]
            labels[i] = crop[local[:, 1], local[:, 0]]
        instances = Instances(
            masks.boxes, np.arange(len(masks)) % 3, masks, points, labels, np.arange(len(masks)) % 7 == 6
        )
        return Sample(f"scene{seed}", image, instances, cell_type="cort")

    return make
