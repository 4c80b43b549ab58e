"""Comparisons over folds: few false alarms, the correction for overlapping training sets, and pairs of trainings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from simulated_folds import FoldSimulation

from harness.errors import HarnessError
from harness.results.fold_comparisons import FoldComparisons
from harness.results.superiority import superiority

FAMILIES = 120
"""The long version, benchmarks/simulate_folds.py, has 1,000."""

FOLDS = FoldSimulation()


def compared(simulation: FoldSimulation, rng: np.random.Generator, gains: list[float]) -> FoldComparisons:
    scores, folds = simulation.family(rng, gains)
    return FoldComparisons(scores, dict.fromkeys(scores, folds))


@pytest.mark.parametrize("simulation", [FOLDS, replace(FOLDS, train_sd=0.0)], ids=["training sets matter", "not"])
def test_eight_equal_methods_are_rarely_split(simulation: FoldSimulation) -> None:
    rng, split = np.random.default_rng(0), 0
    for _ in range(FAMILIES):
        found = compared(simulation, rng, [0.0] * 8)
        split += any(d.different for d in (*found.from_baseline("m0").values(), *found.from_best().values()))
    # of 120 families at 5 %, more than 12 would be 1 in 100 times
    assert split <= 12


def test_a_method_that_is_worse_is_found_with_one_seed() -> None:
    rng, found = np.random.default_rng(1), 0
    for _ in range(40):
        d = compared(FOLDS, rng, [0.0] * 7 + [-0.15]).from_baseline("m0")["m7"]
        assert d.scope == "methods"
        assert d.units == 5
        found += d.different and d.mean < 0
    assert found >= 0.8 * 40


def test_the_variance_is_that_of_nadeau_and_bengio() -> None:
    """By hand, for two methods: (1 / J + n_test / n_train) times the variance of the differences of the folds."""
    found = compared(replace(FOLDS, seeds=2), np.random.default_rng(2), [0.0, 0.0])
    gaps = found.units[0] - found.units[1]
    assert len(gaps) == 10
    expected = (1 / 10 + 12 / 48) * np.var(gaps, ddof=1)
    assert found._standard_error("m0", "m1") ** 2 == pytest.approx(expected)


def test_the_interval_of_two_methods_is_students() -> None:
    from scipy import stats

    found = compared(FOLDS, np.random.default_rng(3), [0.0, 0.0])
    d = found.pair("m0", "m1")
    reach = stats.t.ppf(0.975, 4) * found._standard_error("m0", "m1")
    assert (d.interval.high - d.interval.low) / 2 == pytest.approx(reach, rel=0.05)


def test_methods_without_a_common_fold_are_not_compared() -> None:
    scores, folds = FOLDS.family(np.random.default_rng(4), [0.0, 0.0])
    other = {0: [images[::-1][1:] for images in folds[0]]}
    with pytest.raises(HarnessError, match="share no folds"):
        FoldComparisons(scores, {"m0": folds, "m1": other})


def test_a_method_that_varies_more_is_not_pooled_with_the_others() -> None:
    rng, unequal = np.random.default_rng(5), 0
    for _ in range(20):
        scores, folds = FOLDS.family(rng, [0.0] * 7)
        wild = {s: {i: v + rng.normal(0, 0.01) for i, v in m.items()} for s, m in scores["m0"].items()}
        for images in folds[0]:
            shift = rng.normal(0, 0.5)
            wild[0] |= {i: wild[0][i] + shift for i in images}
        scores["wild"] = wild
        unequal += not FoldComparisons(scores, dict.fromkeys(scores, folds)).seed_variance.pooled
    assert unequal >= 18


def test_the_probability_of_superiority_counts_pairs_and_ties() -> None:
    found = superiority([0.5, 0.6, 0.7, 0.4], [0.4, 0.5, 0.7, 0.5], paired=True)
    assert found.probability == pytest.approx((1 + 1 + 0.5 + 0) / 4)
    assert found.pairs == 4
    assert not found.meaningful
    always = superiority([0.6] * 15, [0.5] * 15, paired=True)
    assert (always.probability, always.interval.high) == (1.0, 1.0)
    assert always.interval.low == pytest.approx(0.782, abs=0.001)  # Clopper and Pearson: 0.025 ** (1 / 15)
    assert always.meaningful


def test_runs_on_one_split_are_compared_each_with_each() -> None:
    found = superiority([0.5, 0.7, 0.9], [0.6, 0.6], paired=False)
    assert found.probability == pytest.approx(4 / 6)
    assert found.pairs == 2
    three = superiority([0.7, 0.8, 0.9], [0.1, 0.2, 0.3], paired=False)
    assert three.probability == 1.0
    assert not three.meaningful, "three trainings are too few"
