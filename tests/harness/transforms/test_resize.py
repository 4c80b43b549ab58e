"""Samples are resized as a whole, and masks of predictions come back to the size of their image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.contract import Instances, Sample
from harness.masks.crops import CropMasks
from harness.transforms.resize import resize_masks, resize_sample, scaled_size


def discs(size: tuple[int, int], radii: tuple[float, ...]) -> CropMasks:
    """One disc beside the other, centred on the height of the image."""
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    centres = (np.arange(len(radii)) + 0.5) * size[1] / len(radii)
    return CropMasks.from_planes(
        np.array([(x - cx) ** 2 + (y - size[0] / 2) ** 2 <= r**2 for cx, r in zip(centres, radii, strict=True)])
    )


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_the_size_at_scale_one_is_that_of_the_image() -> None:
    assert scaled_size((101, 77), 1.0) == (101, 77)
    assert scaled_size((3, 3), 0.01) == (1, 1)


def test_a_sample_of_the_right_size_is_left_as_it_is() -> None:
    sample = Sample("a", np.zeros((20, 30), np.uint8), Instances.of_masks(discs((20, 30), (5,)), np.zeros(1)))
    assert resize_sample(sample, (20, 30)) is sample


@pytest.mark.parametrize("channels", [(), (3,)])
@pytest.mark.parametrize("size", [(40, 60), (200, 300), (80, 30)])
def test_image_and_cells_are_resized_together(size: tuple[int, int], channels: tuple[int, ...]) -> None:
    masks = discs((80, 120), (20, 12))
    image = np.repeat(masks.planes(80, 120).max(axis=0)[..., None] * 200, 3, axis=2).astype(np.uint8)
    image = image if channels else image[..., 0].copy()
    found = resize_sample(Sample("a", image, Instances.of_masks(masks, np.array([0, 1]))), size)
    assert found.image.shape == (*size, *channels)
    assert found.instances.labels.tolist() == [0, 1]
    assert found.instances.masks is not None
    bright = found.image.reshape(*size, -1)[..., 0] >= 100
    assert overlap(bright, found.instances.masks.planes(*size).max(axis=0) != 0) > 0.9


@pytest.mark.parametrize("factor", [2, 3, 8])
def test_an_enlarged_mask_is_the_shape_at_the_new_size(factor: int) -> None:
    old, new = (40, 60), (40 * factor, 60 * factor)
    found, kept = resize_masks(discs(old, (15,)), old, new)
    assert kept.tolist() == [0]
    assert overlap(found.planes(*new)[0] != 0, discs(new, (15 * factor,)).planes(*new)[0] != 0) > 0.95


def test_straight_edges_stay_where_they_are() -> None:
    box = CropMasks.from_crops([(3, 4, 9, 6)], [np.ones((2, 6))])
    found, _ = resize_masks(box, (20, 20), (100, 60))
    assert found.boxes.tolist() == [[9, 20, 27, 30]]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.2, 4))
def test_masks_stay_inside_tight_and_in_order(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    old = (int(rng.integers(1, 40)), int(rng.integers(1, 40)))
    new = scaled_size(old, scale)
    planes = rng.random((4, *old)) < 0.5
    masks = CropMasks.from_planes(planes[planes.any(axis=(1, 2))])
    found, kept = resize_masks(masks, old, new)
    assert len(found) == len(kept)
    assert (np.diff(kept) > 0).all()
    assert (found.areas() > 0).all()
    assert (found.boxes[:, :2] >= 0).all()
    assert (found.boxes[:, 2:] <= new[::-1]).all()
    assert np.array_equal(found.tight()[0].boxes, found.boxes)


def test_masks_at_their_own_size_are_the_same_object() -> None:
    masks = discs((20, 30), (5,))
    assert resize_masks(masks, (20, 30), (20, 30))[0] is masks
