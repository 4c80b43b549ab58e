"""Masks, boxes, points, labels and crowd flags move together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.contract import Instances
from harness.masks.crops import CropMasks
from harness.transforms.instances import MIN_PIXELS, clip, flip, from_set_pixels, remap, require_masks


def random_planes(seed: int, count: int, size: tuple[int, int]) -> np.ndarray:
    rng = np.random.default_rng(seed)
    planes = rng.random((count, *size)) < 0.15
    planes[:, rng.integers(size[0]), rng.integers(size[1])] = True
    return planes


@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(2, 12), st.integers(2, 12))
def test_remap_reads_every_plane_through_the_lookup(seed: int, count: int, height: int, width: int) -> None:
    planes = random_planes(seed, count, (height, width))
    rng = np.random.default_rng(seed + 1)
    lookup = rng.integers(-1, height * width, (9, 7))
    expected = np.where(lookup < 0, False, planes.reshape(count, -1)[:, lookup])
    masks, kept = remap(CropMasks.from_planes(planes), lookup, (height, width))
    np.testing.assert_array_equal(kept, np.flatnonzero(expected.any(axis=(1, 2))))
    np.testing.assert_array_equal(masks.planes(9, 7), expected[kept])
    np.testing.assert_array_equal(masks.boxes, masks.tight()[0].boxes)


@given(st.integers(0, 10_000), st.integers(1, 6))
def test_from_set_pixels_inverts_set_pixels_in_any_order(seed: int, count: int) -> None:
    masks = CropMasks.from_planes(random_planes(seed, count, (8, 11)))
    index, owner = masks.set_pixels(11)
    order = np.random.default_rng(seed).permutation(len(index))
    back, kept = from_set_pixels(index[order], owner[order], count, 11)
    np.testing.assert_array_equal(kept, np.arange(count))
    np.testing.assert_array_equal(back.boxes, masks.boxes)
    np.testing.assert_array_equal(back.pixels, masks.pixels)


def test_remap_of_no_masks() -> None:
    masks, kept = remap(CropMasks.empty(), np.zeros((4, 4), int), (5, 5))
    assert len(masks) == len(kept) == 0


def test_a_point_stays_on_its_pixel_when_clipped_and_flipped(scene) -> None:
    sample = scene(3)
    planes = sample.instances.masks.planes(*sample.size)
    clipped = clip(sample.instances, 20, 10, 100, 80)
    moved = flip(clipped, (70, 80), True, False)
    for instances, dense in (
        (clipped, planes[:, 10:80, 20:100]),
        (moved, planes[:, 10:80, 20:100][:, :, ::-1]),
    ):
        kept = dense.reshape(len(dense), -1).sum(axis=1) >= MIN_PIXELS
        dense = dense[kept]
        np.testing.assert_array_equal(instances.masks.planes(70, 80), dense)
        np.testing.assert_array_equal(instances.boxes, instances.masks.boxes)
        np.testing.assert_array_equal(instances.labels, sample.instances.labels[kept])
        np.testing.assert_array_equal(instances.crowd, sample.instances.crowd[kept])
        original = sample.instances.point_labels[kept]
        x, y = np.floor(instances.points).astype(int).T
        inside = ((x >= 0) & (x < 80) & (y >= 0) & (y < 70)).T
        np.testing.assert_array_equal(instances.point_labels == -1, ~inside)
        assert not inside.all()
        cell = np.arange(len(dense))[:, None].repeat(10, axis=1)
        np.testing.assert_array_equal(dense[cell[inside], y.T[inside], x.T[inside]], original[inside])


def test_cells_cut_down_to_a_few_pixels_leave() -> None:
    planes = np.zeros((2, 10, 10), bool)
    planes[0, 0:1, 0 : MIN_PIXELS - 1 + 4] = True
    planes[1, 5:9, 4:9] = True
    instances = Instances.of_masks(CropMasks.from_planes(planes), np.array([0, 1]))
    left = clip(instances, 4, 0, 10, 10)
    np.testing.assert_array_equal(left.labels, [1])
    np.testing.assert_array_equal(left.boxes, [[0, 5, 5, 9]])


def test_instances_with_points_alone_keep_clipped_boxes() -> None:
    boxes = np.array([[2, 2, 8, 8], [0, 0, 3, 3], [5, 1, 7, 9]], np.int32)
    points = np.array([[[2.5, 2.5], [7.5, 7.5]], [[0.5, 0.5], [1.5, 1.5]], [[5.5, 1.5], [6.5, 6.5]]], np.float32)
    marks = np.array([[1, 0], [1, 1], [0, 1]], np.int8)
    instances = Instances(boxes, np.array([0, 1, 2]), None, points, marks)
    left = clip(instances, 4, 4, 10, 10)
    np.testing.assert_array_equal(left.boxes, [[0, 0, 4, 4], [1, 0, 3, 5]])
    np.testing.assert_array_equal(left.labels, [0, 2])
    np.testing.assert_array_equal(left.point_labels, [[-1, 0], [-1, 1]])
    np.testing.assert_allclose(left.points[:, 1], [[3.5, 3.5], [2.5, 2.5]])
    large = clip(instances, 0, 0, 10, 10, (20, 30))
    np.testing.assert_array_equal(large.boxes[0], [6, 4, 24, 16])
    np.testing.assert_allclose(large.points[0, 0], [7.5, 5.0])
    mirrored = flip(instances, (10, 10), False, True)
    np.testing.assert_array_equal(mirrored.boxes[2], [5, 1, 7, 9])
    np.testing.assert_allclose(mirrored.points[2, 0], [5.5, 8.5])


def test_doubling_and_halving_gives_the_masks_back(scene) -> None:
    sample = scene(5)
    height, width = sample.size
    large = clip(sample.instances, 0, 0, width, height, (2 * height, 2 * width))
    np.testing.assert_array_equal(large.masks.areas(), 4 * sample.instances.masks.areas())
    back = clip(large, 0, 0, 2 * width, 2 * height, sample.size)
    np.testing.assert_array_equal(back.masks.pixels, sample.instances.masks.pixels)
    np.testing.assert_allclose(back.points, sample.instances.points, rtol=1e-5)


@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 20), st.integers(1, 20))
def test_a_resized_window_is_every_plane_read_at_the_nearest_pixel(
    seed: int, count: int, height: int, width: int
) -> None:
    rng = np.random.default_rng(seed)
    planes = random_planes(seed, count, (12, 15))
    x0, y0 = int(rng.integers(0, 10)), int(rng.integers(0, 8))
    x1, y1 = int(rng.integers(x0 + 1, 16)), int(rng.integers(y0 + 1, 13))
    instances = Instances.of_masks(CropMasks.from_planes(planes), np.arange(count))
    rows = y0 + np.floor((np.arange(height) + 0.5) * (y1 - y0) / height + 1e-9).astype(int)
    cols = x0 + np.floor((np.arange(width) + 0.5) * (x1 - x0) / width + 1e-9).astype(int)
    expected = planes[:, rows][:, :, cols]
    seen = clip(instances, x0, y0, x1, y1, (height, width))
    np.testing.assert_array_equal(seen.labels, np.flatnonzero(expected.sum(axis=(1, 2)) >= MIN_PIXELS))
    np.testing.assert_array_equal(seen.masks.planes(height, width), expected[seen.labels])
    np.testing.assert_array_equal(seen.boxes, seen.masks.tight()[0].boxes)


def test_two_flips_are_none(scene) -> None:
    sample = scene(6)
    twice = flip(flip(sample.instances, sample.size, True, True), sample.size, True, True)
    np.testing.assert_array_equal(twice.masks.pixels, sample.instances.masks.pixels)
    np.testing.assert_array_equal(twice.boxes, sample.instances.boxes)
    np.testing.assert_allclose(twice.points, sample.instances.points, atol=1e-4)


def test_reading_masks_that_are_not_there_is_an_error() -> None:
    with pytest.raises(ValueError, match="needs_masks"):
        require_masks(Instances(np.zeros((0, 4), np.int32), np.zeros(0, np.int64), None))
