"""How many proposals and detections of an image are kept in prediction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from harness.contract import Task

COCO_DETECTIONS = 100
"""Detections of an image in the COCO models of detectron2 and torchvision."""

PROPOSALS_PER_DETECTION = 8
"""Most proposals for one detection, since each takes time. After 300 steps of preset quick on drawn cells, 3 proposals
for each cell of an image had a recall of 0.76 at IoU 0.5, 12 of 0.88, 40 of 0.97, and 160 no more."""


def just_below(score: float) -> float:
    """For frameworks that keep what is above a threshold, where what is at least `score` is to be kept."""
    return float(np.nextafter(np.float32(score), np.float32(-1)))


class PredictionCaps(NamedTuple):
    """The most proposals, before and after non-maximum suppression, and the most detections of an image."""

    proposals: int
    detections: int


def prediction_caps(task: Task, proposals: int, sizes: Sequence[tuple[int, int]] = ()) -> PredictionCaps:
    """Caps that leave room for half as many cells again as the fullest training image has.

    Detections grow with the area of images that are larger than those of the data set, because such images hold more
    cells. Proposals grow with the area of the image over that of a training crop, up to PROPOSALS_PER_DETECTION.

    Args:
        task: Its max_cells, max_size and crop say what the images of the data set and the crops are like.
        proposals: For a training crop.
        sizes: Height and width of the images to predict; none for the largest image of the data set.
    """
    largest_known = task.max_size[0] * task.max_size[1]
    area = max((height * width for height, width in sizes), default=largest_known)
    detections = math.ceil(max(COCO_DETECTIONS, int(1.5 * task.max_cells)) * max(1.0, area / largest_known))
    by_area = math.ceil(proposals * max(1.0, area / task.crop**2))
    return PredictionCaps(
        max(proposals, 2 * detections, min(by_area, PROPOSALS_PER_DETECTION * detections)), detections
    )
