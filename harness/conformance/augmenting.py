"""Checks of the augment slot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.conformance.images import draw_sample
from harness.conformance.subject import Subject, require
from harness.contract import Sample

DRAWS = 6
"""How often each image is augmented."""


def augmented_samples_are_valid(subject: Subject) -> None:
    """After augmentation, boxes lie inside the image, masks are tight on them, and no source image was written to."""
    originals = [*subject.samples, draw_sample(0), draw_sample(1), draw_sample(5, (70, 83), colour=True)]
    for sample in _augment(subject, originals):
        height, width = sample.size
        labels, boxes = sample.instances, sample.instances.boxes
        require(sample.image.dtype == np.uint8, f"the image became {sample.image.dtype}")
        require(len(labels.labels) == len(boxes), f"there are {len(labels.labels)} labels for {len(boxes)} boxes")
        require(bool((boxes[:, :2] < boxes[:, 2:]).all()), "a box is empty")
        inside = (boxes >= 0).all() and (boxes[:, 2] <= width).all() and (boxes[:, 3] <= height).all()
        require(bool(inside), "a box reaches outside the image")
        if labels.masks is not None:
            require(np.array_equal(labels.masks.tight()[0].boxes, boxes), "a box is not tight on its mask")


def augmentation_repeats_under_a_seed(subject: Subject) -> None:
    """The same seed gives the same augmented samples."""
    first, second = (_augment(subject, subject.samples) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        require(np.array_equal(one.image, other.image), "the images differ")
        require(np.array_equal(one.instances.boxes, other.instances.boxes), "the boxes differ")


def _augment(subject: Subject, samples: Sequence[Sample]) -> list[Sample]:
    stream = subject.stream(samples)
    return [sample for step in range(DRAWS) for sample in stream.batch(step)]
