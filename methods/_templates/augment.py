"""my_method: another augmentation.

The slot `augment` turns a training sample into another. It is one callable or a sequence of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.contract import Augment, Card, Method, Part, Pool, Sample, Task
from harness.transforms.flips import RandomFlip
from harness.transforms.window import RandomWindow

METHOD = Method(
    name="my_method",
    # Fill in the card: `python -m harness methods my_method` prints it.
    card=Card(
        title="my_method",
        paper="unpublished",
        year=2021,
        venue="none",
        changes="augment: says in one sentence what it does to the recipe",
        labels="full masks",
        departures=(),
    ),
    # Options are JSON values, arguments of build() below. They are written into every record, and a user types
    # my_method(strength=0.5). The template of the slot mask_head shows options with a range and a line of help.
    parts={"augment": Part("my_method", f"{__name__}:build", {"strength": 0.3})},
)


@dataclass(frozen=True)
class MyAugment:
    """Makes images darker or lighter by a random power (gamma).

    needs_masks: whether it reads or moves masks. An augmentation that moves cells must move image, masks, boxes and
    points alike; harness/transforms has windows, flips and warps that do.
    """

    strength: float
    needs_masks = False

    def __call__(self, sample: Sample, rng: np.random.Generator, pool: Pool) -> Sample:
        """A new sample. Arrays of the old one must not be written to. All randomness must come from rng.

        pool.draw(rng, cell_type) gives another training sample, for augmentations that mix images.
        """
        gamma = np.exp(rng.uniform(-self.strength, self.strength))
        image = 255 * (sample.image / 255) ** gamma
        return sample.with_(image=image.round().astype(np.uint8))


def build(task: Task, strength: float = 0.3) -> tuple[Augment, ...]:
    """A random window of the preset's crop size, flips, and the new augmentation. strength: largest log of gamma."""
    return RandomWindow(task.crop), RandomFlip(0.5, 0.5), MyAugment(strength)
