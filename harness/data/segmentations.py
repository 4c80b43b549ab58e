"""Segmentations, boxes and ids as COCO files write them: polygons and run lengths in all their spellings."""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError, one_line
from harness.masks.crops import CropMasks
from harness.masks.polygons import flat_polygon, polygon_counts
from harness.masks.run_lengths import counts_of_text

OUTSIDE = 0.75
"""Where no more than this share of the width or height of an outline lies in the image, it counts as outside."""

Key = int | str


def segmentation_counts(shape: Any, height: int, width: int) -> tuple[NDArray[np.int64], bool]:
    """Column-major run lengths of a segmentation, background first; whether slivers were left out."""
    shape = plain_segmentation(shape)
    if isinstance(shape, list):
        polygons, slivers = _polygons(shape)
        return polygon_counts(polygons, height, width), slivers
    if not isinstance(shape, dict):
        raise HarnessError("there is no segmentation, polygons or run lengths; boxes alone are not enough")
    size = shape.get("size")
    if not isinstance(size, list) or [id_key(side) for side in size] != [height, width]:
        raise HarnessError(f"the run lengths are of {one_line(size, 40)}, the image is {[height, width]}")
    counts = shape.get("counts")
    if isinstance(counts, str):
        return counts_of_text(_without_bytes_literal(counts), height, width), False
    if isinstance(counts, list) and counts:
        whole = [id_key(count) for count in counts]
        if all(isinstance(count, int) and 0 <= count <= height * width for count in whole):
            return np.asarray(whole, np.int64), False
    raise HarnessError("counts are neither text nor a list of whole numbers that fit the image")


def _without_bytes_literal(text: str) -> str:
    """Run lengths that Python wrote as str(bytes), b'...', as the text they were; others unchanged."""
    if text[:2] in ("b'", 'b"') and text[-1] == text[1]:
        return text[2:-1].replace("\\\\", "\\")
    return text


def plain_segmentation(shape: Any) -> Any:
    """A segmentation written as text, or with numbers as text, or run lengths inside a list, as others write it."""
    if isinstance(shape, str) and shape.strip()[:1] in ("[", "{"):
        try:
            shape = json.loads(shape)
        except (ValueError, RecursionError) as error:
            raise HarnessError("the segmentation is text that is not JSON") from error
    if isinstance(shape, list) and len(shape) == 1 and isinstance(shape[0], dict):
        return shape[0]
    return _numbers_of_text(shape) if isinstance(shape, list) else shape


def _numbers_of_text(value: Any, depth: int = 4) -> Any:
    """Lists in which numbers that are written as text are numbers."""
    if isinstance(value, list) and depth and any(isinstance(item, list | str) for item in value):
        return [_numbers_of_text(item, depth - 1) for item in value]
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return float(value[:40])
    return value


def _polygons(shape: list[Any]) -> tuple[list[Any], bool]:
    """Flat polygons from any of the ways to write them; whether slivers beside good ones were left out.

    One polygon may stand without the list around it, and points may be lists of two.
    """
    if not shape:
        raise HarnessError("an empty mask: no polygon")
    one = all(isinstance(value, int | float) for value in shape) or (
        len(shape) > 2 and all(isinstance(v, list) and len(v) == 2 and not isinstance(v[0], list) for v in shape)
    )
    polygons = [_without_nesting(polygon) for polygon in ([shape] if one else shape)]
    long = [p for p in polygons if not isinstance(p, list) or len(p) >= 6 or (len(p) > 2 and isinstance(p[0], list))]
    flat = [flat_polygon(polygon) for polygon in (long or polygons)]
    if min(map(min, flat)) >= 0 and max(map(max, flat)) <= 1:
        raise HarnessError("no coordinate is above 1: fractions of the image in place of pixels?")
    return flat, 0 < len(long) < len(polygons)


def _without_nesting(polygon: Any) -> Any:
    """[[[x, y]], [[x, y]], ...], as OpenCV gives outlines, to [[x, y], ...]; others as they are."""
    nested = isinstance(polygon, list) and len(polygon) > 1
    if nested and all(isinstance(p, list) and len(p) == 1 and isinstance(p[0], list) for p in polygon):
        return [point[0] for point in polygon]
    return polygon


def has_outline_inside(shape: Any) -> bool:
    """Whether one of several polygons of a cell lies within another one, as a hole would."""
    if not isinstance(shape, list) or len(shape) < 2:
        return False
    import cv2

    flat = [polygon for polygon in _polygons(plain_segmentation(shape))[0] if len(polygon) >= 6]
    outlines = [np.asarray(polygon, np.float32).reshape(-1, 1, 2) for polygon in flat] if len(flat) > 1 else []
    return any(
        inner is not outer and all(cv2.pointPolygonTest(outer, point, False) > 0 for point in inner[:, 0].tolist())
        for inner in outlines
        for outer in outlines
    )


def is_outside(shape: Any, height: int, width: int) -> bool:
    """Whether polygons that could be drawn lie largely outside the image, by their common extent."""
    shape = plain_segmentation(shape)
    if not isinstance(shape, list):
        return False
    polygons = (
        shape
        if len(shape) == 1 and isinstance(shape[0], list) and type(shape[0][0]) is not list
        else _polygons(shape)[0]
    )
    for axis, side in ((0, width), (1, height)):
        low, high = min(min(p[axis::2]) for p in polygons), max(max(p[axis::2]) for p in polygons)
        if min(high, side) - max(low, 0) < OUTSIDE * (high - low):
            return True
    return False


def compare_boxes(boxes: list[Any], masks: CropMasks) -> tuple[int, int]:
    """How many of the given boxes are usable, and how many of those lie elsewhere than their masks.

    A box counts as right where it covers most of the mask's box and not much more, as x, y, width, height or as two
    corners: boxes are not used for anything else, so either reading will do.
    """
    usable = [i for i, box in enumerate(boxes) if _is_box(box)]
    if not usable:
        return 0, 0
    given = np.asarray([boxes[i] for i in usable], np.float64)
    own = masks.boxes[usable].astype(np.float64)
    corners = np.concatenate([given[:, :2], given[:, :2] + given[:, 2:]], axis=1)
    right = _agree(corners, own) | _agree(given, own)
    return len(usable), int((~right).sum())


def _agree(a: NDArray[np.float64], b: NDArray[np.float64], slack: float = 2.0) -> NDArray[np.bool_]:
    """Whether most of each (N, 4) box lies in the other, grown by `slack` pixels each way."""

    def share(inner: NDArray[np.float64], outer: NDArray[np.float64]) -> NDArray[np.float64]:
        low = np.maximum(inner[:, :2], outer[:, :2] - slack)
        high = np.minimum(inner[:, 2:], outer[:, 2:] + slack)
        area = np.maximum(inner[:, 2:] - inner[:, :2], 1e-9).prod(axis=1)
        return np.maximum(high - low, 0).prod(axis=1) / area

    return (share(a, b) >= 0.5) & (share(b, a) >= 0.5)


def id_key(value: Any) -> Key | None:
    """An id that compares alike whether it was written as number, float or text; None where it is none of these."""
    if type(value) is int:
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.strip():
        text = value.strip()
        return int(text.partition(".")[0]) if re.fullmatch(r"[0-9]{1,19}(\.0+)?", text) else text
    return None


def _is_box(value: Any) -> bool:
    if not isinstance(value, list) or len(value) != 4 or not set(map(type, value)) <= {int, float}:
        return False
    return all(-(2**31) < number < 2**31 for number in value) and min(value[2:]) > 0  # NaN is in no range
