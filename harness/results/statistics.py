"""How sure a score is: intervals over images, spread over seeds, and the paired difference of two methods.

Two things vary. Other validation images would give other scores, and so would another training run. Images are
resampled within their cell types (a stratified bootstrap), since the type explains most of the spread between images.
Training runs are too few to be resampled: their standard deviation is estimated and Student's t stands for what is not
known of it. `harness.results.comparisons` compares many methods at once on the same draws.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError

SeedScores = Mapping[int, Mapping[str, float]]
"""Seed to image id to score: `by_image` of the records of one method."""

CellTypes = Mapping[str, str]
"""Image id to cell type. Images that are not in it form a group of their own."""

Scope = Literal["methods", "networks"]
"""What a comparison speaks of: methods, or only the trained networks of this run."""

LEVEL = 0.05
"""The chance of a false statement that is accepted: intervals are 95 % intervals."""

ROUNDS = 10_000
"""Bootstrap draws."""


@dataclass(frozen=True)
class Interval:
    """A 95 % interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """Method a minus method b, on the images that all records have.

    Attributes:
        mean: of the differences image by image, each averaged over seeds.
        interval: 95 %; over images, and over training runs where `scope` is "methods".
        p: the chance of a difference this large if there were none. Like the interval, it is corrected for the number
            of comparisons where the difference belongs to a table.
        scope: "methods" where both have two seeds or more. With one seed nothing is known of other training runs, and
            the comparison is of these trained networks only.
        seeds: how many of a and of b.
        images: how many both were compared on.
        by_image: image id to difference.
        units: folds of seeds that both were trained and scored on; 0 without folds.
    """

    mean: float
    interval: Interval
    p: float
    scope: Scope
    seeds: tuple[int, int]
    images: int
    by_image: Mapping[str, float]
    units: int = 0

    @property
    def told_apart(self) -> bool:
        """Whether a and b differ, in what `scope` speaks of."""
        return self.p < LEVEL

    @property
    def different(self) -> bool:
        """Whether a and b differ as methods. One seed never says so."""
        return self.scope == "methods" and self.told_apart


def seed_spread(scores: SeedScores) -> tuple[float, float | None]:
    """Mean over seeds of the mean over images, and the standard deviation between seeds; None with one seed."""
    means = [float(np.mean(list(by_image.values()))) for by_image in scores.values()]
    return float(np.mean(means)), float(np.std(means, ddof=1)) if len(means) > 1 else None


def image_interval(scores: SeedScores, cell_types: CellTypes | None = None) -> Interval:
    """95 % interval, over images, of the mean over images, each averaged over seeds; 0 to 1 for one image."""
    images = common_images(*scores.values())
    if len(images) < 2:
        return Interval(0.0, 1.0)
    values = score_matrix(scores, images).mean(axis=0)
    draws = ImageDraws.of(images, cell_types)
    drawn = values.mean() + draws.inflation * draws.resampled(values[None])[:, 0]
    low, high = np.quantile(drawn, [LEVEL / 2, 1 - LEVEL / 2])
    return Interval(float(low), float(high))


def permutation_p(difference: Difference, seed: int = 0) -> float:
    """Chance of a mean difference this large if, on each image, either network were as likely the better one.

    Signs are flipped image by image, all ways where there are few images. This takes the trained networks as they are:
    two runs of one method differ by it as soon as their seeds do. It never decides whether methods differ.
    """
    from scipy import stats

    values = np.asarray(list(difference.by_image.values()))
    if len(values) < 2:
        return 1.0
    flips = stats.permutation_test(
        (values, np.zeros_like(values)),
        lambda x, y, axis: (x - y).mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=ROUNDS - 1,
        batch=1000,
        rng=np.random.default_rng(seed),
    )
    return float(flips.pvalue)


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down correction (Scandinavian Journal of Statistics 6, 1979).

    The chance of one false alarm or more among all stays below the level.
    """
    corrected, largest = {}, 0.0
    for rank, name in enumerate(sorted(p, key=lambda n: p[n])):
        largest = max(largest, min(1.0, (len(p) - rank) * p[name]))
        corrected[name] = largest
    return {name: corrected[name] for name in p}


def common_images(*by_image: Mapping[str, float]) -> list[str]:
    """Image ids that all have, sorted. Raises HarnessError where there is none."""
    images = sorted(set.intersection(*(set(scores) for scores in by_image)))
    if not images:
        raise HarnessError("they share no validation image: were they run on other data or with another split?")
    return images


def score_matrix(scores: SeedScores, images: Sequence[str]) -> NDArray[np.float64]:
    """(seeds, images)."""
    return np.asarray([[by_image[i] for i in images] for by_image in scores.values()], np.float64)


@dataclass(frozen=True, eq=False)
class ImageDraws:
    """A bootstrap over images within cell types, the same for every method of a table.

    Attributes:
        groups: (n,) number of each image's group. A group is a cell type; types with one image form one together.
        counts: (ROUNDS, n) how often each image is drawn.
        inflation: (ROUNDS,) factors that make the draws as wide as Student's t, whose degrees of freedom are the number
            of images less the number of groups: the variance is not known but estimated.
    """

    groups: NDArray[np.int64]
    counts: NDArray[np.float64]
    inflation: NDArray[np.float64]

    @staticmethod
    def of(images: Sequence[str], cell_types: CellTypes | None) -> ImageDraws:
        """The draws for these images, two or more; the same for the same images."""
        groups = _groups(images, cell_types or {})
        return ImageDraws(np.asarray(groups), *_draws(groups))

    def resampled(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(ROUNDS, M) resampled means of (M, n) values, less their means; not yet as wide as Student's t."""
        return self.counts @ self._unbiased(values).T / values.shape[1]

    def variances(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(M,) estimated variance of the means of (M, n) values."""
        return np.asarray((self._unbiased(values) ** 2).sum(axis=1) / values.shape[1] ** 2)

    def _unbiased(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(M, n) deviations from the group's mean, scaled so that their variance is not too small."""
        member = np.equal.outer(np.arange(self.groups.max() + 1), self.groups).astype(np.float64)
        sizes = member.sum(axis=1)
        means = values @ member.T / sizes
        return (values - means[:, self.groups]) * np.sqrt(sizes / (sizes - 1))[self.groups]


def _groups(images: Sequence[str], cell_types: CellTypes) -> tuple[int, ...]:
    """The number of each image's group; each group has two images or more."""
    names = [cell_types.get(image, "") for image in images]
    sizes = Counter(names)
    rare = {name for name, size in sizes.items() if size < 2}
    if len(rare) == 1 and len(sizes) > 1:
        # one image alone joins the smallest of the other groups
        rare.add(min((size, name) for name, size in sizes.items() if name not in rare)[1])
    merged = [None if name in rare else name for name in names]
    numbers = {name: i for i, name in enumerate(dict.fromkeys(merged))}
    return tuple(numbers[name] for name in merged)


@lru_cache(maxsize=4)
def _draws(groups: tuple[int, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """counts and inflation of ImageDraws. Kept, so that a table of many methods takes no time."""
    rng = np.random.default_rng(0)
    labels = np.asarray(groups)
    counts = np.zeros((ROUNDS, len(labels)))
    for group in range(labels.max() + 1):
        members = np.flatnonzero(labels == group)
        counts[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), size=ROUNDS)
    freedom = len(labels) - int(labels.max()) - 1
    return counts, student_factors(rng, freedom, ROUNDS)


def student_factors(rng: np.random.Generator, freedom: int, rounds: int) -> NDArray[np.float64]:
    """(rounds,) factors that turn normal draws into draws of Student's t with that many degrees of freedom."""
    return np.asarray(np.sqrt(freedom / rng.chisquare(freedom, rounds)))
