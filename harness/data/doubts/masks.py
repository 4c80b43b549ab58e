"""What is odd about the masks of an image, whatever the image shows."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from harness.masks.crops import CropMasks

PIECE = 0.1
"""A piece counts where it has this share of the mask's largest piece: a stray pixel is none."""

SPECK = 3
"""Pixels of a mask too small to be a cell."""

NEARLY = 0.7
"""Intersection over union of two masks that are the same cell: one moved by a pixel, or drawn by another rule."""

MAX_PAIRS = 2**21
"""Most pairs of masks compared. Only labels that are no cells have more: their boxes all overlap."""

HOLLOW = 2.0
"""A mask is hollow where it is this many times as large with its holes filled."""

REGION = 4
"""A mask this many times as large as the median one may be a region that was outlined around cells."""

INSIDE = 0.9
"""Share of a mask that lies in another one where it counts as inside."""


def count_pieces(masks: CropMasks, i: int) -> int:
    """Separate pieces of a mask (8-connected) that are large enough to count."""
    import cv2

    crop = masks.crop(i)
    count, numbered = cv2.connectedComponents(crop, connectivity=8)
    if count <= 2:
        return 1
    areas = np.bincount(numbered.ravel())[1:]
    return int((areas >= PIECE * areas.max()).sum())


def is_hollow(masks: CropMasks, i: int, area: int) -> bool:
    """Whether a mask of that area, in pixels, is mostly hole."""
    import cv2

    crop = masks.crop(i)
    if min(crop.shape) <= SPECK or crop.size <= HOLLOW * area:  # with its holes filled it is no larger than its box
        return False
    outlines, _ = cv2.findContours(crop, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = cv2.drawContours(np.zeros_like(crop), outlines, -1, 1, cv2.FILLED)
    return bool(np.count_nonzero(filled) > HOLLOW * area)


def count_wrapped(masks: CropMasks, width: int) -> int:
    """Masks at the left edge of the image of which a column of one pixel lies at the right edge, nothing between.

    Rows of run lengths that are read one pixel too early look so: what begins at the left edge begins on the row above.
    """
    whole = np.flatnonzero((masks.boxes[:, 0] == 0) & (masks.boxes[:, 2] == width) & (width > 3))
    last = [np.count_nonzero(masks.crop(i)[:, -2:], axis=0).tolist() for i in whole.tolist()]
    return sum(at_edge > 0 and beside == 0 for beside, at_edge in last)


def count_nearly_twins(masks: CropMasks, areas: NDArray[np.int64]) -> int:
    """Masks that overlap with one before them so far that they are the same cell; equal ones count too."""
    order = np.argsort(masks.boxes[:, 0], kind="stable")
    boxes = masks.boxes[order].astype(np.int64)
    size = boxes[:, 2:] - boxes[:, :2]
    # a mask with NEARLY of another one in it begins at most as much further right as that one has left
    last = np.searchsorted(boxes[:, 0], boxes[:, 0] + (1 - NEARLY) * size[:, 0], side="right")
    each = last - np.arange(len(boxes)) - 1
    if each.sum() > MAX_PAIRS:
        return 0
    a = np.repeat(np.arange(len(boxes)), each)
    b = np.arange(len(a)) - np.repeat(np.cumsum(each) - each, each) + a + 1
    common = (np.minimum(boxes[a, 2:], boxes[b, 2:]) - np.maximum(boxes[a, :2], boxes[b, :2])).clip(0)
    enough = common.prod(axis=1) >= NEARLY * np.maximum(areas[order[a]], areas[order[b]])
    again = set()
    for one, other in zip(order[a[enough]].tolist(), order[b[enough]].tolist(), strict=True):
        if max(one, other) not in again and _overlap(masks, one, other) >= NEARLY * (areas[one] + areas[other]) / (
            1 + NEARLY
        ):
            again.add(max(one, other))
    return len(again)


def _overlap(masks: CropMasks, i: int, j: int) -> int:
    """Pixels of both of two masks."""
    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = masks.boxes[i].tolist(), masks.boxes[j].tolist()
    x0, y0, x1, y1 = max(ax0, bx0), max(ay0, by0), min(ax1, bx1), min(ay1, by1)
    a = masks.crop(i)[y0 - ay0 : y1 - ay0, x0 - ax0 : x1 - ax0]
    b = masks.crop(j)[y0 - by0 : y1 - by0, x0 - bx0 : x1 - bx0]
    return int(np.count_nonzero(a & b))


def count_inside(masks: CropMasks, areas: NDArray[np.int64]) -> int:
    """The most other masks that lie inside a mask far larger than the median one."""
    most = 0
    middle = np.partition(areas, len(areas) // 2)[len(areas) // 2]
    for i in np.flatnonzero(areas > REGION * middle).tolist():
        x0, y0, x1, y1 = masks.boxes[i].tolist()
        within = (masks.boxes >= (x0, y0, x0, y0)).all(axis=1) & (masks.boxes <= (x1, y1, x1, y1)).all(axis=1)
        others = np.flatnonzero(within & (np.arange(len(areas)) != i)).tolist()
        if len(others) > most:
            most = max(most, sum(_overlap(masks, i, other) >= INSIDE * areas[other] for other in others))
    return most


def is_uniform(image: NDArray[np.uint8], masks: CropMasks, examined: Iterable[int]) -> bool:
    """Whether each examined mask holds one grey level or colour, and so does what lies outside of all masks."""
    for i in examined:
        x0, y0, x1, y1 = masks.boxes[i].tolist()
        if not _is_one_value(image[y0:y1, x0:x1][masks.crop(i) != 0]):
            return False
    outside = np.ones(image.shape[:2], np.bool_)
    for i, (x0, y0, x1, y1) in enumerate(masks.boxes.tolist()):
        outside[y0:y1, x0:x1] &= masks.crop(i) == 0
    return _is_one_value(image[outside])


def _is_one_value(pixels: NDArray[np.uint8]) -> bool:
    """Whether all of (N,) or (N, 3) pixels are equal."""
    return bool((pixels == pixels[:1]).all())


def count_twins(masks: CropMasks) -> int:
    """Masks equal to one before them."""
    # few boxes are equal: a number for each, wrapping around, finds those to look at
    numbers = masks.boxes.astype(np.int64) @ np.asarray([1, 1_000_003, 998_244_353_007, 7_927_000_000_000_019])
    _, which, count = np.unique(numbers, return_inverse=True, return_counts=True)
    seen: set[tuple[bytes, bytes]] = set()
    twins = 0
    for i in np.flatnonzero(count[which] > 1).tolist():
        mask = (masks.boxes[i].tobytes(), masks.crop(i).tobytes())
        twins += mask in seen
        seen.add(mask)
    return twins
