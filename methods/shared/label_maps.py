"""Label images for methods that cannot express cells that overlap."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.contract import Instances


def label_map(instances: Instances, size: tuple[int, int]) -> NDArray[np.int32]:
    """(H, W): 1 + index of the cell, 0 outside cells. Where cells overlap, the smaller one keeps the pixels.

    Regions of many cells (crowd) are left out.
    """
    assert instances.masks is not None, "this method reads full masks"
    labels = np.zeros(size, np.int32)
    order = np.argsort(-instances.masks.areas(), kind="stable")
    for i in order.tolist():
        if instances.crowd is not None and instances.crowd[i]:
            continue
        x0, y0, x1, y1 = instances.boxes[i].tolist()
        labels[y0:y1, x0:x1][instances.masks.crop(i) > 0] = i + 1
    return labels
