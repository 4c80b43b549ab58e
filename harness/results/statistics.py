"""How sure a score is, and whether two methods differ: three sources of doubt, kept apart.

- Other images: the bootstrap interval of a mean over validation images, widened for few images as Student's t is
  (the expanded percentile interval of Hesterberg, The American Statistician 69, 2015). One image says nothing.
- Another training run: the standard deviation over seeds.
- Both, for a difference: images are resampled in pairs (both methods on the same images, averaged over seeds), and to
  each resampled difference a deviation of the seed means is added, drawn from Student's t with the seeds' pooled
  variance and (seeds of a - 1) + (seeds of b - 1) degrees of freedom. Resampling three seeds themselves would make
  the interval too short by a third or more; the t distribution is the price of having seen so few.

With one seed on each side nothing is known of the spread over training runs. The interval then covers images alone,
and the two methods are never called different: two runs of one method would be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError

SeedScores = Mapping[int, Mapping[str, float]]
"""Seed to image id to score: the by_image of a method's records."""

LEVEL = 0.05
ROUNDS = 10_000


@dataclass(frozen=True)
class Interval:
    """A 95 % interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """Method a minus method b, on the images that all their records have.

    mean: of the per-image differences, each averaged over seeds. interval: 95 %, over images and, where there are
    seeds to tell, training runs. p: twice the smaller share of resampled differences on one side of zero, so p < 0.05
    where the interval leaves zero out (`differences_from` corrects it). seeds: how many of a and of b. seeds_known:
    whether either side has two or more. by_image: image id to difference.
    """

    mean: float
    interval: Interval
    p: float
    seeds: tuple[int, int]
    images: int
    by_image: Mapping[str, float]

    @property
    def seeds_known(self) -> bool:
        return sum(self.seeds) > 2

    @property
    def different(self) -> bool:
        return self.seeds_known and self.p < LEVEL


def seed_spread(scores: SeedScores) -> tuple[float, float | None]:
    """Mean over seeds of the mean over images, and the standard deviation between seeds; None with one seed."""
    means = [float(np.mean(list(by_image.values()))) for by_image in scores.values()]
    return float(np.mean(means)), float(np.std(means, ddof=1)) if len(means) > 1 else None


def image_interval(scores: SeedScores, seed: int = 0) -> Interval:
    """95 % bootstrap interval, over images, of the mean over images, each averaged over seeds; 0 to 1 for one image."""
    values = _matrix(scores, _common(*scores.values())).mean(axis=0)
    return _interval(_resampled_means(values, seed)) if len(values) > 1 else Interval(0.0, 1.0)


def paired_difference(a: SeedScores, b: SeedScores, seed: int = 0) -> Difference:
    """How much better a is than b. On one image nothing is known: p is 1, the interval all there can be.

    Raises HarnessError where no image is in all records of both.
    """
    images = _common(*a.values(), *b.values())
    if not images:
        raise HarnessError("the two share no validation image: were they run on other data or with another split?")
    first, second = _matrix(a, images), _matrix(b, images)
    per_image = first.mean(axis=0) - second.mean(axis=0)
    seeds = (len(first), len(second))
    by_image = dict(zip(images, per_image.tolist(), strict=True))
    if len(images) < 2:
        return Difference(float(per_image.mean()), Interval(-1.0, 1.0), 1.0, seeds, len(images), by_image)
    drawn = _resampled_means(per_image, seed)
    freedom = len(first) + len(second) - 2
    if freedom:
        pooled = sum(float(part.mean(axis=1).var() * len(part)) for part in (first, second))
        error = np.sqrt(pooled / freedom * (1 / len(first) + 1 / len(second)))
        drawn = drawn + error * np.random.default_rng([seed, 1]).standard_t(freedom, len(drawn))
    below, above = np.count_nonzero(drawn <= 0), np.count_nonzero(drawn >= 0)
    return Difference(
        mean=float(per_image.mean()),
        interval=_interval(drawn),
        p=min(1.0, 2 * (min(below, above) + 1) / (len(drawn) + 1)),
        seeds=seeds,
        images=len(images),
        by_image=by_image,
    )


def permutation_p(difference: Difference, seed: int = 0) -> float:
    """Chance of a mean difference this large if, on each image, either method were as likely the better one.

    Sign flips over images, exact where there are few. It takes the trained models as they are: two runs of one method
    differ by it as soon as their seeds do, so it never decides whether methods differ.
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
    """Holm's step-down correction: the chance of one false alarm or more among all stays below the level."""
    corrected, largest = {}, 0.0
    for rank, name in enumerate(sorted(p, key=lambda n: p[n])):
        largest = max(largest, min(1.0, (len(p) - rank) * p[name]))
        corrected[name] = largest
    return {name: corrected[name] for name in p}


def differences_from(baseline: str, methods: Mapping[str, SeedScores]) -> dict[str, Difference]:
    """Each other method minus the baseline; p is Holm-corrected over all of them, the interval is not."""
    raw = {name: paired_difference(scores, methods[baseline]) for name, scores in methods.items() if name != baseline}
    corrected = holm({name: difference.p for name, difference in raw.items()})
    return {name: replace(difference, p=corrected[name]) for name, difference in raw.items()}


def shared_ranks(methods: Mapping[str, SeedScores]) -> dict[str, int]:
    """1 is best; methods that cannot be told from the best of their group share its rank.

    Methods are taken in the order of their means. The best opens a group; those after it join until the first that
    differs from the group's best (Holm-corrected over all methods below it), which opens the next group with a rank
    one more than the number of methods above it. So a group is a stretch of the table without gaps, and nobody ranks
    above a method with a better mean.
    """
    order = sorted(methods, key=lambda name: (-seed_spread(methods[name])[0], name))
    ranks: dict[str, int] = {}
    while len(ranks) < len(order):
        start = len(ranks)
        best, rest = order[start], order[start + 1 :]
        group = {name: methods[name] for name in (best, *rest)}
        against = differences_from(best, group)
        apart = next((i for i, name in enumerate(rest) if against[name].different), len(rest))
        ranks.update(dict.fromkeys(order[start : start + 1 + apart], start + 1))
    return ranks


def _common(*by_image: Mapping[str, float]) -> list[str]:
    return sorted(set.intersection(*(set(scores) for scores in by_image)))


def _matrix(scores: SeedScores, images: list[str]) -> NDArray[np.float64]:
    """(seeds, images)."""
    return np.asarray([[by_image[i] for i in images] for by_image in scores.values()], np.float64)


def _resampled_means(values: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """(ROUNDS,) means of as many values (two or more) drawn with replacement, spread as wide as so few values ask."""
    from scipy.special import ndtri, stdtrit

    n = len(values)
    wider = np.sqrt(n / (n - 1)) * stdtrit(n - 1, 1 - LEVEL / 2) / ndtri(1 - LEVEL / 2)
    mean = values.mean()
    return mean + wider * (_draws(n, seed) @ (values - mean) / n)


@lru_cache(maxsize=4)
def _draws(images: int, seed: int) -> NDArray[np.float64]:
    """(ROUNDS, images): how often each image is drawn; drawn once, so that a table of many methods takes no time."""
    counts = np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=ROUNDS)
    return counts.astype(np.float64)


def _interval(drawn: NDArray[np.float64]) -> Interval:
    low, high = np.quantile(drawn, [LEVEL / 2, 1 - LEVEL / 2])
    return Interval(float(low), float(high))
