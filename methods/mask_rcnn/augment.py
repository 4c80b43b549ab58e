"""What fills the augment slot of the baseline: a window of the image, mirrored at random."""

from __future__ import annotations

from harness.contract import Augment, Task
from harness.transforms.flips import RandomFlip
from harness.transforms.window import RandomWindow


def build(task: Task, hflip: float = 0.5, vflip: float = 0.5) -> tuple[Augment, ...]:
    """A window of the task's crop size, then flips. Raises HarnessError on a probability outside [0, 1]."""
    return RandomWindow(task.crop), RandomFlip(hflip, vflip)
