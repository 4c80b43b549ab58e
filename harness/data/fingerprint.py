"""Measures the training images of a data set for the rules that fit a preset to it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from harness.config.fit import Fingerprint, ImagesOfSize
from harness.data.dataset import Dataset
from harness.errors import HarnessError

MAX_BOXES = 5000
"""Boxes that are kept, evenly drawn from all sorted by size: percentiles need no more."""


def fingerprint(dataset: Dataset, ids: Iterable[str]) -> Fingerprint:
    """Sizes of the images of these ids and of their cells. Raises HarnessError where they have no cell."""
    boxes: list[NDArray[np.float64]] = []
    sizes: list[tuple[int, int]] = []
    for image_id in ids:
        sample = dataset.sample(image_id)
        cells = sample.instances
        kept = cells.boxes if cells.crowd is None else cells.boxes[~cells.crowd]
        boxes.append((kept[:, 2:] - kept[:, :2]).astype(np.float64))
        sizes.append(sample.size)
    every = np.concatenate(boxes) if boxes else np.zeros((0, 2))
    if not len(every):
        raise HarnessError(f"{dataset.public_source}: no training image has a cell; check the labels (`data check`)")
    order = every.prod(axis=1).argsort(kind="stable")
    drawn = order[np.linspace(0, len(order) - 1, min(len(order), MAX_BOXES)).round().astype(np.int64)]
    of_box = np.repeat(np.array(sizes, np.int64).reshape(-1, 2), [len(one) for one in boxes], axis=0)
    area = sum(height * width for height, width in sizes)
    return Fingerprint(
        boxes=every[drawn],
        smallest_image=min(map(min, sizes)),
        largest_image=dataset.max_size,
        cells_per_pixel=len(every) / area,
        by_size=tuple(_of_size(size, boxes, sizes) for size in sorted(set(sizes))),
        box_sizes=of_box[drawn],
    )


def _of_size(size: tuple[int, int], boxes: list[NDArray[np.float64]], sizes: list[tuple[int, int]]) -> ImagesOfSize:
    own = [one for one, of_image in zip(boxes, sizes, strict=True) if of_image == size]
    sides = [np.median(np.sqrt(one.prod(axis=1))) for one in own if len(one)]
    return ImagesOfSize(size, len(own), sum(map(len, own)), np.array(sides, np.float64))
