"""Small random images of cells, and predictions of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.contract import Predictions
from harness.evaluation.ground_truth import GroundTruth
from harness.masks.crops import CropMasks

Planes = NDArray[np.uint8]


def blobs(rng: np.random.Generator, n: int, size: tuple[int, int] = (24, 28), largest: int = 9) -> Planes:
    """(n, H, W) ellipses and rectangles with holes, anywhere, overlapping."""
    height, width = size
    ys, xs = np.mgrid[:height, :width]
    planes = []
    while len(planes) < n:
        cy, cx = rng.uniform(0, height), rng.uniform(0, width)
        ry, rx = rng.uniform(1, largest / 2, 2)
        if rng.random() < 0.3:
            plane = (abs(ys - cy) < ry) & (abs(xs - cx) < rx)
        else:
            plane = ((ys - cy) / ry) ** 2 + ((xs - cx) / rx) ** 2 < 1
        if rng.random() < 0.2:
            plane &= rng.random(size) < 0.8
        if plane.any():
            planes.append(plane)
    return np.asarray(planes, np.uint8).reshape(n, height, width)


def jittered(rng: np.random.Generator, planes: Planes, most: int = 2) -> Planes:
    """The planes, each moved by a few pixels; those moved out of the image are left where they were."""
    moved = []
    for plane in planes:
        dy, dx = rng.integers(-most, most + 1, 2)
        new = np.roll(np.pad(plane, most), (dy, dx), (0, 1))[most:-most, most:-most]
        moved.append(new if new.any() else plane)
    return np.asarray(moved, np.uint8).reshape(planes.shape)


def predictions_of(
    planes: Planes, scores: Sequence[float] | NDArray | None = None, labels: Sequence[int] | NDArray | None = None
) -> Predictions:
    n = len(planes)
    masks = CropMasks.from_planes(planes)
    given = np.linspace(0.9, 0.5, n) if scores is None else np.asarray(scores)
    kinds = np.zeros(n, np.int64) if labels is None else np.asarray(labels, np.int64)
    return Predictions(planes.shape[1:], masks, given.astype(np.float32), kinds)


def truth_of(
    planes: Planes,
    labels: Sequence[int] | NDArray | None = None,
    crowd: Planes | None = None,
    cell_type: str | None = None,
) -> GroundTruth:
    crowds = CropMasks.empty() if crowd is None else CropMasks.from_planes(crowd)
    return GroundTruth(
        planes.shape[1:],
        CropMasks.from_planes(planes),
        np.zeros(len(planes), np.int64) if labels is None else np.asarray(labels, np.int64),
        crowds,
        np.zeros(len(crowds), np.int64),
        cell_type,
    )


def label_image(planes: Planes) -> NDArray[np.int32]:
    """(H, W); where planes overlap the first keeps the pixel. Its labels are consecutive."""
    image = np.zeros(planes.shape[1:], np.int32)
    label = 0
    for plane in planes:
        free = (plane != 0) & (image == 0)
        if free.any():
            label += 1
            image[free] = label
    return image


def planes_of(image: NDArray[np.int32]) -> Planes:
    n = int(image.max(initial=0))
    return (image[None] == np.arange(1, n + 1)[:, None, None]).astype(np.uint8)


def bar(row: int, start: int, stop: int) -> Planes:
    """One plane of 8 x 400 with a horizontal run of pixels: areas and overlaps can be counted by hand."""
    plane = np.zeros((1, 8, 400), np.uint8)
    plane[0, row, start:stop] = 1
    return plane


def bars(*runs: tuple[int, int, int]) -> Planes:
    return np.concatenate([bar(*run) for run in runs]) if runs else np.zeros((0, 8, 400), np.uint8)
