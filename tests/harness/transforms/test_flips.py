"""Flips of whole samples, and the baseline's chain."""

from __future__ import annotations

import numpy as np
import pytest

from harness.transforms.flips import RandomFlip


@pytest.mark.parametrize(("horizontal", "vertical"), [(1, 0), (0, 1), (1, 1)])
def test_image_and_masks_are_mirrored_alike(scene, pool_of, horizontal, vertical) -> None:
    sample = scene(4, colour=True)
    turned = RandomFlip(horizontal, vertical)(sample, np.random.default_rng(0), pool_of(sample))
    step = np.s_[:: -1 if vertical else 1, :: -1 if horizontal else 1]
    np.testing.assert_array_equal(turned.image, sample.image[step])
    assert turned.image.flags.c_contiguous
    planes = sample.instances.masks.planes(*sample.size)
    np.testing.assert_array_equal(turned.instances.masks.planes(*sample.size), np.array([p[step] for p in planes]))
    np.testing.assert_array_equal(turned.instances.boxes, turned.instances.masks.tight()[0].boxes)


def test_each_way_half_the_time(scene, pool_of) -> None:
    sample = scene(4, cells=2)
    rng = np.random.default_rng(0)
    turned = [RandomFlip()(sample, rng, pool_of(sample)).image for _ in range(400)]
    ways = [sample.image, sample.image[:, ::-1], sample.image[::-1], sample.image[::-1, ::-1]]
    for way in ways:
        assert 60 < sum(np.array_equal(image, way) for image in turned) < 140


def test_never_is_the_sample_itself(scene, pool_of) -> None:
    sample = scene(4)
    assert RandomFlip(0, 0)(sample, np.random.default_rng(0), pool_of(sample)) is sample
