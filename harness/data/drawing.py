"""Outlines and patches of cells, as annotation tools store them, to masks.

Coordinates are continuous: pixel (x, y) is the square from (x, y) to (x + 1, y + 1). A pixel belongs to an outline
where its centre lies inside. Centres exactly on the left or upper edge are outside, those on the right or lower edge
inside (ImageJ's rule, as the documentation of ij.process.PolygonFiller states it; pycocotools decides the same).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.contract import Instances, Sample
from harness.errors import HarnessError
from harness.masks.crops import CropMasks, extent
from harness.masks.rle import from_rle
from harness.masks.run_lengths import MAX_COVER

OUTSIDE = 0.75
"""Where no more than this share of the width or height of an outline lies in the image, it counts as outside."""

MAX_CROSSINGS = 4
"""Length of all outlines of an image, in pixels for each pixel of the image. Real ones stay under 1."""

SPARE = 2**16
"""Pixels that outlines and boxes may have beyond their limits, for small images."""

EPSILON = 1e-8
"""Puts a centre that lies exactly on an edge on the right side of it."""


class TooMuchError(HarnessError):
    """The annotations of an image are out of proportion to it: drawing them would not end."""


class Patch(NamedTuple):
    """Pixels of a cell, or of a part of it. x, y: where the (h, w) array of bool lies; inside the image."""

    x: int
    y: int
    inside: NDArray[np.bool_]


class Canvas:
    """Draws on an image of known size, and refuses to draw more than such an image can show.

    Methods raise HarnessError where nothing would be drawn, and TooMuchError where the image has had enough.

    Attributes:
        outside: How many outlines lay largely outside of the image.
    """

    def __init__(self, height: int, width: int) -> None:
        self.height = height
        self.width = width
        self.outside = 0
        self._crossings = MAX_CROSSINGS * height * width + SPARE
        self._cover = MAX_COVER * height * width + SPARE

    def polygon(self, rings: Sequence[NDArray[np.float64]]) -> Patch:
        """What lies inside an odd number of (N, 2) outlines x, y: an outline within another one is a hole."""
        edges = [_edges(ring) for ring in rings if len(ring) >= 3]
        if not edges:
            raise HarnessError("an outline needs three points or more")
        self._note_outside(np.concatenate(rings))
        rows, columns = self._crossed(np.concatenate(edges))
        if not len(rows):
            raise HarnessError("an outline that holds no pixel of the image")
        y0, y1, x0, x1 = int(rows.min()), int(rows.max()) + 1, int(columns.min()), int(columns.max())
        self.reserve(x1 - x0, y1 - y0)
        turns = np.zeros((y1 - y0, x1 - x0 + 1), np.uint8)
        np.bitwise_xor.at(turns, (rows - y0, columns - x0), np.uint8(1))
        return _patch(x0, y0, np.bitwise_xor.accumulate(turns, axis=1)[:, :-1])

    def coco_polygon(self, points: NDArray[np.float64]) -> Patch:
        """An (N, 2) outline x, y as pycocotools fills it: corners are rounded to fifths of a pixel."""
        from pycocotools import mask as coco

        if len(points) < 3:
            raise HarnessError("an outline needs three points or more")
        self._note_outside(points)
        far = max(self.height, self.width)
        if points.min() < -far or points.max() > 2 * far:
            raise HarnessError("an outline reaches far outside the image")
        self._charge_outline(int(np.abs(_edges(points)[:, 2:] - _edges(points)[:, :2]).max(axis=1).sum()))
        (whole,) = coco.frPyObjects([points.ravel().tolist()], self.height, self.width)
        try:
            mask = from_rle([whole["counts"].decode("ascii")], self.height, self.width)
        except HarnessError as error:
            raise HarnessError("an outline that holds no pixel of the image") from error
        x0, y0, x1, y1 = mask.boxes[0].tolist()
        self.reserve(x1 - x0, y1 - y0)
        return Patch(x0, y0, mask.crop(0).astype(np.bool_))

    def _note_outside(self, points: NDArray[np.float64]) -> None:
        low, high = points.min(axis=0), points.max(axis=0)
        inside = np.minimum(high, (self.width, self.height)) - np.maximum(low, 0)
        self.outside += bool((inside < OUTSIDE * (high - low)).any())

    def ellipse(self, left: float, top: float, right: float, bottom: float) -> Patch:
        """The ellipse in a box."""
        left, right, top, bottom = min(left, right), max(left, right), min(top, bottom), max(top, bottom)
        x0, x1 = max(math.floor(left), 0), min(math.ceil(right), self.width)
        y0, y1 = max(math.floor(top), 0), min(math.ceil(bottom), self.height)
        if not (x0 < x1 and y0 < y1 and left < right and top < bottom):
            raise HarnessError("an ellipse that holds no pixel of the image")
        self.reserve(x1 - x0, y1 - y0)
        across = (np.arange(x0, x1) + 0.5 - (left + right) / 2) / ((right - left) / 2)
        down = (np.arange(y0, y1) + 0.5 - (top + bottom) / 2) / ((bottom - top) / 2)
        return _patch(x0, y0, down[:, None] ** 2 + across[None] ** 2 <= 1)

    def plane(self, x: int, y: int, inside: NDArray[np.bool_]) -> Patch:
        """An array placed at x, y; what lies outside the image is cut off."""
        top, left = max(-y, 0), max(-x, 0)
        inside = inside[top : max(self.height - y, 0), left : max(self.width - x, 0)]
        patch = _patch(x + left, y + top, inside)
        self.reserve(patch.inside.shape[1], patch.inside.shape[0])
        return patch

    def union(self, patches: Sequence[Patch]) -> Patch:
        """Several patches as one cell."""
        if len(patches) == 1:
            return patches[0]
        x0, y0 = min(patch.x for patch in patches), min(patch.y for patch in patches)
        x1 = max(patch.x + patch.inside.shape[1] for patch in patches)
        y1 = max(patch.y + patch.inside.shape[0] for patch in patches)
        self.reserve(x1 - x0, y1 - y0)
        whole = np.zeros((y1 - y0, x1 - x0), np.bool_)
        for x, y, inside in patches:
            whole[y - y0 : y - y0 + inside.shape[0], x - x0 : x - x0 + inside.shape[1]] |= inside
        return Patch(x0, y0, whole)

    def _crossed(self, edges: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Row and first column right of it, of each place where an edge (x0, y0, x1, y1) crosses a row's middle."""
        ends = np.sort(edges[:, 1::2], axis=1)
        begin, stop = (np.floor(ends + 0.5).clip(0, self.height)).astype(np.int64).T
        each = stop - begin
        self._charge_outline(int(each.sum()))
        owner = np.repeat(np.arange(len(edges)), each)
        rows = np.arange(len(owner)) - np.repeat(np.cumsum(each) - each, each) + begin[owner]
        x0, y0, x1, y1 = edges[owner].T
        at = x0 + (rows + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
        return rows, np.floor(at + 0.5 + EPSILON).clip(0, self.width).astype(np.int64)

    def reserve(self, width: int, height: int) -> None:
        """Count a box that is to be drawn; the methods above do so themselves."""
        self._cover -= width * height
        if self._cover < 0:
            raise TooMuchError("the boxes of its cells are out of proportion to the image")

    def _charge_outline(self, length: int) -> None:
        self._crossings -= length
        if self._crossings < 0:
            raise TooMuchError("the outlines of its cells are out of proportion to the image")


def _edges(ring: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([ring, np.roll(ring, -1, axis=0)], axis=1)


def _patch(x: int, y: int, inside: NDArray) -> Patch:
    """Cropped to what is set. Raises HarnessError where nothing is."""
    box = extent(inside)
    if box is None:
        raise HarnessError("an empty mask: it holds no pixel of the image")
    x0, y0, x1, y1 = box
    return Patch(x + x0, y + y0, inside[y0:y1, x0:x1].astype(np.bool_))


def points_of(value: Any) -> NDArray[np.float64]:
    """[[x, y], ...] as (N, 2). More than two numbers a point are taken for x, y, and others.

    Raises:
        HarnessError: where it is something else, or numbers are not finite.
    """
    good = isinstance(value, list) and all(
        isinstance(point, list) and len(point) >= 2 and {type(point[0]), type(point[1])} <= {int, float}
        for point in value
    )
    if not good:
        raise HarnessError("an outline is not a list of points x, y")
    try:
        points = np.asarray([point[:2] for point in value], np.float64).reshape(-1, 2)
    except OverflowError:
        points = np.full((1, 2), np.inf)
    if not np.isfinite(points).all():
        raise HarnessError("an outline holds numbers that are not finite")
    return points.clip(-1e9, 1e9)


class Drawn(NamedTuple):
    """The sample of an image, one line for each cell that is bad, and how many lay largely outside of the image."""

    sample: Sample
    problems: list[str]
    outside: int


@dataclass(frozen=True)
class Cell:
    """An annotated cell, not yet drawn. where: its place in the file, as messages name it. label: its class."""

    where: str
    label: int
    draw: Callable[[Canvas], Sequence[Patch]]


def draw_sample(
    image_id: str, pixels: NDArray[np.uint8], cells: Iterable[Cell], classes: Sequence[str], group: str | None = None
) -> Drawn:
    """The cells of an image, each drawn by itself so that overlaps stay.

    Raises:
        TooMuchError: where the annotations are out of proportion to the image.
    """
    canvas = Canvas(*pixels.shape[:2])
    problems, patches, labels = [], [], []
    for cell in cells:
        try:
            patches.append(canvas.union(cell.draw(canvas)))
            labels.append(cell.label)
        except TooMuchError:
            raise
        except HarnessError as error:
            problems.append(f"{cell.where}: {error}")
    boxes = [(x, y, x + inside.shape[1], y + inside.shape[0]) for x, y, inside in patches]
    masks = CropMasks.from_crops(boxes, [patch.inside for patch in patches])
    most = classes[int(np.bincount(labels).argmax())] if labels else None
    instances = Instances.of_masks(masks, np.asarray(labels, np.int64))
    return Drawn(Sample(image_id, pixels, instances, most, group), problems, canvas.outside)
