"""Geometric transforms of annotated cells: mask, box, points, label and crowd flag together.

A general transform is a *lookup*: for each pixel of the result, the index of the source pixel that it shows. Image and
masks use the same lookup. Crops and flips are done on the cropped masks directly. No mask becomes a plane of the
image's size.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from harness.contract import Instances
from harness.masks.crops import CropMasks, crop_offsets, flip_boxes

MIN_PIXELS = 4
"""Cells with fewer visible pixels are removed."""


def require_masks(instances: Instances) -> CropMasks:
    """The masks. Raises ValueError if supervision has removed them."""
    if instances.masks is None:
        raise ValueError("this augmentation reads masks, and these instances have none (it must set needs_masks)")
    return instances.masks


def clip(
    instances: Instances, x0: int, y0: int, x1: int, y1: int, new_size: tuple[int, int] | None = None
) -> Instances:
    """The parts of the instances inside a window, in coordinates of the window, which may be resized.

    Args:
        instances: In coordinates of the image.
        x0, y0, x1, y1: The window in pixels, half open.
        new_size: Height and width to which the window is resized; None to keep its size. Masks are resized by nearest
            pixel.
    """
    height, width = new_size or (y1 - y0, x1 - x0)
    factor = np.array((width / (x1 - x0), height / (y1 - y0)), np.float32)
    points = None if instances.points is None else (instances.points - np.array((x0, y0), np.float32)) * factor
    if instances.masks is not None:
        masks, kept = _clip_masks(instances.masks, x0, y0, x1, y1, height, width)
        return rebuild(instances, kept, masks, masks.boxes, points, (height, width))
    moved = instances.boxes - np.array((x0, y0) * 2, np.int32)
    edges = np.concatenate([np.floor(moved[:, :2] * factor), np.ceil(moved[:, 2:] * factor)], axis=1)
    boxes = np.clip(edges, 0, (width, height) * 2).astype(np.int32)
    kept = np.flatnonzero((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))
    return rebuild(instances, kept, None, boxes[kept], points, (height, width))


def _clip_masks(
    masks: CropMasks, x0: int, y0: int, x1: int, y1: int, height: int, width: int
) -> tuple[CropMasks, NDArray[np.int64]]:
    boxes = masks.boxes
    if (height, width) == (y1 - y0, x1 - x0):
        window = np.array((x0, y0, x1, y1), np.int32)
        shown = np.concatenate([np.maximum(boxes[:, :2], window[:2]), np.minimum(boxes[:, 2:], window[2:])], axis=1)
        kept = np.flatnonzero((shown[:, 2:] > shown[:, :2]).all(axis=1))
        there = masks.crop_to(kept, shown[kept])
        moved = CropMasks(there.boxes - window[[0, 1, 0, 1]], there.pixels, there.offsets)
    else:
        # the source row and column under the centre of each new pixel, in whole numbers
        rows = y0 + np.arange(1, 2 * height, 2) * (y1 - y0) // (2 * height)
        cols = x0 + np.arange(1, 2 * width, 2) * (x1 - x0) // (2 * width)
        shown = np.empty(boxes.shape, np.int64)
        shown[:, ::2], shown[:, 1::2] = cols.searchsorted(boxes[:, ::2]), rows.searchsorted(boxes[:, 1::2])
        kept = np.flatnonzero((shown[:, 2:] > shown[:, :2]).all(axis=1))
        moved = masks.remap(kept, shown[kept], rows, cols)
    loose = None
    if height >= y1 - y0 and width >= x1 - x0:
        # no row or column is passed over: only what the window's edge cuts can have lost its rim
        old = boxes[kept]
        loose = np.flatnonzero(((old[:, :2] < (x0, y0)) | (old[:, 2:] > (x1, y1))).any(axis=1))
        if not len(loose):
            return moved, kept
    tight, left_over = moved.tight(loose)
    return tight, kept[left_over]


def flip(instances: Instances, size: tuple[int, int], horizontal: bool, vertical: bool) -> Instances:
    """The instances of an image of this (height, width) after mirroring it left to right, top to bottom, or both."""
    height, width = size
    masks = None if instances.masks is None else instances.masks.flip(height, width, horizontal, vertical)
    boxes = flip_boxes(instances.boxes, height, width, horizontal, vertical)
    points = None if instances.points is None else instances.points.copy()
    if points is not None and horizontal:
        points[..., 0] = width - points[..., 0]
    if points is not None and vertical:
        points[..., 1] = height - points[..., 1]
    return replace(instances, boxes=boxes, masks=masks, points=points)


def remap(masks: CropMasks, lookup: NDArray[np.integer], size: tuple[int, int]) -> tuple[CropMasks, NDArray[np.int64]]:
    """Masks after a lookup.

    Args:
        masks: In an image of `size`.
        lookup: (h, w), for each pixel of the result the row-major index of its source pixel, or -1 for none.
        size: Height and width of the source.

    Returns:
        The M masks that are not empty, tight, and their (M,) indices.
    """
    index, owner = masks.set_pixels(size[1])
    flat = lookup.ravel()
    painted = np.zeros(size[0] * size[1] + 1, np.int32)  # the last entry is what -1 reads
    places, owners = [], []
    while len(index):
        # where masks overlap one wins a pixel; the others take another round, as many as masks lie on one another
        painted[index] = owner + 1
        seen = painted[flat]
        place = np.flatnonzero(seen)
        places.append(place)
        owners.append(seen[place] - 1)
        beaten = painted[index] != owner + 1
        painted[index] = 0
        index, owner = index[beaten], owner[beaten]
    if not places:
        return CropMasks.empty(), np.zeros(0, np.int64)
    return from_set_pixels(np.concatenate(places), np.concatenate(owners), len(masks), lookup.shape[1])


def from_set_pixels(
    index: NDArray[np.integer], owner: NDArray[np.integer], count: int, width: int
) -> tuple[CropMasks, NDArray[np.int64]]:
    """The inverse of CropMasks.set_pixels, in any order: tight masks, and which of the `count` owners have a pixel."""
    y, x = np.divmod(index, width)
    boxes = np.empty((count, 4), np.int64)
    boxes[:, :2], boxes[:, 2:] = np.iinfo(np.int64).max, 0
    for column, extreme, values in (
        (0, np.minimum, x),
        (1, np.minimum, y),
        (2, np.maximum, x + 1),
        (3, np.maximum, y + 1),
    ):
        extreme.at(boxes[:, column], owner, values)
    kept = np.flatnonzero(boxes[:, 2])
    boxes = boxes[kept]
    rank = np.zeros(count, np.int64)
    rank[kept] = np.arange(len(kept))
    owner = rank[owner]
    offsets = crop_offsets(boxes)
    pixels = np.zeros(offsets[-1], np.uint8)
    span = boxes[:, 2] - boxes[:, 0]
    pixels[offsets[owner] + (y - boxes[owner, 1]) * span[owner] + x - boxes[owner, 0]] = 1
    return CropMasks(boxes.astype(np.int32), pixels, offsets), kept


def rebuild(
    instances: Instances,
    kept: NDArray[np.integer],
    masks: CropMasks | None,
    boxes: NDArray[np.int32],
    points: NDArray[np.float32] | None,
    size: tuple[int, int],
) -> Instances:
    """The instances at `kept` with their moved masks and boxes (already of those at `kept`) and moved points.

    points: of all instances, moved; those outside an image of `size` (height, width) are not to be used any more.
    Cells with fewer than MIN_PIXELS pixels (of mask, or of box where there is no mask) are left out.
    """
    labels_of_points = instances.point_labels
    if points is not None and labels_of_points is not None:
        inside = ((points >= 0) & (points < size[::-1])).all(axis=-1)
        labels_of_points = np.where(inside, labels_of_points, np.int8(-1))
    moved = Instances(
        boxes,
        instances.labels[kept],
        masks,
        None if points is None else points[kept],
        None if labels_of_points is None else labels_of_points[kept],
        None if instances.crowd is None else instances.crowd[kept],
    )
    pixels = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) if masks is None else masks.areas()
    large = pixels >= MIN_PIXELS
    return moved if large.all() else moved.select(large)
