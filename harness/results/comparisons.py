"""Many methods compared at once: with the baseline and with the best, without more false alarms than promised.

Every method is resampled on the same draws of images, and a deviation for its training runs is added. The largest of
all studentized differences of a draw tells how large a difference chance alone makes somewhere in the table. A
difference larger than 95 % of these is told apart: simultaneous intervals by the bootstrap of the maximum (Westfall and
Young, Resampling-Based Multiple Testing, 1993). Comparing all pairs in this way includes the comparison with whichever
method comes out best, and with that the choice of it.

The spread over seeds is pooled over all methods, on the assumption that training runs of all methods vary equally. The
assumption is tested (Cochran's C). Where it does not hold, each method's own seeds are used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from harness.results.statistics import (
    LEVEL,
    ROUNDS,
    CellTypes,
    Difference,
    ImageDraws,
    Interval,
    Scope,
    SeedScores,
    common_images,
    holm,
    score_matrix,
    student_factors,
)
from harness.results.superiority import Superiority, superiority


@dataclass(frozen=True)
class SeedVariance:
    """How much the mean score of a method varies from training run to training run.

    Attributes:
        variances: (M,) of one run, by method; 0 where nothing is known.
        freedom: (M,) degrees of freedom of these estimates.
        equal_p: the chance of estimates this unequal if all methods varied equally; 1 where it cannot be tested.
    """

    variances: NDArray[np.float64]
    freedom: NDArray[np.int64]
    equal_p: float

    @property
    def pooled(self) -> bool:
        """Whether one estimate serves all methods."""
        return self.equal_p >= LEVEL

    @staticmethod
    def of(means: Sequence[NDArray[np.float64]]) -> SeedVariance:
        """From the mean score of each run, a vector for each method."""
        freedom = np.asarray([len(runs) - 1 for runs in means])
        squares = np.asarray([float(((runs - runs.mean()) ** 2).sum()) for runs in means])
        equal_p = unequal_p(squares[freedom > 0], tuple(freedom[freedom > 0].tolist()))
        if equal_p >= LEVEL:
            total = int(freedom.sum())
            pooled = squares.sum() / total if total else 0.0
            return SeedVariance(np.full(len(means), pooled), np.full(len(means), total), equal_p)
        return SeedVariance(squares / np.maximum(freedom, 1), freedom, equal_p)


class Comparisons:
    """The methods of one table, each compared with each.

    Args:
        methods: name to seeds to image id to score.
        cell_types: image id to cell type, where the data tell.

    Raises:
        HarnessError: the methods have no validation image in common.
    """

    def __init__(self, methods: Mapping[str, SeedScores], cell_types: CellTypes | None = None) -> None:
        self.names = list(methods)
        self.images = common_images(*(scores for method in methods.values() for scores in method.values()))
        matrices = [score_matrix(method, self.images) for method in methods.values()]
        self.seeds = np.asarray([len(matrix) for matrix in matrices])
        self.seed_variance = SeedVariance.of([matrix.mean(axis=1) for matrix in matrices])
        self._values = np.asarray([matrix.mean(axis=0) for matrix in matrices])
        self._means = self._values.mean(axis=1)
        self._residual = np.asarray([_residual_variance(matrix) for matrix in matrices])
        self._runs = [matrix.mean(axis=1) for matrix in matrices]
        if len(self.images) > 1:
            self._draws = ImageDraws.of(self.images, cell_types)
            self._image_draws = self._draws.resampled(self._values)
            self._seed_draws = self._seed_deviations()

    def pair(self, a: str, b: str) -> Difference:
        """a minus b, corrected for nothing."""
        return self._differences([(a, b)])[0]

    def superiority(self, a: str, b: str) -> Superiority:
        """The probability that a retraining of a beats one of b. Runs on one split are independent of each other."""
        first, second = (self._runs[self.names.index(name)].tolist() for name in (a, b))
        return superiority(first, second, paired=False)

    def from_baseline(self, baseline: str) -> dict[str, Difference]:
        """Each other method minus the baseline.

        Where seeds allow a statement on methods, p and interval are simultaneous over all such methods. Where they do
        not, the networks' p is Holm's. No p is smaller than that of the largest difference in the whole table, so that
        a table of equal methods makes a false statement in 5 % of cases, whatever it is compared with.
        """
        others = [name for name in self.names if name != baseline]
        found: dict[str, Difference] = {}
        for scope in ("methods", "networks"):
            mine = [(name, baseline) for name in others if self._scope(name, baseline) == scope]
            together = self._differences(mine)
            if scope == "networks":
                corrected = holm({pair[0]: self.pair(*pair).p for pair in mine})
                together = [_with_p(one, corrected[name]) for (name, _), one in zip(mine, together, strict=True)]
            found |= {name: one for (name, _), one in zip(mine, together, strict=True)}
        least = min((one.p for one in self.all_pairs.values()), default=1.0)
        return {name: _with_p(found[name], max(found[name].p, least)) for name in others}

    def from_best(self) -> dict[str, Difference]:
        """Each other method minus the one with the best mean, corrected for all pairs."""
        order = sorted(range(len(self.names)), key=lambda i: (-self._means[i], self.names[i]))
        best = self.names[order[0]]
        found = {name: self.all_pairs.get((name, best)) for name in self.names if name != best}
        return {name: one or _reversed(self.all_pairs[best, name]) for name, one in found.items()}

    @cached_property
    def all_pairs(self) -> dict[tuple[str, str], Difference]:
        """Every method minus every one after it, simultaneous over all of them."""
        pairs = [(a, b) for i, a in enumerate(self.names) for b in self.names[i + 1 :]]
        return dict(zip(pairs, self._differences(pairs), strict=True))

    # ------------------------------------------------------------------------------------------------ one family

    def _differences(self, pairs: Sequence[tuple[str, str]]) -> list[Difference]:
        """The differences of these pairs, with simultaneous intervals and p over all of them."""
        if len(self.images) < 2:
            return [self._difference(pair, Interval(-1.0, 1.0), 1.0) for pair in pairs]
        errors = [self._standard_error(*pair) for pair in pairs]
        largest = np.zeros(ROUNDS)
        for pair, error in zip(pairs, errors, strict=True):
            if error > 0:
                np.maximum(largest, np.abs(self._drawn(*pair)) / error, out=largest)
        ordered = np.sort(largest)
        reach = float(np.quantile(ordered, 1 - LEVEL))
        found = []
        for pair, error in zip(pairs, errors, strict=True):
            mean = self._mean(*pair)
            t = abs(mean) / error if error > 0 else np.inf if mean else 0.0
            as_large = ROUNDS - int(np.searchsorted(ordered, t * (1 - 1e-12)))
            interval = Interval(mean - reach * error, mean + reach * error)
            found.append(self._difference(pair, interval, (as_large + 1) / (ROUNDS + 1)))
        return found

    def _difference(self, pair: tuple[str, str], interval: Interval, p: float) -> Difference:
        a, b = (self.names.index(name) for name in pair)
        by_image = dict(zip(self.images, (self._values[a] - self._values[b]).tolist(), strict=True))
        seeds = (int(self.seeds[a]), int(self.seeds[b]))
        return Difference(self._mean(*pair), interval, p, self._scope(*pair), seeds, len(self.images), by_image)

    def _mean(self, a: str, b: str) -> float:
        return float(self._means[self.names.index(a)] - self._means[self.names.index(b)])

    def _scope(self, a: str, b: str) -> Scope:
        return "methods" if min(self.seeds[self.names.index(name)] for name in (a, b)) > 1 else "networks"

    def _drawn(self, a: str, b: str) -> NDArray[np.float64]:
        """(ROUNDS,) what chance alone makes of the difference."""
        i, j = self.names.index(a), self.names.index(b)
        # the estimates of variance of different pairs err independently, so each pair has factors of its own
        inflation = np.roll(self._draws.inflation, 101 * (i * len(self.names) + j))
        drawn = inflation * (self._image_draws[:, i] - self._image_draws[:, j])
        if self._scope(a, b) == "networks":
            return drawn
        return np.sqrt(self._image_share) * drawn + self._seed_draws[:, i] - self._seed_draws[:, j]

    def _standard_error(self, a: str, b: str) -> float:
        variance = self._image_variance(a, b)
        if self._scope(a, b) == "methods":
            runs = sum(self.seed_variance.variances[k] / self.seeds[k] for k in map(self.names.index, (a, b)))
            variance = self._image_share * variance + float(runs)
        return float(np.sqrt(variance))

    def _image_variance(self, a: str, b: str) -> float:
        """Estimated variance, over images, of the mean difference."""
        i, j = self.names.index(a), self.names.index(b)
        return float(self._draws.variances((self._values[i] - self._values[j])[None])[0])

    @cached_property
    def _image_share(self) -> float:
        """The part of the variance over images that is not between the runs of one method, 0 to 1; over all pairs.

        What differs from run to run is in the variance of the means of runs too, and would be counted twice: the
        variance of a mean over images crossed with runs is that over images plus that over runs less the residual.
        One share for the whole table is far less noisy than one for each pair. The residual is an estimate too: two
        standard errors less of it are taken off, so that chance makes intervals wider rather than narrower.
        """
        several = [i for i, seeds in enumerate(self.seeds) if seeds > 1]
        pairs = [(i, j) for at, i in enumerate(several) for j in several[at + 1 :]]
        whole = sum(self._image_variance(self.names[i], self.names[j]) for i, j in pairs)
        residual = sum(float(self._residual[i] + self._residual[j]) for i, j in pairs)
        freedom = sum(int(self.seeds[i]) - 1 for i in several) * (len(self.images) - 1)
        sure = max(0.0, 1 - 2 * np.sqrt(2 / freedom)) * residual if freedom else 0.0
        return max(0.0, 1 - sure / whole) if whole > 0 else 0.0

    def _seed_deviations(self) -> NDArray[np.float64]:
        """(ROUNDS, M) deviations of the methods' means over seeds, as wide as Student's t."""
        drawn = normal_draws(len(self.names)) * np.sqrt(self.seed_variance.variances / self.seeds)
        rng = np.random.default_rng(1)
        if self.seed_variance.pooled:
            freedom = int(self.seed_variance.freedom[0])
            return drawn * student_factors(rng, freedom, ROUNDS)[:, None] if freedom else drawn
        for i, freedom in enumerate(self.seed_variance.freedom.tolist()):
            if freedom:
                drawn[:, i] *= student_factors(rng, freedom, ROUNDS)
        return drawn


def paired_difference(a: SeedScores, b: SeedScores, cell_types: CellTypes | None = None) -> Difference:
    """How much better a is than b, with nothing else compared. On one image nothing is known: p is 1.

    Raises:
        HarnessError: no image is in all records of both.
    """
    return Comparisons({"a": a, "b": b}, cell_types).pair("a", "b")


@lru_cache(maxsize=4)
def normal_draws(methods: int) -> NDArray[np.float64]:
    """(ROUNDS, methods), the same every time."""
    return np.random.default_rng(3).standard_normal((ROUNDS, methods))


def _residual_variance(scores: NDArray[np.float64]) -> float:
    """Variance that runs and images leave unexplained, of the mean of (S, n) scores; 0 with one run."""
    seeds, images = scores.shape
    if min(seeds, images) < 2:
        return 0.0
    residual = scores - scores.mean(axis=0) - scores.mean(axis=1, keepdims=True) + scores.mean()
    return float((residual**2).sum() / ((seeds - 1) * (images - 1)) / scores.size)


def _with_p(difference: Difference, p: float) -> Difference:
    return replace(difference, p=p)


def _reversed(one: Difference) -> Difference:
    """b minus a from a minus b."""
    interval = Interval(-one.interval.high, -one.interval.low)
    by_image = {image: -value for image, value in one.by_image.items()}
    return replace(one, mean=-one.mean, interval=interval, seeds=one.seeds[::-1], by_image=by_image)


def unequal_p(squares: NDArray[np.float64], freedom: tuple[int, ...]) -> float:
    """The chance that the largest share of the variances is as large as here if all are equal (Cochran's C).

    By simulation, since methods may have different numbers of seeds. squares: (M,) sums of squares.
    """
    if len(freedom) < 2 or not squares.any():
        return 1.0
    variances = squares / np.asarray(freedom)
    share = variances.max() / variances.sum()
    return float((np.count_nonzero(_cochran_shares(freedom) >= share) + 1) / (ROUNDS + 1))


@lru_cache(maxsize=8)
def _cochran_shares(freedom: tuple[int, ...]) -> NDArray[np.float64]:
    drawn = np.random.default_rng(2).chisquare(freedom, (ROUNDS, len(freedom))) / np.asarray(freedom)
    return np.asarray(drawn.max(axis=1) / drawn.sum(axis=1))
