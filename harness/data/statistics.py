"""Figures of a data set: what a network normalises with, and what a person wants to know before training."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.contract import Sample
from harness.data.dataset import Dataset
from harness.masks.crops import CropMasks

RGB = tuple[float, float, float]


def pixel_statistics(dataset: Dataset, ids: Iterable[str]) -> tuple[RGB, RGB]:
    """As `statistics_of`, of the images of these ids."""
    return statistics_of(dataset.sample(image_id).image for image_id in ids)


def statistics_of(images: Iterable[NDArray[np.uint8]]) -> tuple[RGB, RGB]:
    """Mean and standard deviation per channel (RGB, 0..255) over all pixels of (H, W) or (H, W, 3) images.

    A grey image counts as three equal channels. Exact: sums are of whole numbers, so no order of images matters.
    """
    counts = np.zeros((3, 256), np.int64)
    for image in images:
        if image.ndim == 2:
            counts += _histogram(image, 0)
        else:
            counts += [_histogram(image, channel) for channel in range(3)]
    total = counts.sum(axis=1)
    mean = counts @ np.arange(256) / total
    std = np.sqrt(counts @ np.arange(256) ** 2 / total - mean**2)
    return (float(mean[0]), float(mean[1]), float(mean[2])), (float(std[0]), float(std[1]), float(std[2]))


def median_diameter(dataset: Dataset, ids: Iterable[str], scale: Callable[[Sample], float] = lambda _: 1) -> float:
    """Median over the cells of these images of the diameter of a circle of the same area, in pixels; 0 without cells.

    Cellpose's size of a cell (cellpose/utils.py, `diameters`).

    scale: of an image; its diameters are multiplied by it.
    """
    samples = (dataset.sample(image_id) for image_id in ids)
    found = ((sample.instances.masks, scale(sample)) for sample in samples)
    areas = [masks.areas() * factor**2 for masks, factor in found if masks is not None and len(masks)]
    return float(2 * np.sqrt(np.median(np.concatenate(areas)) / np.pi)) if areas else 0.0


def diameter_percentiles(dataset: Dataset, ids: Iterable[str]) -> dict[str, float]:
    """5th, 50th and 95th percentile of the diameters of cells, as `median_diameter` has them; empty without cells."""
    masks = [dataset.sample(image_id).instances.masks for image_id in ids]
    areas = [m.areas() for m in masks if m is not None and len(m)]
    if not areas:
        return {}
    diameters = 2 * np.sqrt(np.concatenate(areas) / np.pi)
    return dict(zip(("p5", "median", "p95"), np.percentile(diameters, (5, 50, 95)).tolist(), strict=True))


def largest_side(dataset: Dataset, ids: Iterable[str]) -> int:
    """Longer side of the largest box of a cell of these images, in pixels; 0 without cells. Crowd regions are none."""
    largest = 0
    for image_id in ids:
        cells = dataset.sample(image_id).instances
        boxes = cells.boxes if cells.crowd is None else cells.boxes[~cells.crowd]
        largest = max(largest, int((boxes[:, 2:] - boxes[:, :2]).max(initial=0)))
    return largest


def _histogram(image: NDArray[np.uint8], channel: int) -> NDArray[np.int64]:
    """(256,) how many pixels have each value. Eight times faster than np.bincount, which converts to int64 first."""
    import cv2

    # cv2 counts in float32, which is exact up to 2 ** 24
    rows = max(1, 2**24 // image.shape[1])
    parts = (image[start : start + rows] for start in range(0, len(image), rows))
    counts = [cv2.calcHist([part], [channel], None, [256], [0, 256]) for part in parts]
    return np.sum(counts, axis=0, dtype=np.float64).ravel().astype(np.int64)


@dataclass
class _Gathered:
    """Figures of the cells of one class, one entry per cell."""

    areas: list[NDArray[np.int64]] = field(default_factory=list)
    widths: list[NDArray[np.int64]] = field(default_factory=list)
    heights: list[NDArray[np.int64]] = field(default_factory=list)
    overlapped: int = 0
    holes: int = 0


def describe(dataset: Dataset) -> dict[str, Any]:
    """JSON values: counts, sizes and percentiles of a whole data set, overall and per class."""
    gathered: dict[str, _Gathered] = defaultdict(_Gathered)
    for sample in (dataset[i] for i in range(len(dataset))):
        _gather(sample, dataset.classes, gathered)
    sizes = Counter(f"{h}x{w}" for h, w in (dataset[i].size for i in range(len(dataset))))
    return {
        "source": dataset.public_source,
        "fingerprint": dataset.fingerprint,
        "classes": list(dataset.classes),
        "images": len(dataset),
        "images_by_type": dict(sorted(Counter(t or "no cells" for t in dataset.cell_types).items())),
        "groups": len({g for g in dataset.groups if g is not None}),
        "image_sizes": dict(sizes.most_common()),
        "unlabelled_images": len(dataset.unlabelled),
        "skipped_bad": dataset.skipped_bad,
        "cells": dataset.cells,
        "cells_per_image": _spread(np.asarray(dataset.cells_per_image)),
        "by_class": {name: _figures(gathered[name]) for name in dataset.classes if name in gathered},
        "notes": [*dataset.notes, *dataset.doubts],
    }


def _gather(sample: Sample, classes: tuple[str, ...], gathered: dict[str, _Gathered]) -> None:
    cells = sample.instances
    assert cells.masks is not None
    overlapped = _overlapped(cells.masks, sample.size)
    holes = np.asarray([_has_hole(crop) for crop in cells.masks], np.bool_)
    areas, boxes = cells.masks.areas(), cells.boxes.astype(np.int64)
    for label in np.unique(cells.labels).tolist():
        of_class = cells.labels == label
        figures = gathered[classes[label]]
        figures.areas.append(areas[of_class])
        figures.widths.append((boxes[:, 2] - boxes[:, 0])[of_class])
        figures.heights.append((boxes[:, 3] - boxes[:, 1])[of_class])
        figures.overlapped += int(overlapped[of_class].sum())
        figures.holes += int(holes[of_class].sum())


def _overlapped(masks: CropMasks, size: tuple[int, int]) -> NDArray[np.bool_]:
    """(N,) whether a mask shares a pixel with another one. size: height and width of the image."""
    once, twice = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
    boxes = masks.boxes.tolist()
    for (x0, y0, x1, y1), crop in zip(boxes, masks, strict=True):
        covered = once[y0:y1, x0:x1]
        twice[y0:y1, x0:x1] |= covered & crop
        covered |= crop
    shared = [(twice[y0:y1, x0:x1] & crop).any() for (x0, y0, x1, y1), crop in zip(boxes, masks, strict=True)]
    return np.asarray(shared, np.bool_)


def _has_hole(crop: NDArray[np.uint8]) -> bool:
    """Whether some background of a mask is cut off from the outside (4-connected background)."""
    import cv2

    outside = np.ones((crop.shape[0] + 2, crop.shape[1] + 2), np.uint8)
    outside[1:-1, 1:-1] -= crop
    return int(cv2.connectedComponents(outside, connectivity=4)[0]) > 2


def _figures(gathered: _Gathered) -> dict[str, Any]:
    areas = np.concatenate(gathered.areas)
    return {
        "cells": len(areas),
        "area": _spread(areas),
        "width": _spread(np.concatenate(gathered.widths)),
        "height": _spread(np.concatenate(gathered.heights)),
        "overlapped": gathered.overlapped,
        "with_holes": gathered.holes,
    }


def _spread(values: NDArray[np.int64]) -> dict[str, float]:
    points = np.percentile(values, (0, 5, 50, 95, 100)).tolist()
    return dict(zip(("min", "p5", "median", "p95", "max"), points, strict=True))
