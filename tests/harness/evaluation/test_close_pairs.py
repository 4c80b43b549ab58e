"""Pairs of masks with an IoU of at least 0.5, on images with many of them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as coco

from harness.evaluation import close_pairs as module
from harness.evaluation.close_pairs import LEAST_IOU, ClosePairs, close_pairs
from harness.masks.crops import CropMasks
from harness.masks.rle import to_rle

SIZE = (700, 900)


def squares(rng: np.random.Generator, count: int, largest: int = 40) -> CropMasks:
    sides = rng.integers(2, largest, (count, 2))
    corners = (rng.random((count, 2)) * (np.asarray(SIZE[::-1]) - sides)).astype(int)
    boxes = np.concatenate([corners, corners + sides], axis=1).astype(np.int32)
    return CropMasks.from_crops(boxes, [np.ones((h, w), np.uint8) for w, h in sides.tolist()])


def moved(masks: CropMasks, rng: np.random.Generator) -> CropMasks:
    """Each by a pixel or two, so that most still overlap."""
    boxes = masks.boxes + np.tile(rng.integers(-2, 3, (len(masks), 2)), 2).astype(np.int32)
    low, high = boxes[:, :2].min(axis=1) >= 0, (boxes[:, 2:] <= np.asarray(SIZE[::-1])).all(axis=1)
    kept = np.flatnonzero(low & high)
    chosen = masks.select(kept)
    return CropMasks(boxes[kept], chosen.pixels, chosen.offsets)


def table(detections: CropMasks, cells: CropMasks, crowd: NDArray[np.bool_]) -> NDArray[np.float64]:
    """All by all, as pycocotools has it."""
    first, second = (
        [{"size": list(SIZE), "counts": text.encode()} for text in to_rle(masks, *SIZE)]
        for masks in (detections, cells)
    )
    return np.asarray(coco.iou(first, second, crowd.astype(np.uint8).tolist()))


@pytest.mark.parametrize("largest", [40, 640])
def test_places_give_what_one_table_gives(largest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(largest)
    cells = CropMasks.concatenate([squares(rng, 300), squares(rng, 5, largest)])
    detections = CropMasks.concatenate([moved(cells, rng), squares(rng, 50, largest), cells.select(np.arange(20))])
    crowd = rng.random(len(cells)) < 0.1
    iou = table(detections, cells, crowd)
    detection, cell = np.nonzero(iou >= LEAST_IOU)
    assert len(detection) > 100

    whole = close_pairs(detections, cells, crowd, SIZE)
    monkeypatch.setattr(module, "MAX_TABLE", 900)
    monkeypatch.setattr(module, "PLACE_SIDE", 100)
    for found in (whole, close_pairs(detections, cells, crowd, SIZE)):
        assert found.detection.tolist() == detection.tolist()
        assert found.cell.tolist() == cell.tolist()
        assert found.iou.tolist() == iou[detection, cell].tolist()


def test_no_table_is_larger_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    boxes, others = squares(rng, 400, 640).boxes, squares(rng, 300).boxes
    monkeypatch.setattr(module, "MAX_TABLE", 900)
    monkeypatch.setattr(module, "PLACE_SIDE", 100)
    tables = list(module._tables(boxes, others))
    assert max(len(rows) * len(columns) for rows, columns in tables) <= 900
    rows = np.concatenate([rows for rows, _ in tables])
    assert len(np.unique(rows)) == len(rows), "each detection once"


def test_the_smaller_iou_of_pairs_that_are_in_both() -> None:
    one = ClosePairs(np.array([0, 0, 2]), np.array([1, 4, 3]), np.array([0.5, 0.9, 0.7]))
    other = ClosePairs(np.array([0, 1, 2]), np.array([4, 4, 3]), np.array([0.6, 0.9, 0.8]))
    both = one.smaller_of(other, cells=5)
    assert both.detection.tolist() == [0, 2]
    assert both.cell.tolist() == [4, 3]
    assert both.iou.tolist() == [0.6, 0.7]


def test_masks_far_from_all_others_are_in_no_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = np.array([[0, 0, 9, 9], [600, 600, 609, 609]], np.int32)
    one, other = (CropMasks.from_crops(boxes[[i]], [np.ones((9, 9), np.uint8)]) for i in range(2))
    monkeypatch.setattr(module, "MAX_TABLE", 0)
    assert not len(close_pairs(one, other, np.zeros(1, np.bool_), SIZE).iou)
    assert close_pairs(one, one, np.zeros(1, np.bool_), SIZE).iou.tolist() == [1.0]


def test_nothing_is_no_pair() -> None:
    cells = squares(np.random.default_rng(1), 3)
    nothing = CropMasks.empty()
    assert not len(close_pairs(nothing, cells, np.zeros(3, np.bool_), SIZE).iou)
    empty = close_pairs(cells, nothing, np.zeros(0, np.bool_), SIZE)
    assert not len(empty.smaller_of(empty, cells=0).iou)
