"""The augmentation of the baseline: a random window and random flips."""

from __future__ import annotations

from harness.contract import Augment, Task
from harness.transforms.flips import RandomFlip
from harness.transforms.window import RandomWindow
from methods.mask_rcnn import FlipOptions


def build(task: Task, options: FlipOptions) -> tuple[Augment, ...]:
    """A window of the task's crop size, then flips."""
    return RandomWindow(task.crop), RandomFlip(options.hflip, options.vflip)
