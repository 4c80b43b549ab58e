"""Methods compared over folds, where training sets overlap and every image is scored.

The unit is a fold of a seed: the mean, over its images, of the differences between two methods that were trained on the
same images and predict the same images. J units of variance s2 would give a mean of variance s2 / J if they were
independent. Their training sets overlap, so the variance is taken as (1 / J + n_test / n_train) s2 (Nadeau and Bengio,
Machine Learning 52, 2003; Bouckaert and Frank, PAKDD 2004, for repeated folds). There is no unbiased estimate of it
(Bengio and Grandvalet, JMLR 5, 2004): docs/statistics.md says what is assumed.

As in `comparisons`, s2 is pooled over all methods where they vary equally, and a difference is told apart where it is
larger than 95 % of the largest that chance makes in the whole table.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError
from harness.results.comparisons import Comparisons, SeedVariance, normal_draws, unequal_p
from harness.results.schema import RunRecord
from harness.results.statistics import (
    ROUNDS,
    CellTypes,
    Difference,
    Interval,
    Scope,
    SeedScores,
    common_images,
    student_factors,
)
from harness.results.superiority import Superiority, superiority

FoldImages = Mapping[int, Sequence[Sequence[str]]]
"""Seed to the images of each of its folds."""


class FoldComparisons(Comparisons):
    """The methods of one table that were all trained in folds, each compared with each.

    Args:
        methods: name to seeds to image id to score; every image has a score in every seed.
        folds: name to the folds of each seed.

    Raises:
        HarnessError: the methods have no image, or no two folds, in common.
    """

    def __init__(self, methods: Mapping[str, SeedScores], folds: Mapping[str, FoldImages]) -> None:
        self.names = list(methods)
        self.images = common_images(*(scores for method in methods.values() for scores in method.values()))
        self.seeds = np.asarray([len(method) for method in methods.values()])
        by_unit = [fold_means(methods[name], folds[name]) for name in self.names]
        units = sorted(set.intersection(*(set(means) for means in by_unit)))
        if len(units) < 2:
            raise HarnessError("they share no folds: were they run with other seeds, folds or groups?")
        self.units = np.asarray([[means[unit] for unit in units] for means in by_unit])
        self._values = np.asarray(
            [[np.mean([scores[i] for scores in m.values()]) for i in self.images] for m in methods.values()]
        )
        self._means = self._values.mean(axis=1)
        count, number = self.units.shape
        tested = float(np.mean([len(images) for _, images in units]))
        of_seed = sum(len(images) for seed, images in units if seed == units[0][0])
        self.correction = 1 / number + tested / max(of_seed - tested, 1.0)
        self._freedom = number - 1
        self.seed_variance = self._unit_variance(count, number)

    def _unit_variance(self, count: int, number: int) -> SeedVariance:
        """The variance of one unit of a method, beside what is common to all methods in that unit."""
        residual = self.units - self.units.mean(axis=0) - self.units.mean(axis=1, keepdims=True) + self.units.mean()
        squares = (residual**2).sum(axis=1)
        freedom = (count - 1) * (number - 1)
        # of two methods the residuals mirror each other
        equal_p = unequal_p(squares, (max(1, round(freedom / count)),) * count) if count > 2 else 1.0
        pooled = squares.sum() / freedom if freedom else 0.0
        return SeedVariance(np.full(count, pooled), np.full(count, freedom), equal_p)

    def superiority(self, a: str, b: str) -> Superiority:
        """The probability that a retraining of a beats one of b on the same images; a fold of a seed is a training."""
        first, second = (self.units[self.names.index(name)].tolist() for name in (a, b))
        return superiority(first, second, paired=True)

    def _difference(self, pair: tuple[str, str], interval: Interval, p: float) -> Difference:
        return replace(super()._difference(pair, interval, p), units=self.units.shape[1])

    def _scope(self, a: str, b: str) -> Scope:
        return "methods"

    def _standard_error(self, a: str, b: str) -> float:
        i, j = self.names.index(a), self.names.index(b)
        variance = 2 * float(self.seed_variance.variances[i])
        if not self.seed_variance.pooled:
            variance = float(np.var(self.units[i] - self.units[j], ddof=1))
        return float(np.sqrt(self.correction * variance))

    def _drawn(self, a: str, b: str) -> NDArray[np.float64]:
        i, j = self.names.index(a), self.names.index(b)
        normal = normal_draws(len(self.names))
        pooled = self.seed_variance.pooled
        freedom = int(self.seed_variance.freedom[0]) if pooled else self._freedom
        factors = student_factors(np.random.default_rng(4), freedom, ROUNDS)
        # the estimates of variance of different pairs err independently, so each pair has factors of its own
        shift = 0 if pooled else 101 * (i * len(self.names) + j)
        return (normal[:, i] - normal[:, j]) / np.sqrt(2) * np.roll(factors, shift) * self._standard_error(a, b)


def fold_means(scores: SeedScores, folds: FoldImages) -> dict[tuple[int, tuple[str, ...]], float]:
    """The mean score of each fold, by seed and images. Folds without an image that has a score are left out."""
    found = {}
    for seed, by_image in scores.items():
        for images in folds.get(seed, ()):
            inside = tuple(sorted(image for image in images if image in by_image))
            if inside:
                found[seed, inside] = float(np.mean([by_image[image] for image in inside]))
    return found


def comparisons_of(
    methods: Mapping[str, Sequence[RunRecord]], cell_types: CellTypes, inside: Collection[str] | None = None
) -> Comparisons:
    """Compare methods by their records: over folds where all have them, else over images and seeds.

    Args:
        methods: name to its scored records.
        cell_types: image id to cell type.
        inside: the images that are compared; None for all.

    Raises:
        HarnessError: the methods have no image in common.
    """
    runs: dict[str, dict[int, Mapping[str, float]]] = {}
    folds: dict[str, dict[int, list[list[str]]]] = {}
    for name, records in methods.items():
        in_folds = all(record.folds for record in records) and len({r.seed for r in records}) == len(records)
        # by training run, not by seed, without folds: a method may have met one seed on two devices
        numbered = [(record.seed if in_folds else i, record) for i, record in enumerate(records)]
        runs[name] = {
            i: {image: value for image, value in record.scores.by_image.items() if inside is None or image in inside}
            for i, record in numbered
            if record.scores is not None
        }
        if in_folds:
            folds[name] = {i: [fold.images for fold in record.folds] for i, record in numbered}
    if len(folds) == len(methods):
        try:
            return FoldComparisons(runs, folds)
        except HarnessError:
            pass
    return Comparisons(runs, cell_types)
