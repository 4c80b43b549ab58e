"""Polygons to run lengths, rasterised as pycocotools does, so that areas are those of other tools that read COCO."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError
from harness.masks.run_lengths import counts_of_text

Polygon = Sequence[float]
"""x, y, x, y ... in pixels; the upper left corner of the upper left pixel is 0, 0."""


def flat_polygon(value: Any) -> Polygon:
    """x, y, x, y ... from a flat list or from a list of [x, y] points.

    Raises:
        HarnessError: where the value is neither, a number is not finite, or there are fewer than three points.
    """
    if isinstance(value, list | tuple) and value and all(isinstance(p, list | tuple) and len(p) == 2 for p in value):
        value = [number for point in value for number in point]
    if not isinstance(value, list | tuple) or not set(map(type, value)) <= {int, float} or not _is_finite(value):
        raise HarnessError("a polygon is not a list of finite numbers")
    if len(value) % 2 or len(value) < 6:
        raise HarnessError(f"a polygon of {len(value)} numbers; three points, six numbers, are the least")
    return value


def polygon_counts(polygons: Sequence[Polygon], height: int, width: int) -> NDArray[np.int64]:
    """COCO's column-major run lengths, background first, of all polygons together.

    Args:
        polygons: one or more, as flat_polygon gives them.
        height: of the image, in pixels; width too.

    Raises:
        HarnessError: where a polygon reaches far outside the image.
    """
    from pycocotools import mask as coco

    for polygon in polygons:
        # the rasteriser walks along the outline, in and out of the image: bound its length
        if min(polygon) < -max(height, width) or max(polygon) > 2 * max(height, width):
            raise HarnessError("a polygon reaches far outside the image")
    runs = coco.frPyObjects([[float(number) for number in polygon] for polygon in polygons], height, width)
    whole = runs[0] if len(runs) == 1 else coco.merge(runs)
    return counts_of_text(whole["counts"].decode("ascii"), height, width)


def _is_finite(numbers: Sequence[float]) -> bool:
    try:
        return all(map(math.isfinite, numbers))
    except OverflowError:  # a whole number beyond what a float can be
        return False
