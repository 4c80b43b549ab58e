"""Painted batches are a function of the seed and the step, and held-out images are none of them."""

from __future__ import annotations

import numpy as np

from harness.training.painted_stream import PaintedStream

STREAM = PaintedStream(batch_size=2, crop=48, seed=3, cells=(8.0, 20.0))


def test_a_batch_is_the_same_whenever_it_is_asked_for() -> None:
    first, again, next_one = STREAM.batch(7), STREAM.batch(7), STREAM.batch(8)
    assert [sample.size for sample in first] == [(48, 48)] * 2
    for one, other in zip(first, again, strict=True):
        assert np.array_equal(one.image, other.image)
        assert np.array_equal(one.instances.boxes, other.instances.boxes)
    images = [sample.image for sample in (*first, *next_one)]
    assert not any(np.array_equal(images[0], other) for other in images[1:])


def test_held_out_images_are_those_of_no_step() -> None:
    held_out = [sample.image for part in (0, 1) for sample in STREAM.held_out(4, 48, part)]
    trained = [sample.image for step in range(6) for sample in STREAM.batch(step)]
    assert not any(np.array_equal(one, other) for one in held_out for other in trained)
    assert not np.array_equal(held_out[0], held_out[4])
