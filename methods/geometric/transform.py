"""Geometric augmentation: the baseline's window and flips, then one of three ways to bend the image."""

from __future__ import annotations

from harness.contract import Augment, Task
from harness.transforms.flips import RandomFlip
from harness.transforms.warp import OneWarp
from harness.transforms.window import RandomWindow
from methods.geometric.elastic import Elastic
from methods.geometric.grid_distortion import GridDistortion
from methods.geometric.perspective import Perspective


def build(
    task: Task,
    elastic: float = 0.25,
    perspective: float = 0.25,
    grid_distortion: float = 0.25,
    elastic_strength: float = 0.1,
    elastic_spacing: int = 32,
    perspective_strength: float = 0.1,
    grid_strength: float = 0.3,
    grid_steps: int = 5,
    hflip: float = 0.5,
    vflip: float = 0.5,
) -> tuple[Augment, ...]:
    """Window, flips and one warp at most; elastic, perspective, grid_distortion are the chances of each.

    Raises HarnessError on a bad option.
    """
    return (
        RandomWindow(task.crop),
        RandomFlip(hflip, vflip),
        OneWarp(
            (
                (elastic, Elastic(elastic_strength, elastic_spacing)),
                (perspective, Perspective(perspective_strength)),
                (grid_distortion, GridDistortion(grid_strength, grid_steps)),
            )
        ),
    )
