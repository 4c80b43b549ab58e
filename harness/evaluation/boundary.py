"""Boundary IoU (Cheng, Girshick, Dollar, Berg, Kirillov, CVPR 2021, arXiv 2103.16562).

The boundary region of a mask are its pixels within d of its outline, inside the mask; d is 2 % of the image's
diagonal, at least one pixel. Boundary IoU is the IoU of two boundary regions, and boundary AP is COCO AP on the smaller
of mask IoU and boundary IoU. Where cells are smaller than about 2 d, the region is the whole mask and boundary AP is
plain AP: 2 % of 520x704 are 18 pixels.
"""

from __future__ import annotations

import numpy as np

from harness.masks.crops import CropMasks

DILATION_RATIO = 0.02


def boundary_width(height: int, width: int, ratio: float = DILATION_RATIO) -> int:
    """d in pixels."""
    return max(1, round(ratio * float(np.hypot(height, width))))


def boundaries(masks: CropMasks, d: int) -> CropMasks:
    """The boundary regions: each mask without what is left of it after d erosions by a 3x3 square.

    What lies outside the image counts as outside the mask. Boxes are those of the masks.
    """
    import cv2

    kernel = np.ones((3, 3), np.uint8)
    regions = []
    for crop in masks:
        if min(crop.shape) <= 2 * d:
            regions.append(crop)
            continue
        # a rim of zeros stands for all that is outside
        inner = cv2.erode(np.pad(crop, 1), kernel, iterations=d)[1:-1, 1:-1]
        regions.append(crop - inner)
    return CropMasks.from_crops(masks.boxes, regions)
