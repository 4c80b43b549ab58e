"""The augmentation of the baseline."""

from __future__ import annotations

import numpy as np

from harness.contract import Task
from methods.mask_rcnn import FlipOptions
from methods.mask_rcnn.augment import build


def test_windows_of_the_crop_size_without_need_of_masks(scene, pool_of) -> None:
    task = Task(("a", "b", "c"), (0, 0, 0), (1, 1, 1), crop=48, max_cells=30, max_size=(90, 120))
    chain = build(task, FlipOptions())
    assert not any(step.needs_masks for step in chain)
    sample = scene(8)
    bare = sample.with_(
        instances=sample.instances.__class__(
            sample.instances.boxes,
            sample.instances.labels,
            None,
            sample.instances.points,
            sample.instances.point_labels,
        )
    )
    rng_a, rng_b = np.random.default_rng(1), np.random.default_rng(1)
    for step in chain:
        sample = step(sample, rng_a, pool_of(sample))
        bare = step(bare, rng_b, pool_of(bare))
    assert sample.size == (48, 48)
    np.testing.assert_array_equal(sample.image, bare.image)
    assert bare.instances.masks is None
    assert (bare.instances.boxes >= 0).all()
    assert (bare.instances.boxes <= 48).all()
    assert len(bare.instances.points) == len(bare.instances.boxes) > 0
