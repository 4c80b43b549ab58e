"""Random mirroring: the augmentation of the baseline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.contract import Pool, Sample
from harness.transforms.instances import flip


@dataclass(frozen=True)
class RandomFlip:
    """Mirrors left to right and top to bottom, with independent probabilities."""

    horizontal: float = 0.5
    vertical: float = 0.5

    needs_masks = False

    def __call__(self, sample: Sample, rng: np.random.Generator, pool: Pool) -> Sample:
        horizontal, vertical = (rng.random(2) < (self.horizontal, self.vertical)).tolist()
        if not (horizontal or vertical):
            return sample
        image = sample.image
        if horizontal:
            image = image[:, ::-1]
        if vertical:
            image = image[::-1]
        instances = flip(sample.instances, sample.size, horizontal, vertical)
        return sample.with_(image=np.ascontiguousarray(image), instances=instances)
