"""Warps of a sample: image, masks and points by one displacement field.

A *field* is an (H, W, 2) float32 array of displacements, x y in pixels. Pixel u of the result shows pixel u + field[u]
of the source.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from harness.contract import Instances, Pool, Sample
from harness.transforms.instances import rebuild, remap, require_masks


class Field(Protocol):
    """Draws a displacement field for an image of (height, width): (height, width, 2) float32, x y in pixels."""

    def __call__(self, size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]: ...


@dataclass(frozen=True)
class RandomWarp:
    """Warps a sample by at most one of several kinds of field.

    fields: pairs of a probability and a kind. If the probabilities add up to less than 1, some samples stay unchanged.
    """

    fields: Sequence[tuple[float, Field]]

    needs_masks = True

    def __call__(self, sample: Sample, rng: np.random.Generator, pool: Pool) -> Sample:
        draw = rng.random()
        for chance, kind in self.fields:
            if draw < chance:
                return warp(sample, kind(sample.size, rng))
            draw -= chance
        return sample


def warp(sample: Sample, field: NDArray[np.float32]) -> Sample:
    """The sample warped by a field of its size. Pixels from outside the source get the mean colour of the image."""
    import cv2

    height, width = sample.size
    x = np.arange(width, dtype=np.float32) + field[..., 0]
    y = np.arange(height, dtype=np.float32)[:, None] + field[..., 1]
    grey = np.rint(sample.image.mean(axis=(0, 1))).reshape(-1).tolist()
    image = cv2.remap(
        np.ascontiguousarray(sample.image),
        x,
        y,
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=grey,
    )
    col, row = np.rint(x).astype(np.int32), np.rint(y).astype(np.int32)
    inside = (col >= 0) & (col < width) & (row >= 0) & (row < height)
    lookup = np.where(inside, row * width + col, -1)
    return sample.with_(image=np.asarray(image, np.uint8), instances=_warp_instances(sample.instances, lookup, field))


def _warp_instances(instances: Instances, lookup: NDArray[np.int32], field: NDArray[np.float32]) -> Instances:
    size = lookup.shape[0], lookup.shape[1]
    masks, kept = remap(require_masks(instances), lookup, size)
    points = None if instances.points is None else move_points(instances.points, field)
    return rebuild(instances, kept, masks, masks.boxes, points, size)


def move_points(
    points: NDArray[np.float32], field: NDArray[np.float32], tolerance: float = 0.05
) -> NDArray[np.float32]:
    """Positions in the result of (N, P, 2) points of the source: the inverse of the field, by fixed-point iteration.

    A point that does not converge to within the tolerance (in pixels), as where a field folds over, becomes (-1, -1),
    outside the image.
    """
    import cv2

    if not points.size:
        return points
    source = points - np.float32(0.5)  # pixel centres lie at whole numbers here, at halves in points
    here, moved = source, np.zeros(points.shape[:2], np.float32)
    for _ in range(50):
        after = source - cv2.remap(field, here[..., 0], here[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        moved = np.abs(after - here).max(axis=-1)
        here = after
        if moved.max() < tolerance:
            break
    return np.where((moved < tolerance)[..., None], here + np.float32(0.5), np.float32(-1))
