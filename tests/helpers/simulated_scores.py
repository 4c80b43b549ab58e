"""Simulated scores of methods whose true differences are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.results.statistics import SeedScores


@dataclass(frozen=True)
class Simulation:
    """What varies in a table, as standard deviations of IoU.

    The defaults are near what the records in results/copy-paste show: 0.02 to 0.05 between the means of seeds, 0.05 to
    0.07 that neither seed nor image explains.

    Attributes:
        seed_sd: of a method's mean score between training runs, as the table shows it.
        residual_sd: of one image in one run, beside what its image and its run explain.
        interaction_sd: of one method on one image, in all its runs: what makes a method good at some images.
        type_sd, image_sd: between cell types, and between images of one type, for all methods alike.
    """

    images: int = 60
    types: int = 3
    seeds: int = 3
    seed_sd: float = 0.03
    residual_sd: float = 0.055
    interaction_sd: float = 0.03
    type_sd: float = 0.15
    image_sd: float = 0.08

    @property
    def cell_types(self) -> Mapping[str, str]:
        """Image id to cell type."""
        return {f"image{i}": f"type{i % self.types}" for i in range(self.images)}

    def family(self, rng: np.random.Generator, gains: Sequence[float]) -> dict[str, SeedScores]:
        """Methods m0, m1, ... whose true IoU differs by these gains."""
        kind = np.arange(self.images) % self.types
        difficulty = 0.5 + rng.normal(0, self.type_sd, self.types)[kind] + rng.normal(0, self.image_sd, self.images)
        # the means of runs differ by the residual too; what is left of seed_sd is common to all images of a run
        run_sd = np.sqrt(max(0.0, self.seed_sd**2 - self.residual_sd**2 / self.images))
        found: dict[str, SeedScores] = {}
        for m, gain in enumerate(gains):
            own = difficulty + gain + rng.normal(0, self.interaction_sd, self.images)
            runs = (
                own
                + rng.normal(0, run_sd, (self.seeds, 1))
                + rng.normal(0, self.residual_sd, (self.seeds, self.images))
            )
            found[f"m{m}"] = {s: {f"image{i}": float(v) for i, v in enumerate(run)} for s, run in enumerate(runs)}
        return found
