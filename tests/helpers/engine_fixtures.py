"""Small tasks, recipes and samples for the tests of engines."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from harness.contract import Instances, Part, Recipe, Sample, Task, init_part
from harness.masks.crops import CropMasks
from methods.mask_rcnn import METHODS

SMALL = {
    "width": 32,
    "box_head_width": 64,
    "anchor_scale": 2,
    "rois_per_image": 32,
    "anchors_per_image": 64,
    "proposals": 100,
}

EVERYTHING = {"anchors_per_image": 10**6, "rois_per_image": 10**6}
"""So many that nothing is subsampled: the losses count all anchors and proposals."""


def task(classes: int = 3, max_cells: int = 20, **settings: Any) -> Task:
    names = tuple(f"class{i}" for i in range(classes))
    return Task(names, (120.0,) * 3, (30.0,) * 3, 64, max_cells, (96, 96), settings=settings)


def recipe(size: str = "small", init: str = "scratch", path: str | None = None, **parts: Part) -> Recipe:
    """The baseline, with some of its parts replaced."""
    baseline = METHODS[0].parts
    slots = {slot: baseline[slot].sized(size) for slot in ("backbone", "mask_head", "supervision", "augment")}
    return Recipe(engine=baseline["engine"], init=init_part(init, path), **{**slots, **parts})


def discs(count: int, side: int = 96, seed: int = 0, classes: int = 3, height: int | None = None) -> Sample:
    """Bright discs on grey noise; discs may overlap."""
    rng = np.random.default_rng(seed)
    height = height or side
    image = rng.integers(90, 110, (height, side)).astype(np.uint8)
    y, x = np.mgrid[:height, :side]
    planes = np.zeros((count, height, side), bool)
    for plane in planes:
        radius = rng.integers(3, 9)
        centre_y, centre_x = rng.integers(0, height), rng.integers(0, side)
        plane[:] = (y - centre_y) ** 2 + (x - centre_x) ** 2 <= radius**2
        image[plane] = 200
    masks = CropMasks.from_planes(planes) if count else CropMasks.empty()
    return Sample(f"discs{seed}", image, Instances.of_masks(masks, rng.integers(0, classes, count)))


def boxes(count: int, side: float, generator: torch.Generator) -> torch.Tensor:
    """(count, 4) boxes, of about that side, whose corners lie within 100 pixels."""
    corner = torch.rand(count, 2, generator=generator) * 100
    return torch.cat([corner, corner + side * (0.5 + torch.rand(count, 2, generator=generator))], dim=1)
