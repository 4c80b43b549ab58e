"""One displacement field moves image, masks and points alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from harness.contract import Instances, Task
from harness.errors import HarnessError
from harness.options import validate
from harness.transforms.warp import RandomWarp, move_points, warp
from methods.geometric import GeometricOptions
from methods.geometric.elastic import Elastic
from methods.geometric.grid_distortion import GridDistortion
from methods.geometric.perspective import Perspective
from methods.geometric.transform import build

KINDS = [Elastic(0.15, 32), Elastic(0.15, 9), Perspective(0.2), GridDistortion(0.5, 5)]
SIZES = [(90, 120), (64, 64), (33, 70)]


@pytest.mark.parametrize("kind", [Elastic(0.0, 32), Perspective(0.0), GridDistortion(0.0, 5)])
@pytest.mark.parametrize("size", SIZES)
def test_zero_strength_changes_nothing(scene, kind, size) -> None:
    sample = scene(1, size)
    field = kind(sample.size, np.random.default_rng(0))
    assert field.shape == (*size, 2)
    assert field.dtype == np.float32
    bent = warp(sample, field)
    np.testing.assert_array_equal(bent.image, sample.image)
    np.testing.assert_array_equal(bent.instances.masks.pixels, sample.instances.masks.pixels)
    np.testing.assert_array_equal(bent.instances.boxes, sample.instances.boxes)
    np.testing.assert_array_equal(bent.instances.point_labels, sample.instances.point_labels)
    np.testing.assert_allclose(bent.instances.points, sample.instances.points, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZES)
def test_image_and_masks_use_the_same_field(sample_of, kind, size) -> None:
    """Two coordinate ramps as image say which source pixel each pixel shows; the masks must have read the same one."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    rng = np.random.default_rng(3)
    planes = rng.random((3, height, width)) < 0.5
    ramps = np.stack([2 * x, 2 * y, x], axis=-1).astype(np.uint8)
    field = kind(size, rng)
    bent = warp(sample_of(ramps, planes), field)
    source = bent.image[..., :2] / 2
    there = np.stack([x, y], axis=-1) + field
    inside = ((there >= 0) & (there <= (width - 1, height - 1))).all(axis=-1)
    assert inside.mean() > 0.5
    assert np.abs(source - there)[inside].max() < 0.5
    nearest = np.rint(there).astype(int)[inside]
    np.testing.assert_array_equal(
        bent.instances.masks.planes(height, width)[:, inside], planes[:, nearest[:, 1], nearest[:, 0]]
    )


@pytest.mark.parametrize("kind", KINDS)
def test_fields_do_something_smooth_that_never_folds(kind) -> None:
    for seed in range(20):
        field = kind((96, 128), np.random.default_rng(seed))
        assert 1.0 < np.abs(field).max() < 60
        there_x = np.arange(128) + field[..., 0]
        there_y = np.arange(96)[:, None] + field[..., 1]
        assert (np.diff(there_x, axis=1) > 0).all()
        assert (np.diff(there_y, axis=0) > 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_boxes_are_those_of_the_moved_masks_and_points_move_with_their_cells(scene, kind) -> None:
    checked = 0
    for seed in range(10):
        sample = scene(seed)
        instances = sample.instances
        # points well inside or outside their cell: at its edge, rounding to pixels may move a point across
        planes = instances.masks.planes(*sample.size)
        clear = ndimage.minimum_filter(planes, (1, 5, 5), mode="constant") | (
            1 - ndimage.maximum_filter(planes, (1, 5, 5))
        )
        x, y = np.floor(instances.points).astype(int).T
        cell = np.arange(len(planes))
        marks = np.where(clear[cell, y, x].T, instances.point_labels, np.int8(-1))
        sample = sample.with_(instances=replace(instances, point_labels=marks))
        bent = warp(sample, kind(sample.size, np.random.default_rng(seed))).instances
        np.testing.assert_array_equal(bent.boxes, bent.masks.tight()[0].boxes)
        on = bent.point_labels != -1
        x, y = np.floor(bent.points[on]).astype(int).T
        seen = bent.masks.planes(*sample.size)[np.nonzero(on)[0], y, x]
        np.testing.assert_array_equal(seen, bent.point_labels[on])
        checked += on.sum()
    assert checked > 500


@pytest.mark.parametrize("kind", KINDS)
def test_points_are_put_where_the_field_shows_them(kind) -> None:
    size = (90, 120)
    field = kind(size, np.random.default_rng(1))
    y, x = np.mgrid[20:70, 20:100]
    points = np.stack([x, y], axis=-1) + np.float32(0.5) + field[20:70, 20:100]
    np.testing.assert_allclose(move_points(points.astype(np.float32), field), np.stack([x, y], -1) + 0.5, atol=0.35)


def test_points_lost_in_a_fold_are_marked(scene) -> None:
    sample = scene(1)
    height, width = sample.size
    field = np.zeros((height, width, 2), np.float32)
    field[..., 0] = 20 * np.sin(np.arange(width))
    bent = warp(sample, field)
    assert np.isfinite(bent.instances.points).all()
    lost = (bent.instances.points == -1).all(axis=-1)
    assert lost.any()
    assert (bent.instances.point_labels[lost] == -1).all()


def test_what_vanishes_leaves_everywhere(sample_of) -> None:
    """The field shows only the left half, stretched. Cells of the right half and their labels are removed."""
    planes = np.zeros((3, 40, 80), bool)
    planes[0, 5:15, 60:70] = planes[1, 5:15, 5:15] = planes[2, 20:30, 75:80] = True
    sample = sample_of(np.zeros((40, 80), np.uint8), planes)
    field = np.zeros((40, 80, 2), np.float32)
    field[..., 0] = -(np.arange(80) + 0.5) / 2
    bent = warp(sample, field).instances
    assert len(bent) == len(bent.labels) == len(bent.masks) == len(bent.boxes) == 1
    np.testing.assert_array_equal(bent.labels, [1])
    np.testing.assert_array_equal(bent.boxes, [[10, 5, 30, 15]])


def test_grey_comes_in_where_nothing_is_shown(sample_of) -> None:
    image = np.full((40, 40, 3), (10, 100, 200), np.uint8)
    sample = sample_of(image, np.zeros((0, 40, 40)))
    bent = warp(sample, np.full((40, 40, 2), 30, np.float32))
    assert (bent.image == (10, 100, 200)).all()
    assert len(bent.instances) == 0


def test_each_kind_at_its_chance(scene, pool_of) -> None:
    def constant(shift):
        return lambda size, rng: np.full((*size, 2), shift, np.float32)

    sample = scene(1, (8, 8), cells=0)
    chain = RandomWarp(((0.2, constant(1)), (0.5, constant(2))))
    images = [warp(sample, constant(shift)(sample.size, None)).image for shift in (0, 1, 2)]
    rng = np.random.default_rng(0)
    drawn = [chain(sample, rng, pool_of(sample)).image for _ in range(1000)]
    shares = [np.mean([np.array_equal(image, kind) for image in drawn]) for kind in images]
    np.testing.assert_allclose(shares, [0.3, 0.2, 0.5], atol=0.05)


@pytest.mark.parametrize(
    "options", [{"elastic": 2}, {"elastic_strength": 0.9}, {"perspective_strength": -1}, {"grid_strength": 1},
                {"grid_steps": 0}, {"elastic_spacing": 1.5}]
)  # fmt: skip
def test_bad_options_are_refused(options) -> None:
    with pytest.raises(HarnessError, match=next(iter(options))):
        validate(GeometricOptions, options)


def test_probabilities_that_sum_to_more_than_one_are_refused() -> None:
    with pytest.raises(HarnessError, match=r"add up to 1\.5"):
        validate(GeometricOptions, {"elastic": 0.75, "perspective": 0.5})


def test_whole_chain_is_the_same_for_the_same_seed(scene, pool_of) -> None:
    task = Task(("a",), (0, 0, 0), (1, 1, 1), crop=64, max_cells=30, max_size=(90, 120))
    chain = build(task, GeometricOptions())
    assert [step.needs_masks for step in chain] == [False, False, True]
    results = []
    for seed in (1, 1, 2):
        sample, rng = scene(1), np.random.default_rng(seed)
        for step in chain:
            sample = step(sample, rng, pool_of(sample))
        assert sample.size == (64, 64)
        results.append(sample)
    np.testing.assert_array_equal(results[0].image, results[1].image)
    np.testing.assert_array_equal(results[0].instances.masks.pixels, results[1].instances.masks.pixels)
    np.testing.assert_array_equal(results[0].instances.points, results[1].instances.points)
    assert not np.array_equal(results[0].image, results[2].image)


def test_masks_taken_away_are_missed(scene) -> None:
    sample = scene(1)
    bare = sample.with_(instances=Instances(sample.instances.boxes, sample.instances.labels, None))
    with pytest.raises(ValueError, match="needs_masks"):
        warp(bare, np.zeros((*sample.size, 2), np.float32))
