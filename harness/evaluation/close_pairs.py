"""Detections and cells with an IoU of at least 0.5: the pairs that COCO's matching looks at.

No table of all detections by all cells is made where an image holds many: of a stitched scan with 100,000 cells it
would take 80 GB. Detections are taken by the place where they lie, and held against the cells there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.masks.crops import CropMasks
from harness.masks.rle import to_rle

LEAST_IOU = 0.5
"""The lowest threshold of COCO's matching."""

MAX_TABLE = 2**20
"""Most detections by cells in one table."""

PLACE_SIDE = 512
"""Side, in pixels, of the places that detections are taken by."""


class ClosePairs(NamedTuple):
    """Pairs of an IoU of at least LEAST_IOU, by detection and then by cell.

    detection, cell: (K,) int64, indices. iou: (K,) float64; with a crowd region, the part of the detection in it.
    """

    detection: NDArray[np.int64]
    cell: NDArray[np.int64]
    iou: NDArray[np.float64]

    def smaller_of(self, other: ClosePairs, cells: int) -> ClosePairs:
        """The pairs that are in both, with the smaller IoU. cells: number of all cells."""
        keys, mine, theirs = np.intersect1d(
            self.detection * cells + self.cell,
            other.detection * cells + other.cell,
            assume_unique=True,
            return_indices=True,
        )
        return ClosePairs(*np.divmod(keys, max(1, cells)), np.minimum(self.iou[mine], other.iou[theirs]))


def close_pairs(detections: CropMasks, cells: CropMasks, crowd: NDArray[np.bool_], size: tuple[int, int]) -> ClosePairs:
    """The pairs of an image, with pycocotools' IoU.

    Args:
        detections: of one class.
        cells: of that class, crowd regions among them.
        crowd: (N,) whether each of `cells` is a crowd region.
        size: height and width of the image.
    """
    from pycocotools import mask as coco

    first, second = (
        [{"size": list(size), "counts": text.encode("ascii")} for text in to_rle(masks, *size)]
        for masks in (detections, cells)
    )
    found = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    for rows, columns in _tables(detections.boxes, cells.boxes):
        iou = coco.iou([first[i] for i in rows], [second[i] for i in columns], crowd[columns].astype(np.uint8).tolist())
        row, column = np.nonzero(np.asarray(iou) >= LEAST_IOU)
        found.append((rows[row], columns[column], np.asarray(iou)[row, column]))
    detection, cell, iou = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.lexsort((cell, detection))
    return ClosePairs(detection[order], cell[order], iou[order])


def _tables(
    detections: NDArray[np.int32], cells: NDArray[np.int32]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Indices of detections, each once, and of all cells whose boxes touch one of them. (N, 4) boxes, x0 y0 x1 y1."""
    if not len(detections) or not len(cells):
        return
    if len(detections) * len(cells) <= MAX_TABLE:
        yield np.arange(len(detections)), np.arange(len(cells))
        return
    place = (detections[:, :2] + detections[:, 2:]) // (2 * PLACE_SIDE)
    # those larger than a place reach far: on their own, they do not make others look at far cells
    large = (detections[:, 2:] - detections[:, :2]).max(axis=1) > PLACE_SIDE
    order = np.lexsort((place[:, 0], place[:, 1], large))
    key = np.column_stack([large, place])[order]
    starts = np.flatnonzero(np.append(True, (key[1:] != key[:-1]).any(axis=1)))
    for rows in np.split(order, starts[1:]):
        low, high = detections[rows, :2].min(axis=0), detections[rows, 2:].max(axis=0)
        columns = np.flatnonzero((cells[:, :2] < high).all(axis=1) & (cells[:, 2:] > low).all(axis=1))
        if len(columns):
            step = max(1, MAX_TABLE // len(columns))
            for begin in range(0, len(rows), step):
                yield rows[begin : begin + step], columns
