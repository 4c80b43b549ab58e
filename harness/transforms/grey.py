"""Images of any size, grey or colour, as one array that a network takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.contract import Task


def to_grey(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(H, W) of an image that is (H, W) or (H, W, 3): the mean over colours."""
    return (image if image.ndim == 2 else image.mean(axis=2)).astype(np.float32)


def grey_stack(images: Sequence[NDArray[np.uint8]], task: Task, multiple: int = 1) -> NDArray[np.float32]:
    """(B, 1, H, W) of images that may differ in size, normalised by the mean and deviation of the training images.

    Args:
        images: (H, W) or (H, W, 3) each.
        task: has the pixel statistics.
        multiple: H and W are the least multiples of it that hold every image. The room at the right and below is 0.
    """
    grey = [to_grey(image) for image in images]
    height, width = (-(-max(plane.shape[axis] for plane in grey) // multiple) * multiple for axis in (0, 1))
    mean, std = np.mean(task.pixel_mean), np.mean(task.pixel_std)
    stack = np.zeros((len(grey), 1, height, width), np.float32)
    for room, plane in zip(stack, grey, strict=True):
        room[0, : plane.shape[0], : plane.shape[1]] = (plane - mean) / std
    return stack
