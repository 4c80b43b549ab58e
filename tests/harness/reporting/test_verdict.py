"""The sentences of the verdict claim what the data show, and no more."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from harness.reporting.leaderboard import leaderboard
from harness.reporting.verdict import join_names, last_quarter_gain, more_seeds, verdict
from harness.results.schema import CurvePoint, RunRecord

Make = Callable[..., RunRecord]


def costs(seconds: float, gibibytes: int, milliseconds: float) -> dict[str, float]:
    return {
        "seconds_per_iteration": seconds,
        "peak_host_rss": gibibytes * 2**30,
        "inference_ms_per_image": milliseconds,
    }


def learned(*ious: float) -> dict[str, list[CurvePoint]]:
    """A learning curve with equally spaced evaluations."""
    n = len(ious)
    points = [
        CurvePoint(fraction=(i + 1) / n, seconds=75 * (i + 1) / n, iteration=i, iou_map=iou)
        for i, iou in enumerate(ious)
    ]
    return {"learning_curve": points}


def test_one_seed_speaks_of_networks_and_leaves_the_methods_open(make: Make) -> None:
    board = leaderboard([make("mask_rcnn", 0, 0.5), make("worse", 0, 0.2), make("same", 0, 0.5)])
    said = " ".join(verdict(board))
    assert "Of these trained networks, worse is worse than mask_rcnn." in said
    assert "One seed each says nothing of other training runs, so whether the methods differ is open." in said
    assert not re.search(r"(^|\. )worse is worse", said)


def test_seeds_speak_of_methods(make: Make) -> None:
    methods = (("mask_rcnn", 0.5), ("worse", 0.2), ("better", 0.8))
    said = verdict(leaderboard([make(m, s, q) for m, q in methods for s in range(3)]))
    assert said[0].startswith("better has the highest IoU, 0.")
    assert "better is told apart from every other method." in said
    assert "better is better than mask_rcnn; worse is worse than mask_rcnn." in said
    assert "network" not in " ".join(said)
    assert "--seeds" not in " ".join(said)


def test_of_those_not_told_apart_the_cheapest_is_named_for_each_cost(make: Make) -> None:
    board = leaderboard([
        make("mask_rcnn", 0, 0.5, **costs(0.5, 2, 30)),
        make("quick", 0, 0.5, **costs(0.2, 3, 40)),
        make("small", 0, 0.5, **costs(0.6, 1, 50)),
        make("worse", 0, 0.1, **costs(0.01, 1, 1)),
    ])  # fmt: skip
    [sentence] = [line for line in verdict(board) if "cheapest" in line]
    assert (
        "cheapest to train: quick (0.200 s/it); to hold in memory: small (1.00 GiB); to predict: mask_rcnn (30"
        in sentence
    )
    assert "worse" not in sentence


@pytest.mark.parametrize(
    ("typed", "wanted", "minutes"),
    [
        ("run --methods all --out a", "run --methods all --out a --seeds 3", 2 * 2 * 2),
        ("run --methods all --seeds 1 --out=a", "run --methods all --out=a --seeds 3", 2 * 2 * 2),
        ("run --methods all --seeds=1", "run --methods all --seeds 3", 2 * 3 * 2),
    ],
)
def test_the_command_that_would_settle_it_and_its_price(make: Make, typed: str, wanted: str, minutes: float) -> None:
    command = f"python -m harness {typed}"
    board = leaderboard([make(m, command=command, wall_seconds=120.0) for m in ("mask_rcnn", "b")])
    found = more_seeds(board)
    assert found is not None
    assert (found.command, found.minutes) == (f"python -m harness {wanted}", minutes)
    assert any(f"`{found.command}` would tell, in about {minutes} more minutes" in line for line in verdict(board))


def test_records_of_several_commands_name_none(make: Make) -> None:
    board = leaderboard([make("mask_rcnn", command="python -m harness run a"), make("b", command="python x run b")])
    assert more_seeds(board) is None
    assert any("Run with --seeds 3 to tell." in line for line in verdict(board))


def test_whether_anyone_had_finished_learning(make: Make) -> None:
    rising, flat = learned(0.1, 0.2, 0.3, 0.4), learned(0.3, 0.4, 0.4, 0.405)
    assert verdict(leaderboard([make("mask_rcnn", **rising)]))[-1].startswith(
        "No method had finished learning: the last"
    )
    assert verdict(leaderboard([make("mask_rcnn", **flat)]))[-1].startswith("All had nearly finished learning")
    said = verdict(leaderboard([make("mask_rcnn", **flat), make("late", **rising)]))[-1]
    assert said.startswith("late had not finished learning: the last quarter of the budget still gained 0.10 IoU.")


def test_the_last_quarter_is_read_along_the_time(make: Make) -> None:
    [row] = leaderboard([make("mask_rcnn", **learned(0.2, 0.6))]).rows
    assert last_quarter_gain(row) == pytest.approx(0.2)
    [row] = leaderboard([make("mask_rcnn", learning_curve=[])]).rows
    assert last_quarter_gain(row) is None


def test_seeds_that_spread_unequally_are_reported(make: Make) -> None:
    steady = [make(m, s) for m in ("mask_rcnn", "b", "c") for s in range(3)]
    unstable = [make("unstable", s, 0.2 + 0.3 * s) for s in range(3)]
    assert any("judged by its own seeds alone" in line for line in verdict(leaderboard([*steady, *unstable])))
    assert not any("judged by its own" in line for line in verdict(leaderboard(steady)))


def test_no_score_no_verdict() -> None:
    assert verdict(leaderboard([])) == ["No method has a score yet."]


def test_of_many_names_the_first_are_listed() -> None:
    assert join_names(["a"]) == "a"
    assert join_names(["a", "b", "c"]) == "a, b and c"
    assert join_names(list("abcdefgh"), 3) == "a, b, c and 5 more"
