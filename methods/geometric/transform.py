"""Geometric augmentation: the baseline's window and flips, then one of three ways to bend the image."""

from __future__ import annotations

from harness.contract import Augment, Task
from harness.transforms.flips import RandomFlip
from harness.transforms.warp import RandomWarp
from harness.transforms.window import RandomWindow
from methods.geometric import GeometricOptions
from methods.geometric.elastic import Elastic
from methods.geometric.grid_distortion import GridDistortion
from methods.geometric.perspective import Perspective


def build(task: Task, options: GeometricOptions) -> tuple[Augment, ...]:
    """Window, flips, and at most one warp."""
    warps = (
        (options.elastic, Elastic(options.elastic_strength, options.elastic_spacing)),
        (options.perspective, Perspective(options.perspective_strength)),
        (options.grid_distortion, GridDistortion(options.grid_strength, options.grid_steps)),
    )
    return RandomWindow(task.crop), RandomFlip(options.hflip, options.vflip), RandomWarp(warps)
