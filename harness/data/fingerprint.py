"""Measures the training images of a data set for the rules that fit a preset to it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from harness.config.fit import Fingerprint
from harness.data.dataset import Dataset
from harness.errors import HarnessError

MAX_BOXES = 5000
"""Boxes that are kept, evenly drawn from all sorted by size: percentiles need no more."""


def fingerprint(dataset: Dataset, ids: Iterable[str]) -> Fingerprint:
    """Sizes of the images of these ids and of their cells. Raises HarnessError where they have no cell."""
    boxes, smallest, area = [], np.inf, 0
    for image_id in ids:
        sample = dataset.sample(image_id)
        cells = sample.instances
        kept = cells.boxes if cells.crowd is None else cells.boxes[~cells.crowd]
        boxes.append((kept[:, 2:] - kept[:, :2]).astype(np.float64))
        smallest, area = min(smallest, *sample.size), area + sample.size[0] * sample.size[1]
    every = np.concatenate(boxes) if boxes else np.zeros((0, 2))
    if not len(every):
        raise HarnessError(f"{dataset.public_source}: no training image has a cell; check the labels (`data check`)")
    order = every.prod(axis=1).argsort(kind="stable")
    drawn = order[np.linspace(0, len(order) - 1, min(len(order), MAX_BOXES)).round().astype(np.int64)]
    return Fingerprint(every[drawn], int(smallest), dataset.max_size, len(every) / area)
