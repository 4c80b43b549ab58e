"""Masks whose pixels are found part by part score as those whose pixels are held."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.contract import Predictions
from harness.evaluation import mask_pixels
from harness.evaluation.ground_truth import GroundTruth
from harness.evaluation.mask_pixels import MaskPixels
from harness.evaluation.matching import match
from harness.evaluation.overlap import make_disjoint, remove_overlaps
from harness.masks import crops
from harness.masks.crops import CropMasks

SIZE = (40, 50)


def random_masks(rng: np.random.Generator, count: int) -> CropMasks:
    planes = np.zeros((count, *SIZE), np.uint8)
    for plane in planes:
        top, left = rng.integers(0, SIZE[0] - 2), rng.integers(0, SIZE[1] - 2)
        high, wide = rng.integers(1, 16, 2)
        part = plane[top : top + high, left : left + wide]
        part[:] = rng.random(part.shape) < 0.7
        plane[top, left] = 1
    return CropMasks.from_planes(planes) if count else CropMasks.empty()


def image(seed: int, count: int) -> tuple[Predictions, GroundTruth]:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 6, count).astype(np.float32) / 5
    found = Predictions(SIZE, random_masks(rng, count), scores, np.zeros(count, np.int64))
    cells = random_masks(rng, 12)
    return found, GroundTruth(
        SIZE, cells, np.zeros(12, np.int64), random_masks(rng, 2), np.zeros(2, np.int64), cell_type=None
    )


@given(st.integers(0, 2**32), st.integers(0, 30), st.integers(1, 600), st.integers(1, 60))
def test_part_by_part_is_as_held(seed: int, count: int, part: int, min_area: int) -> None:
    found, truth = image(seed, count)
    held = make_disjoint(found, min_area)
    one = match(held, truth.pixels())
    kept = remove_overlaps(found, min_area)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mask_pixels, "MAX_HELD", 0)
        patch.setattr(mask_pixels, "PART", part)
        apart = make_disjoint(found, min_area)
        two = match(apart, truth.pixels())
        kept_apart = remove_overlaps(found, min_area)
    for name in ("labels", "kept", "places", "areas", "scores"):
        assert np.array_equal(getattr(held, name), getattr(apart, name)), name
    for name in ("levels", "partner", "iou", "ignored", "cell", "prediction", "shared", "cell_areas", "areas"):
        assert np.array_equal(getattr(one, name), getattr(two, name)), name
    assert np.array_equal(kept.masks.pixels, kept_apart.masks.pixels)


def test_areas_of_many_masks_are_counted_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = random_masks(np.random.default_rng(1), 20)
    counts = [int(crop.sum()) for crop in masks]
    for most in (1, 50, 300):
        monkeypatch.setattr(crops, "COUNTED_AT_ONCE", most)
        assert masks.areas().tolist() == counts
        assert masks.select([3]).areas().tolist() == counts[3:4]


def test_parts_hold_all_masks_once_and_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = random_masks(np.random.default_rng(0), 20)
    index, counts = masks.pixel_index(SIZE[1])
    monkeypatch.setattr(mask_pixels, "MAX_HELD", 0)
    monkeypatch.setattr(mask_pixels, "PART", 200)
    pixels = MaskPixels.of(masks, SIZE[1])
    parts = list(pixels.parts())
    assert [i for some, _ in parts for i in range(some.start, some.stop)] == list(range(20))
    largest = max(int(area) for area in np.diff(masks.offsets))
    assert max(int(masks.offsets[some.stop] - masks.offsets[some.start]) for some, _ in parts) <= max(200, largest)
    assert pixels.all().tolist() == index.tolist()
    assert pixels.counts.tolist() == counts.tolist()
    ends = np.cumsum(counts)
    assert all(pixels.of_mask(i).tolist() == index[ends[i] - counts[i] : ends[i]].tolist() for i in range(20))
