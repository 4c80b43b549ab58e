"""The probability that a retraining of one method beats one of another.

Recommended for comparisons of learning methods by Bouthillier and others (Accounting for Variance in Machine Learning
Benchmarks, MLSys 2021, arXiv 2103.03098): a difference is meaningful where it is 0.75 or more and its interval lies
above 0.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.results.statistics import LEVEL, Interval

MEANINGFUL = 0.75


@dataclass(frozen=True)
class Superiority:
    """probability: of a being better than b; a tie counts half. interval: 95 %. pairs: trainings it is estimated from.

    paired: whether each pair was trained and scored on the same images, as in folds.
    """

    probability: float
    interval: Interval
    pairs: int
    paired: bool

    @property
    def meaningful(self) -> bool:
        """Whether a is better in the sense of the study."""
        return self.probability >= MEANINGFUL and self.interval.low > 0.5


def superiority(a: Sequence[float], b: Sequence[float], paired: bool) -> Superiority:
    """From the scores of trainings of both methods.

    The interval is that of Clopper and Pearson for as many independent comparisons as there are pairs; without pairs,
    as the smaller number of trainings.

    Args:
        a: a score of each training of the first method.
        b: the same of the second; in the same order where paired.
        paired: compare each with its partner; else every a with every b.
    """
    from scipy import stats

    one, other = np.asarray(a), np.asarray(b)
    gaps = one - other if paired else np.subtract.outer(one, other).ravel()
    share = float(np.mean((gaps > 0) + 0.5 * (gaps == 0)))
    pairs = len(one) if paired else min(len(one), len(other))
    wins = share * pairs
    low = float(stats.beta.ppf(LEVEL / 2, wins, pairs - wins + 1)) if wins > 0 else 0.0
    high = float(stats.beta.ppf(1 - LEVEL / 2, wins + 1, pairs - wins)) if wins < pairs else 1.0
    return Superiority(share, Interval(low, high), pairs, paired)
