"""Moving all that an annotated cell carries (mask, box, points, label, crowd flag) together.

Every geometric change is a *lookup*: for each pixel of the result, which pixel of the source it shows. Image and
masks read through the same lookup, so they cannot drift apart, and no mask is ever spread over a whole plane.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.contract import Instances
from harness.masks import CropMasks, offsets_of

MIN_PIXELS = 4
"""A cell with fewer pixels left is left out: its box and mask no longer say what it is."""


def masks_of(instances: Instances) -> CropMasks:
    """The masks. Raises ValueError where supervision has taken them away."""
    if instances.masks is None:
        raise ValueError("this augmentation reads masks, and these instances have none (needs_masks was not heeded)")
    return instances.masks


def clip(instances: Instances, x0: int, y0: int, x1: int, y1: int) -> Instances:
    """What is left inside a window of the image, in the window's coordinates."""
    size = (y1 - y0, x1 - x0)
    points = None if instances.points is None else instances.points - np.array((x0, y0), np.float32)
    if instances.masks is not None:
        masks, kept = _clip_masks(instances.masks, x0, y0, x1, y1)
        return rebuild(instances, kept, masks, masks.boxes, points, size)
    boxes = np.clip(instances.boxes - np.array((x0, y0) * 2, np.int32), 0, (x1 - x0, y1 - y0) * 2)
    kept = np.flatnonzero((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))
    return rebuild(instances, kept, None, boxes[kept], points, size)


def _clip_masks(masks: CropMasks, x0: int, y0: int, x1: int, y1: int) -> tuple[CropMasks, NDArray[np.int64]]:
    """CropMasks.window for tight masks: only those that the window's edge cuts are measured anew."""
    uncut = ((masks.boxes[:, :2] >= (x0, y0)) & (masks.boxes[:, 2:] <= (x1, y1))).all(axis=1)
    near = ((masks.boxes[:, :2] < (x1, y1)) & (masks.boxes[:, 2:] > (x0, y0))).all(axis=1)
    whole, rest = np.flatnonzero(uncut), np.flatnonzero(near & ~uncut)
    inside = masks.select(whole)
    inside = CropMasks(inside.boxes - np.array((x0, y0) * 2, np.int32), inside.pixels, inside.offsets)
    cut, kept = masks.select(rest).window(x0, y0, x1, y1)
    kept = np.concatenate([whole, rest[kept]])
    order = np.argsort(kept)
    return CropMasks.concatenate([inside, cut]).select(order), kept[order]


def rescale(instances: Instances, size: tuple[int, int], new_size: tuple[int, int]) -> Instances:
    """The instances of an image of one (height, width) resized to another, masks by nearest pixel."""
    (height, width), (new_height, new_width) = size, new_size
    factor = np.array((new_width / width, new_height / height), np.float32)
    points = None if instances.points is None else instances.points * factor
    if instances.masks is not None:
        masks, kept = _rescale_masks(instances.masks, size, new_size)
        return rebuild(instances, kept, masks, masks.boxes, points, new_size)
    low = np.floor(instances.boxes[:, :2] * factor)
    high = np.ceil(instances.boxes[:, 2:] * factor)
    boxes = np.clip(np.concatenate([low, high], axis=1), 0, (new_width, new_height) * 2).astype(np.int32)
    return rebuild(instances, np.arange(len(boxes)), None, boxes, points, new_size)


def _rescale_masks(
    masks: CropMasks, size: tuple[int, int], new_size: tuple[int, int]
) -> tuple[CropMasks, NDArray[np.int64]]:
    (height, width), (new_height, new_width) = size, new_size
    # the source row and column under the centre of each new pixel, in whole numbers
    rows = (2 * np.arange(new_height) + 1) * height // (2 * new_height)
    cols = (2 * np.arange(new_width) + 1) * width // (2 * new_width)
    left, right = np.searchsorted(cols, masks.boxes[:, ::2].T)
    top, bottom = np.searchsorted(rows, masks.boxes[:, 1::2].T)
    boxes = np.stack([left, top, right, bottom], axis=1)
    kept = np.flatnonzero((right > left) & (bottom > top))
    scaled = masks.looked_up(kept, boxes[kept], rows, cols)
    if new_height >= height and new_width >= width:
        return scaled, kept  # no row or column was passed over: still tight
    scaled, left_over = scaled.tight()
    return scaled, kept[left_over]


def flip(instances: Instances, size: tuple[int, int], horizontal: bool, vertical: bool) -> Instances:
    """The instances of an image of this (height, width) after mirroring it left to right, top to bottom, or both."""
    height, width = size
    boxes = instances.boxes.copy()
    points = None if instances.points is None else instances.points.copy()
    if horizontal:
        boxes[:, [0, 2]] = width - instances.boxes[:, [2, 0]]
        if points is not None:
            points[..., 0] = width - points[..., 0]
    if vertical:
        boxes[:, [1, 3]] = height - instances.boxes[:, [3, 1]]
        if points is not None:
            points[..., 1] = height - points[..., 1]
    masks = instances.masks
    if masks is not None:
        rows, cols = np.arange(height), np.arange(width)
        rows, cols = (rows[::-1] if vertical else rows), (cols[::-1] if horizontal else cols)
        masks = masks.looked_up(np.arange(len(boxes)), boxes, rows, cols)
    return Instances(boxes, instances.labels, masks, points, instances.point_labels, instances.crowd)


def look_up(
    masks: CropMasks, lookup: NDArray[np.integer], size: tuple[int, int]
) -> tuple[CropMasks, NDArray[np.int64]]:
    """Masks seen through a lookup, tight, without those that vanish; and the (M,) indices of those that stay.

    lookup: (h, w), for each pixel of the result the row-major index of its source pixel in an image of `size`
    (height, width), or -1 where it shows nothing of the source.
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
    offsets = offsets_of(boxes)
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
