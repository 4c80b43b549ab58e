from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco

from harness.errors import HarnessError
from harness.masks.polygons import flat_polygon, polygon_counts
from harness.masks.run_lengths import masks_of_counts


@pytest.mark.parametrize("polygons", [[[2.5, 3, 9, 3.2, 5, 8]], [[2, 3, 6, 3, 6, 7, 2, 7], [1.0, 1, 8, 1, 2, 3]]])
def test_polygons_are_filled_as_pycocotools_fills_them(polygons: list[list[float]]) -> None:
    plane = coco.decode(coco.merge(coco.frPyObjects([list(map(float, p)) for p in polygons], 10, 12)))
    masks, faults = masks_of_counts({0: polygon_counts(polygons, 10, 12)}, 10, 12)
    assert not faults
    assert np.array_equal(masks.planes(10, 12)[0], plane)


def test_points_and_flat_lists_are_the_same() -> None:
    assert flat_polygon([[1, 2], [3, 4], [5, 6]]) == [1, 2, 3, 4, 5, 6]
    assert flat_polygon([1, 2, 3, 4, 5, 6.5]) == [1, 2, 3, 4, 5, 6.5]


@pytest.mark.parametrize(
    "value", [None, 5, "1,2", [], [1, 2, 3, 4], [1] * 7, [1, 2, 3, 4, 5, float("nan")], [True] * 6, [10**400] * 6]
)
def test_what_is_no_polygon_is_refused(value: Any) -> None:
    with pytest.raises(HarnessError, match="a polygon"):
        flat_polygon(value)


def test_a_polygon_far_outside_is_refused_before_it_is_walked() -> None:
    with pytest.raises(HarnessError, match="far outside"):
        polygon_counts([[1, 1, 1e9, 1, 5, 5]], 10, 12)
