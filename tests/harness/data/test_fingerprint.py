"""A fingerprint is of the training images alone."""

from __future__ import annotations

import numpy as np
import pytest

from harness.contract import Instances, Sample
from harness.data.dataset import Dataset
from harness.data.fingerprint import MAX_BOXES, fingerprint
from harness.errors import HarnessError
from harness.masks.crops import CropMasks


def image(name: str, side: int, cell: int, crowd: bool = False) -> Sample:
    """One square cell on a square image, or none."""
    crop = CropMasks.from_crops([(0, 0, cell, cell)], [np.ones((cell, cell))]) if cell else CropMasks.empty()
    flags = np.full(len(crop), crowd)
    return Sample(name, np.full((side, side), side, np.uint8), Instances.of_masks(crop, np.zeros(len(crop)), flags))


def test_only_the_images_of_the_given_ids_count() -> None:
    dataset = Dataset.from_samples([image("a", 40, 10), image("b", 50, 20), image("c", 60, 30)], ["cell"])
    found = fingerprint(dataset, ["a", "b"])
    assert found.boxes.tolist() == [[10, 10], [20, 20]]
    assert found.smallest_image == 40
    assert found.cells_per_pixel == pytest.approx(2 / (40**2 + 50**2))


def test_crowd_regions_are_no_cells() -> None:
    dataset = Dataset.from_samples([image("a", 40, 10), image("b", 50, 20, crowd=True)], ["cell"])
    assert fingerprint(dataset, ["a", "b"]).boxes.tolist() == [[10, 10]]


def test_images_without_cells_are_one_line() -> None:
    dataset = Dataset.from_samples([image("a", 40, 0), image("b", 50, 20)], ["cell"])
    with pytest.raises(HarnessError, match="no training image has a cell"):
        fingerprint(dataset, ["a"])


def test_boxes_are_drawn_evenly_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.data.fingerprint.MAX_BOXES", 3)
    dataset = Dataset.from_samples([image(str(k), 60, 10 + k) for k in range(9)], ["cell"])
    assert fingerprint(dataset, dataset.ids).boxes[:, 0].tolist() == [10, 14, 18]
    assert MAX_BOXES >= 1000
