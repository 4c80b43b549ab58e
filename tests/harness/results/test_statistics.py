from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.errors import HarnessError
from harness.results.comparisons import paired_difference
from harness.results.statistics import (
    ImageDraws,
    SeedScores,
    holm,
    image_interval,
    permutation_p,
    seed_spread,
)

IMAGES = 30


class World:
    """Scores with an effect of the image, an effect of the seed, and noise."""

    def __init__(self, seed: int, seed_deviation: float = 0.015) -> None:
        self.rng = np.random.default_rng(seed)
        self.difficulty = self.rng.normal(0.4, 0.15, IMAGES)
        self.seed_deviation = seed_deviation

    def method(self, gain: float = 0.0, seeds: Sequence[int] = (0, 1, 2)) -> SeedScores:
        runs = {}
        for seed in seeds:
            luck = self.rng.normal(gain, self.seed_deviation)
            scores = self.difficulty + luck + self.rng.normal(0, 0.04, IMAGES)
            runs[seed] = {f"image {i}": float(score) for i, score in enumerate(scores)}
        return runs


def test_seed_sets_of_one_method_are_not_different() -> None:
    worlds = [World(i) for i in range(200)]
    pairs = [(world.method(seeds=(0, 1, 2)), world.method(seeds=(3, 4, 5))) for world in worlds]
    found = [paired_difference(*pair) for pair in pairs]
    # of 200 pairs at 5 %, more than 17 would be 1 in 50 times
    assert sum(difference.different for difference in found) <= 17
    # by images alone many of them would differ, which is why seeds are needed
    assert np.mean([permutation_p(difference) < 0.05 for difference in found[:60]]) > 0.3


def test_a_handicapped_method_is_different_with_three_seeds() -> None:
    found = [paired_difference(w.method(-0.08), w.method()) for w in map(World, range(50))]
    assert np.mean([difference.different for difference in found]) > 0.9
    assert all(difference.mean < 0 for difference in found)


def test_the_interval_covers_the_true_difference() -> None:
    found = [paired_difference(w.method(0.03), w.method()) for w in map(World, range(200))]
    covered = np.mean([d.interval.low <= 0.03 <= d.interval.high for d in found])
    assert covered > 0.93


def test_one_seed_each_is_never_called_different() -> None:
    world = World(0)
    found = paired_difference(world.method(-0.3, seeds=[0]), world.method(seeds=[0]))
    assert (found.scope, found.told_apart, found.different) == ("networks", True, False)


def test_a_method_is_not_different_from_itself() -> None:
    method = World(0).method()
    found = paired_difference(method, method)
    assert found.mean == 0
    assert found.interval.low <= 0 <= found.interval.high
    assert not found.different
    assert permutation_p(found) == 1.0


def test_only_images_that_all_records_have_are_paired() -> None:
    a = {0: {"x": 0.5, "y": 0.7, "z": 0.1}, 1: {"x": 0.7, "y": 0.7}}
    found = paired_difference(a, {0: {"x": 0.1, "y": 0.2, "w": 0.9}})
    assert found.by_image == pytest.approx({"x": 0.5, "y": 0.5})
    assert found.seeds == (2, 1)
    assert found.scope == "networks", "one seed on either side says nothing of a method"


def test_no_image_in_common_is_refused() -> None:
    with pytest.raises(HarnessError, match="share no validation image"):
        paired_difference({0: {"x": 0.5}}, {0: {"y": 0.5}})


def test_image_interval_is_as_wide_as_students() -> None:
    scores = World(1).method(seeds=[0])
    values = np.asarray(list(scores[0].values()))
    half = stats.t.ppf(0.975, IMAGES - 1) * stats.sem(values)
    ours = image_interval(scores)
    assert (ours.low, ours.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.004)


@pytest.mark.parametrize("images", [2, 3, 5])
def test_few_images_do_not_make_a_difference_out_of_noise(images: int) -> None:
    rng = np.random.default_rng(images)
    false_alarms = 0
    for _ in range(300):
        a, b = ({s: dict(enumerate(rng.normal(0.4, 0.1, images))) for s in (0, 1, 2)} for _ in range(2))
        false_alarms += paired_difference(a, b).different
    assert false_alarms / 300 < 0.06


def test_one_image_says_nothing() -> None:
    found = paired_difference({0: {"x": 0.9}, 1: {"x": 0.9}}, {0: {"x": 0.1}, 1: {"x": 0.1}})
    assert (found.mean, found.p, found.different) == (0.8, 1.0, False)
    assert (found.interval.low, found.interval.high) == (-1.0, 1.0)
    assert permutation_p(found) == 1.0
    assert (image_interval({0: {"x": 0.9}}).low, image_interval({0: {"x": 0.9}}).high) == (0.0, 1.0)


def test_without_noise_over_seeds_the_paired_interval_is_the_images() -> None:
    world = World(2, seed_deviation=0.0)
    a, b = world.method(seeds=[0]), world.method(seeds=[0])
    difference = np.asarray(list(a[0].values())) - np.asarray(list(b[0].values()))
    half = stats.t.ppf(0.975, IMAGES - 1) * stats.sem(difference)
    ours = paired_difference(a, b).interval
    assert (ours.low, ours.high) == pytest.approx((difference.mean() - half, difference.mean() + half), abs=0.003)


def test_same_numbers_every_time() -> None:
    a, b = World(3).method(0.02), World(4).method()
    assert paired_difference(a, b) == paired_difference(a, b)
    assert permutation_p(paired_difference(a, b)) == permutation_p(paired_difference(a, b))


def test_spread_over_seeds() -> None:
    assert seed_spread({0: {"x": 0.2, "y": 0.4}, 1: {"x": 0.4, "y": 0.6}}) == pytest.approx((0.4, np.sqrt(0.02)))
    assert seed_spread({0: {"x": 0.2}}) == (0.2, None)


def test_holm_by_hand() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})
    assert holm({}) == {}


@given(p=st.dictionaries(st.text(max_size=3), st.floats(0, 1), min_size=1))
def test_holm_never_lowers_nor_reorders(p: dict[str, float]) -> None:
    corrected = holm(p)
    assert all(p[name] <= corrected[name] <= min(1, len(p) * p[name] + 1e-12) for name in p)
    order = sorted(p, key=lambda name: p[name])
    assert [corrected[name] for name in order] == sorted(corrected.values())


def test_images_are_resampled_within_their_cell_types() -> None:
    rng = np.random.default_rng(0)
    types = {f"image {i}": "ab"[i % 2] for i in range(IMAGES)}
    scores = {0: {image: 0.2 + 0.6 * (kind == "a") + rng.normal(0, 0.05) for image, kind in types.items()}}
    plain, stratified = image_interval(scores), image_interval(scores, types)
    assert stratified.high - stratified.low < 0.4 * (plain.high - plain.low), "the type explains most of the spread"
    assert stratified.low < np.mean(list(scores[0].values())) < stratified.high


def test_the_interval_within_cell_types_covers_the_truth() -> None:
    types = {f"image {i}": "abc"[i % 3] for i in range(15)}
    means, covered = {"a": 0.2, "b": 0.5, "c": 0.8}, 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        found = image_interval({0: {i: rng.normal(means[kind], 0.1) for i, kind in types.items()}}, types)
        covered += found.low <= 0.5 <= found.high
    assert 0.93 < covered / 300 < 0.98


@given(st.lists(st.sampled_from("abcdef"), min_size=2, max_size=12))
def test_every_group_of_images_has_two_or_more(kinds: list[str]) -> None:
    images = [str(i) for i in range(len(kinds))]
    groups = ImageDraws.of(images, dict(zip(images, kinds, strict=True))).groups
    assert np.bincount(groups).min() >= 2
    for kind in set(kinds):
        if kinds.count(kind) > 1:
            assert len({groups[i] for i in range(len(kinds)) if kinds[i] == kind}) == 1
