"""From cropped masks to a label image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.masks.crops import CropMasks


def paint_labels(masks: CropMasks, size: tuple[int, int]) -> NDArray[np.unsignedinteger[Any]]:
    """(H, W): 0 where there is no mask, k + 1 where mask k is. Where masks overlap, the last one counts.

    Args:
        masks: in pixels of the image.
        size: height and width of the image.

    Returns:
        uint16, or uint32 where there are more than 65,535 masks.
    """
    height, width = size
    kind = np.uint16 if len(masks) <= np.iinfo(np.uint16).max else np.uint32
    labels: NDArray[np.unsignedinteger[Any]] = np.zeros(height * width, kind)
    index, owner = masks.set_pixels(width)
    labels[index] = owner + 1
    return labels.reshape(height, width)
