"""Classical segmentation without training, as an engine (docs/methods.md#otsu-and-watershed).

scipy has all that is needed, so no image library becomes a dependency for this one row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn

from harness.contract import Predictions, Recipe, Sample, Task
from harness.masks.crops import CropMasks
from methods.otsu_watershed import OtsuWatershedOptions

FOREGROUNDS = ("bright", "dark", "textured")
"""What cells may be; the buffer `foreground` of a model is an index of this."""

FIT_IMAGES = 30
"""So many training images choose the foreground: more do not change which of three fits best."""

UNKNOWN_DIAMETER = 20.0
"""In pixels, for a data set without a cell."""

Plane = NDArray[np.float32]


class Choices(nn.Module):
    """What `fit` chooses, as buffers. foreground: index of FOREGROUNDS. label: the class of all cells."""

    foreground: Tensor
    label: Tensor

    def __init__(self, foreground: int) -> None:
        super().__init__()
        self.register_buffer("foreground", torch.tensor(foreground))
        self.register_buffer("label", torch.tensor(0))


class OtsuWatershed:
    """Threshold, distance transform, watershed. The module has no parameter."""

    def __init__(self, task: Task, options: OtsuWatershedOptions) -> None:
        self.task, self.options = task, options
        self.diameter = task.cell_diameter or UNKNOWN_DIAMETER
        chosen = 0 if options.foreground == "auto" else FOREGROUNDS.index(options.foreground)
        self.module = Choices(chosen).to(task.device)

    def fit(self, samples: Iterable[Sample]) -> None:
        """Choose the foreground that agrees best with the training masks, and the most frequent class."""
        agreement, labels = np.zeros(len(FOREGROUNDS)), np.zeros(len(self.task.classes), np.int64)
        for sample, _ in zip(samples, range(FIT_IMAGES), strict=False):
            labels += np.bincount(sample.instances.labels, minlength=len(labels))
            cells = _covered(sample)
            for k, foreground in enumerate(FOREGROUNDS):
                plane = self._plane(sample.image, foreground)
                agreement[k] += _iou(plane > otsu_threshold(plane), cells)
        if self.options.foreground == "auto":
            self.module.foreground.fill_(int(agreement.argmax()))
        self.module.label.fill_(int(labels.argmax()))

    def losses(self, batch: Sequence[Sample]) -> Mapping[str, Tensor]:
        """Never called: the module has no trainable parameter."""
        raise NotImplementedError("otsu_watershed learns nothing")

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[Predictions]:
        """Cells of each image. They do not overlap."""
        return [self._predict(image) for image in images]

    def _predict(self, image: NDArray[np.uint8]) -> Predictions:
        size = (image.shape[0], image.shape[1])
        plane = self._plane(image, FOREGROUNDS[int(self.module.foreground)])
        threshold = otsu_threshold(plane)
        inside = ndimage.binary_fill_holes(plane > threshold)
        cells = split_touching(inside, self.options.separation * self.diameter)
        masks, numbers = CropMasks.from_label_image(cells)
        above = np.maximum(plane - threshold, 0)
        scores = contrast_scores(above, cells, numbers)
        return Predictions(size, masks, scores, np.full(len(masks), int(self.module.label), np.int64))

    def _plane(self, image: NDArray[np.uint8], foreground: str) -> Plane:
        """(H, W) that is larger inside cells."""
        grey = np.asarray(image if image.ndim == 2 else image.mean(axis=2), np.float32)
        sigma = self.options.smoothing * self.diameter
        if foreground == "textured":
            side = max(3, round(self.options.window * self.diameter))
            mean = ndimage.uniform_filter(grey, side)
            variance = ndimage.uniform_filter(grey * grey, side) - mean * mean
            grey = np.sqrt(np.maximum(variance, 0))
        plane: Plane = ndimage.gaussian_filter(-grey if foreground == "dark" else grey, sigma)
        return plane


def otsu_threshold(plane: Plane, bins: int = 256) -> float:
    """The threshold with the largest variance between the two classes (Otsu 1979, equation 18).

    The middle of the gap between the two bins that it lies between. The value itself where the plane is constant.
    """
    low, high = float(plane.min()), float(plane.max())
    if high <= low:
        return high
    counts, edges = np.histogram(plane, bins, (low, high))
    middles = (edges[:-1] + edges[1:]) / 2
    below = counts.cumsum()[:-1].astype(np.float64)
    total, above = counts.sum(), counts.sum() - below
    sum_below = (counts * middles).cumsum()[:-1]
    difference = sum_below / np.maximum(below, 1) - ((counts * middles).sum() - sum_below) / np.maximum(above, 1)
    between = below * above * (difference / total) ** 2
    # the values between two separate classes are all as good: take the middle one
    best = np.flatnonzero(between >= between.max() * (1 - 1e-9))
    return float(edges[1 + int(best[len(best) // 2])])


def split_touching(inside: NDArray[np.bool_], separation: float) -> NDArray[np.int32]:
    """(H, W) label image of the foreground, cut along the watersheds of its distance transform.

    Args:
        inside: (H, W), the foreground.
        separation: in pixels; of two maxima of the distance that are closer, only the larger one is a seed.
    """
    # a border of the image is no border of a cell, so distances do not count from it
    distance = ndimage.distance_transform_edt(inside)
    distance = ndimage.gaussian_filter(distance, separation / 8)
    highest = ndimage.maximum_filter(distance, size=max(3, 2 * round(separation / 2) + 1))
    seeds, _ = ndimage.label((distance == highest) & inside, np.ones((3, 3)))
    # a component that is smaller than the separation may have its maximum in a neighbour: it gets a seed of its own
    components, count = ndimage.label(inside)
    seedless = np.setdiff1d(np.arange(1, count + 1), components[seeds > 0])
    alone = np.where(np.isin(components, seedless), components, 0)
    seeds = np.where(alone > 0, alone + seeds.max(), seeds).astype(np.int32)
    depth = distance.max() or 1.0
    relief = np.where(inside, 1 + np.round(65533 * (1 - distance / depth)), 65535).astype(np.uint16)
    flooded: NDArray[np.int32] = ndimage.watershed_ift(relief, seeds)
    return np.where(inside, flooded, 0).astype(np.int32)


def contrast_scores(above: Plane, cells: NDArray[np.int32], numbers: NDArray[np.int64]) -> NDArray[np.float32]:
    """(N,) in 0 to 1: c / (1 + c), where c is a cell's mean height above the threshold over that of all cells.

    A cell like the average has 0.5.
    """
    if not len(numbers):
        return np.zeros(0, np.float32)
    means = np.asarray(ndimage.mean(above, cells, numbers), np.float64)
    average = float(above[cells > 0].mean())
    ratio = means / average if average > 0 else np.ones(len(means))
    return (ratio / (1 + ratio)).astype(np.float32)


def _covered(sample: Sample) -> NDArray[np.bool_]:
    """(H, W), the pixels of any cell."""
    assert sample.instances.masks is not None, "this engine reads full masks"
    covered = np.zeros(sample.size[0] * sample.size[1], np.bool_)
    covered[sample.instances.masks.set_pixels(sample.size[1])[0]] = True
    return covered.reshape(sample.size)


def _iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))


def build(recipe: Recipe, task: Task, options: OtsuWatershedOptions) -> OtsuWatershed:
    """A model that learns nothing. task: the classes, the diameter of the cells, the device of the buffers."""
    return OtsuWatershed(task, options)
