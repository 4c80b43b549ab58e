"""Training batches painted as they are needed: no file, no end, and no image twice."""

from __future__ import annotations

from dataclasses import dataclass, replace

from harness.contract import Sample
from harness.data.readers.painted import Settings, painted_sample

BATCHES_PER_EPOCH = 1000
"""Nothing repeats; this is what a budget in epochs counts."""


@dataclass(frozen=True)
class PaintedStream:
    """Batches of painted crops. Crop k of step s depends on the seed, s and k alone.

    Args:
        batch_size: crops in a step.
        crop: side of a crop in pixels of the network.
        seed: of the painter.
        cells: range of the median cell's side of a crop, in pixels of the network.
        without: kinds of image and effects that are left out (harness.data.painted.scene).
    """

    batch_size: int
    crop: int
    seed: int
    cells: tuple[float, float]
    without: tuple[str, ...] = ()

    @property
    def images_per_step(self) -> int:
        return self.batch_size

    @property
    def iterations_per_epoch(self) -> float:
        return BATCHES_PER_EPOCH

    @property
    def settings(self) -> Settings:
        """What is painted, as the source `painted` states it."""
        return Settings(size=(self.crop, self.crop), seed=self.seed, cells=self.cells, without=self.without)

    def batch(self, step: int) -> list[Sample]:
        """The samples of one step, from 0."""
        return [painted_sample(self.settings, step, k) for k in range(self.batch_size)]

    def held_out(self, number: int, side: int, part: int) -> list[Sample]:
        """Images of that side that no step paints. part: another one gives other images."""
        settings = replace(self.settings, size=(side, side))
        # keys of three numbers are no step's
        return [painted_sample(settings, part, k, 1) for k in range(number)]

    def originals(self) -> list[Sample]:
        """Images for a model that learns nothing: those of the first steps."""
        return [sample for step in range(8) for sample in self.batch(step)]
