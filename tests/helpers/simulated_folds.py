"""Simulated scores of methods that are trained on one split, or in folds, of the same labelled images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.results.fold_comparisons import FoldImages
from harness.results.statistics import SeedScores


@dataclass(frozen=True)
class FoldSimulation:
    """What varies, as standard deviations of IoU; the defaults are near those of simulated_scores.Simulation.

    Attributes:
        images: labelled ones, all together.
        folds: number of folds; 0 for one split with a fifth of the images for validation.
        seeds: how often the folds are drawn; trainings on one split.
        run_sd: of a training run, common to all images.
        train_sd: of a method between training sets that have no image in common. Each training image has an effect of
            its own on each method, so that overlapping training sets have similar effects.
        residual_sd: of one image in one run.
        interaction_sd: of one method on one image, in all its runs.
        type_sd, image_sd: between cell types and between images of one type, for all methods alike.
    """

    images: int = 60
    types: int = 3
    folds: int = 5
    seeds: int = 1
    run_sd: float = 0.03
    train_sd: float = 0.02
    residual_sd: float = 0.055
    interaction_sd: float = 0.03
    type_sd: float = 0.15
    image_sd: float = 0.08

    @property
    def trainings(self) -> int:
        """Of each method."""
        return self.seeds * max(self.folds, 1)

    @property
    def cell_types(self) -> Mapping[str, str]:
        """Image id to cell type."""
        return {f"image{i}": f"type{i % self.types}" for i in range(self.images)}

    def family(self, rng: np.random.Generator, gains: Sequence[float]) -> tuple[dict[str, SeedScores], FoldImages]:
        """Methods m0, m1, ... whose true IoU differs by these gains; and the folds of each seed, if any."""
        kind = np.arange(self.images) % self.types
        difficulty = 0.5 + rng.normal(0, self.type_sd, self.types)[kind] + rng.normal(0, self.image_sd, self.images)
        seeds = [self._held_out(rng) for _ in range(self.seeds)] if self.folds else [self._one_split()] * self.seeds
        found: dict[str, SeedScores] = {}
        for m, gain in enumerate(gains):
            own = difficulty + gain + rng.normal(0, self.interaction_sd, self.images)
            effects = rng.normal(0, self.train_sd, self.images)
            found[f"m{m}"] = {s: self._run(rng, own, effects, parts) for s, parts in enumerate(seeds)}
        images = {s: [[f"image{i}" for i in part.tolist()] for part in parts] for s, parts in enumerate(seeds)}
        return found, images if self.folds else {}

    def _held_out(self, rng: np.random.Generator) -> list[NDArray[np.int64]]:
        """The images of each fold, each type spread over all folds."""
        fold_of = np.empty(self.images, np.int64)
        for kind in range(self.types):
            members = np.arange(kind, self.images, self.types)
            fold_of[rng.permutation(members)] = (np.arange(len(members)) + kind) % self.folds
        return [np.flatnonzero(fold_of == fold) for fold in range(self.folds)]

    def _one_split(self) -> list[NDArray[np.int64]]:
        return [np.arange(self.images // 5)]

    def _run(
        self,
        rng: np.random.Generator,
        own: NDArray[np.float64],
        effects: NDArray[np.float64],
        parts: Sequence[NDArray[np.int64]],
    ) -> dict[str, float]:
        scores: dict[str, float] = {}
        for part in parts:
            trained = np.setdiff1d(np.arange(self.images), part)
            effect = effects[trained].sum() / np.sqrt(len(trained)) + rng.normal(0, self.run_sd)
            values = own[part] + effect + rng.normal(0, self.residual_sd, len(part))
            scores |= {f"image{i}": float(value) for i, value in zip(part.tolist(), values, strict=True)}
        return scores
