"""What the augment slot must give, whoever fills it."""

from __future__ import annotations

import numpy as np

from harness.conformance.images import drawn
from harness.conformance.subject import Subject, require
from harness.contract import Sample

DRAWS = 6


def augmented_cells_are_whole(subject: Subject) -> None:
    """After augmentation, boxes lie inside the image, masks are tight on them, and no source image was written to."""
    samples = [*subject.samples, drawn(0), drawn(1), drawn(5, (70, 83), colour=True)]
    for each, labels in ((s, s.instances) for s in _augmented(subject, samples)):
        height, width = each.size
        boxes = labels.boxes
        require(each.image.dtype == np.uint8, f"the image became {each.image.dtype}")
        require(len(labels.labels) == len(boxes), "there are not as many labels as boxes")
        require(bool((boxes[:, :2] < boxes[:, 2:]).all()), "a box has no pixel")
        inside = (boxes >= 0).all() and (boxes[:, 2] <= width).all() and (boxes[:, 3] <= height).all()
        require(bool(inside), "a box reaches outside the image")
        if labels.masks is not None:
            require(np.array_equal(labels.masks.tight()[0].boxes, boxes), "a box is not tight on its mask")


def augmentation_repeats_under_a_seed(subject: Subject) -> None:
    """The same random numbers give the same augmented samples."""
    first, second = (_augmented(subject, subject.samples) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        require(np.array_equal(one.image, other.image), "the images differ")
        require(np.array_equal(one.instances.boxes, other.instances.boxes), "the boxes differ")


def _augmented(subject: Subject, samples: list[Sample] | tuple[Sample, ...]) -> list[Sample]:
    stream = subject.stream(samples)
    return [sample for step in range(DRAWS) for sample in stream.batch(step)]
