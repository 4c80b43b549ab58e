from __future__ import annotations

import json

import numpy as np
import pytest

from harness.contract import Instances, Sample
from harness.data.dataset import Dataset
from harness.data.statistics import describe, median_diameter, pixel_statistics
from harness.masks.crops import CropMasks

RNG = np.random.default_rng(0)
RING = np.ones((5, 5), np.uint8)
RING[2, 2] = 0


def two_images() -> Dataset:
    masks = CropMasks.from_crops([(0, 0, 5, 5), (4, 4, 8, 6), (10, 0, 12, 2)], [RING, np.ones((2, 4)), np.ones((2, 2))])
    cells = Instances.of_masks(masks, np.asarray([0, 1, 1]))
    grey = Sample("grey", RNG.integers(0, 256, (10, 12), np.uint8), cells, "b")
    none = Instances.of_masks(CropMasks.empty(), np.zeros(0, np.int64))
    return Dataset.from_samples([grey, Sample("rgb", RNG.integers(0, 256, (7, 9, 3), np.uint8), none)], ("a", "b"))


def test_pixels_are_those_of_numpy() -> None:
    dataset = two_images()
    stacked = np.concatenate([np.repeat(dataset[0].image.reshape(-1, 1), 3, axis=1), dataset[1].image.reshape(-1, 3)])
    mean, std = pixel_statistics(dataset, ["rgb", "grey"])
    assert mean == pytest.approx(stacked.mean(axis=0))
    assert std == pytest.approx(stacked.std(axis=0))
    assert pixel_statistics(dataset, ["grey"])[0] == pytest.approx([dataset[0].image.mean()] * 3)


def test_a_large_image_is_counted_exactly() -> None:
    image = np.full((4100, 4100), 7, np.uint8)  # more pixels than float32 can count
    image[::4099, 1] = 200
    none = Instances.of_masks(CropMasks.empty(), np.zeros(0, np.int64))
    mean, _ = pixel_statistics(Dataset.from_samples([Sample("large", image, none)], ("a",)), ["large"])
    assert mean == ((7 * image.size + 193 * 2) / image.size,) * 3


def test_figures_of_a_data_set() -> None:
    figures = describe(two_images())
    json.dumps(figures)
    assert (figures["images"], figures["cells"]) == (2, 3)
    assert figures["images_by_type"] == {"b": 1, "no cells": 1}
    assert figures["image_sizes"] == {"10x12": 1, "7x9": 1}
    assert figures["cells_per_image"]["max"] == 3
    ring, others = figures["by_class"]["a"], figures["by_class"]["b"]
    assert (ring["cells"], ring["overlapped"], ring["with_holes"]) == (1, 1, 1)
    assert ring["area"] == dict.fromkeys(("min", "p5", "median", "p95", "max"), 24.0)
    assert (others["cells"], others["overlapped"], others["with_holes"]) == (2, 1, 0)
    assert (others["width"]["max"], others["height"]["max"]) == (4, 2)


def test_the_median_diameter_is_that_of_a_circle_of_the_median_area() -> None:
    data = two_images()
    assert sorted(data.sample("grey").instances.masks.areas()) == [4, 8, 24]
    assert median_diameter(data, ("grey", "rgb")) == pytest.approx(2 * np.sqrt(8 / np.pi))
    assert median_diameter(data, ("rgb",)) == 0
