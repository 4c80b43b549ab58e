"""How many proposals and detections of an image are kept in prediction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from harness.contract import Task

COCO_DETECTIONS = 100
"""Detections of an image in the COCO models of detectron2 and torchvision."""


class PredictionCaps(NamedTuple):
    """The most proposals, before and after non-maximum suppression, and the most detections of an image."""

    proposals: int
    detections: int


def prediction_caps(task: Task, proposals: int, sizes: Sequence[tuple[int, int]] = ()) -> PredictionCaps:
    """Caps that leave room for half as many cells again as the fullest training image has.

    They grow with the area of images that are larger than those of the data set, because such images hold more cells.

    Args:
        task: Its max_cells and max_size say what the images of the data set are like.
        proposals: Least number of proposals, for images of the data set.
        sizes: Height and width of the images to predict.
    """
    largest = max((height * width for height, width in sizes), default=0)
    growth = max(1.0, largest / (task.max_size[0] * task.max_size[1]))
    detections = math.ceil(max(COCO_DETECTIONS, int(1.5 * task.max_cells)) * growth)
    return PredictionCaps(max(math.ceil(proposals * growth), 2 * detections), detections)
