"""A painted image and its masks, from a seed."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from harness.data.painted.camera import photograph
from harness.data.painted.layout import lay_out
from harness.data.painted.optics import show
from harness.data.painted.scene import SIDES, Scene, draw_scene
from harness.masks.crops import CropMasks


def paint(
    size: tuple[int, int],
    rng: np.random.Generator,
    sides: tuple[float, float] = SIDES,
    without: Collection[str] = (),
) -> tuple[NDArray[np.uint8], CropMasks, Scene]:
    """An image of that height and width, the masks of its cells, and what was drawn.

    Args:
        size: height and width in pixels.
        rng: the same state gives the same image.
        sides: range of the median cell's side in pixels.
        without: kinds of image and effects that are left out (see harness.data.painted.scene).
    """
    scene = draw_scene(rng, sides, without)
    layers, masks = lay_out(scene, size, rng)
    return photograph(scene, show(scene, layers, rng), rng), masks, scene
