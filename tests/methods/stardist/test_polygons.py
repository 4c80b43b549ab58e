"""Rays, object probabilities, suppression and masks of star-convex polygons, against plain code and the package."""

from __future__ import annotations

import numpy as np
import pytest

from harness.conformance.images import draw_sample
from methods.shared.label_maps import label_map
from methods.stardist.polygons import (
    object_probabilities,
    polygon_areas,
    polygon_masks,
    rasterise,
    star_distances,
    suppress,
)

MISSING = "stardist is not installed: pip install --no-deps stardist, and what it asks for"


def labels(cells: int = 20, side: int = 96) -> np.ndarray:
    sample = draw_sample(cells, (side, side), seed=1)
    return label_map(sample.instances, sample.size)


def disc(radius: float, rays: int = 32) -> np.ndarray:
    return np.full((1, rays), radius, np.float32)


def test_the_rays_of_a_square_reach_its_edges() -> None:
    square = np.zeros((21, 21), np.int32)
    square[5:16, 5:16] = 7
    rays = star_distances(square, 4, 1)
    assert rays[10, 10] == pytest.approx([5.5] * 4)
    assert rays[10, 6] == pytest.approx([9.5, 5.5, 1.5, 5.5]), "along x, y, -x, -y"
    assert not rays[0, 0].any()


def test_a_cell_at_the_border_of_the_image_ends_there() -> None:
    rays = star_distances(np.ones((9, 9), np.int32), 4, 2)
    assert rays.shape == (5, 5, 4)
    assert rays[0, 0] == pytest.approx([8.5, 8.5, 0.5, 0.5])


def test_rays_and_probabilities_are_the_packages() -> None:
    stardist = pytest.importorskip("stardist", reason=MISSING)
    found = labels()
    theirs = stardist.star_dist(found, 32, grid=(2, 2))
    assert star_distances(found, 32, 2) == pytest.approx(theirs, abs=1e-4)
    assert object_probabilities(found) == pytest.approx(stardist.edt_prob(found), abs=1e-5)


def test_the_middle_of_a_cell_has_probability_one_and_touching_cells_have_a_valley() -> None:
    two = np.zeros((11, 22), np.int32)
    two[:, :11], two[:, 11:] = 1, 2
    chance = object_probabilities(two)
    assert chance[5, 0] == 1, "the border of the image is no border of a cell"
    assert chance[5, 10] == pytest.approx(1 / 11)
    assert chance[5, 11] == pytest.approx(1 / 11)
    assert not object_probabilities(np.zeros((4, 4), np.int32)).any()


def test_a_polygon_is_drawn_with_its_area() -> None:
    radius = disc(12.4)
    y0, x0, mask = rasterise(np.asarray([30.0, 40.0], np.float32), radius[0])
    assert mask.sum() == pytest.approx(polygon_areas(radius)[0], rel=0.02)
    ys, xs = np.nonzero(mask)
    assert (ys.mean() + y0, xs.mean() + x0) == pytest.approx((30, 40))


def test_masks_are_cut_at_the_border_and_never_empty() -> None:
    middles = np.asarray([[0, 0], [19, 29], [10, 10]], np.float32)
    rays = np.concatenate([disc(6), disc(6), disc(-3)])
    masks = polygon_masks(middles, rays, (20, 30))
    assert masks.boxes.tolist() == [[0, 0, 7, 7], [23, 13, 30, 20], [10, 10, 11, 11]]
    assert len(polygon_masks(middles[:0], rays[:0], (20, 30))) == 0


def test_rays_of_a_convex_cell_give_it_back() -> None:
    y, x = np.mgrid[:40, :50]
    inside = ((y - 20) / 12) ** 2 + ((x - 24) / 18) ** 2 <= 1
    rays = star_distances(inside.astype(np.int32), 32, 1)[20, 24][None]
    plane = polygon_masks(np.asarray([[20, 24]], np.float32), rays, (40, 50)).planes(40, 50)[0] > 0
    assert (plane & inside).sum() / (plane | inside).sum() > 0.95


def test_suppression_keeps_the_better_of_two_that_overlap() -> None:
    middles = np.asarray([[20, 20], [20, 24], [20, 60], [20, 38]], np.float32)
    rays = np.repeat(disc(10), 4, axis=0)
    scores = np.asarray([0.5, 0.9, 0.1, 0.3], np.float32)
    assert suppress(middles, rays, scores, 0.4, 9).tolist() == [1, 3, 2], "1 covers 0 by 3/4, and 3 by 1/5"
    assert suppress(middles, rays, scores, 0.1, 9).tolist() == [1, 2]
    assert suppress(middles, rays, scores, 0.9, 9).tolist() == [1, 0, 3, 2]
    assert suppress(middles, rays, scores, 0.4, 2).tolist() == [1, 3]


def test_a_small_polygon_inside_a_large_one_is_dropped() -> None:
    rays = np.concatenate([disc(20), disc(4)])
    middles = np.asarray([[30, 30], [30, 38]], np.float32)
    assert suppress(middles, rays, np.asarray([0.9, 0.8], np.float32), 0.4, 9).tolist() == [0]
    assert suppress(middles, rays, np.asarray([0.8, 0.9], np.float32), 0.4, 9).tolist() == [1]


@pytest.mark.parametrize("threshold", [0.2, 0.4, 0.6])
def test_suppression_keeps_what_the_package_keeps(threshold: float) -> None:
    stardist = pytest.importorskip("stardist", reason=MISSING)
    rng, found = np.random.default_rng(0), labels(30, 128)
    rays = star_distances(found, 32, 2)
    rays *= (rng.uniform(0.7, 1.3, (64, 64, 1)) * rng.uniform(0.9, 1.1, rays.shape)).astype(np.float32)
    chance = object_probabilities(found[::2, ::2]) * rng.uniform(0.8, 1, (64, 64)).astype(np.float32)
    theirs, _, _ = stardist.non_maximum_suppression(
        rays, chance, grid=(2, 2), b=0, nms_thresh=threshold, prob_thresh=0.05
    )
    y, x = np.nonzero(chance > 0.05)
    middles = np.stack([y, x], axis=1).astype(np.float32) * 2
    ours = middles[suppress(middles, rays[y, x], chance[y, x], threshold, len(y))]
    both = {tuple(point) for point in ours.tolist()} & {tuple(point) for point in theirs.tolist()}
    assert len(both) >= 0.85 * max(len(ours), len(theirs)), "all but pairs close to the threshold"
