"""Resizes whole samples, and masks of predictions back to the size of their image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.contract import Sample
from harness.masks.crops import CropMasks
from harness.transforms.instances import clip
from harness.transforms.window import resize

Size = tuple[int, int]


def scaled_size(size: Size, scale: float) -> Size:
    """Height and width of an image of `size` after resizing by a factor; at least one pixel each."""
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def resize_sample(sample: Sample, size: Size) -> Sample:
    """The sample with its image and cells resized to (height, width); the same object where that is its size."""
    if sample.size == size:
        return sample
    height, width = sample.size
    instances = clip(sample.instances, 0, 0, width, height, size)
    return sample.with_(image=resize(sample.image, *size), instances=instances)


def resize_masks(masks: CropMasks, old: Size, new: Size) -> tuple[CropMasks, NDArray[np.int64]]:
    """Masks of an image of size `old` (height, width) as masks of the same image at size `new`.

    A pixel is inside where the mask, interpolated bilinearly between its pixel centres, is at least one half at the
    centre of that pixel. Edges stay smooth where an image is enlarged.

    Returns:
        The M masks that still have a pixel, tight, and the (M,) int64 indices of those that they were.
    """
    if old == new:
        return masks, np.arange(len(masks))
    ratio = np.array((new[1] / old[1], new[0] / old[0]))
    corners = masks.boxes.reshape(-1, 2, 2) * ratio
    # interpolation reaches half an old pixel beyond the crop, but never to one half there
    low = np.maximum(np.floor(corners[:, 0]).astype(np.int64), 0)
    high = np.minimum(np.ceil(corners[:, 1]).astype(np.int64), (new[1], new[0]))
    boxes, crops, kept = [], [], []
    for i, ((x0, y0), (x1, y1)) in enumerate(zip(low.tolist(), high.tolist(), strict=True)):
        left, top = masks.boxes[i, :2].tolist()
        crop = np.pad(masks.crop(i).astype(np.float32), 1)
        rows = _axis_weights(np.arange(y0, y1), ratio[1], top, crop.shape[0])
        cols = _axis_weights(np.arange(x0, x1), ratio[0], left, crop.shape[1])
        inside = rows @ crop @ cols.T >= 0.5 - 1e-6
        if inside.any():
            boxes.append((x0, y0, x1, y1))
            crops.append(inside)
            kept.append(i)
    tight, left_over = CropMasks.from_crops(boxes, crops).tight()
    return tight, np.asarray(kept, np.int64)[left_over]


def _axis_weights(pixels: NDArray[np.int64], ratio: float, first: int, length: int) -> NDArray[np.float32]:
    """(P, length) weights of the pixels of a crop, padded by one on both sides, at the centres of new pixels.

    pixels: along one axis of the new image. ratio: new pixels for one old. first: old pixel where the crop begins.
    """
    at = (pixels + 0.5) / ratio - 0.5 - first + 1
    return np.maximum(1 - np.abs(at[:, None] - np.arange(length)), 0).astype(np.float32)
