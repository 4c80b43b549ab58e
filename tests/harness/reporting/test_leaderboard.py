"""Rows, ranks, and which records may be compared."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.reporting.leaderboard import Leaderboard, Row, leaderboard, leaderboard_of_runs, write_leaderboards
from harness.results.schema import DataFacts, RunRecord

Make = Callable[..., RunRecord]


def row_of(board: Leaderboard, method: str) -> Row:
    (row,) = [row for row in board.rows if row.method == method]
    return row


def test_seeds_are_one_row(make: Make) -> None:
    records = [make(seed=seed, inference_ms_per_image=100.0 + seed) for seed in range(3)]
    (row,) = leaderboard(records).rows
    means = [r.scores.iou_map for r in records]
    assert row.quality.iou == pytest.approx(statistics.fmean(means))
    assert row.quality.seed_std == pytest.approx(statistics.stdev(means))
    assert row.quality.interval.low < row.quality.iou < row.quality.interval.high
    assert (row.provenance.seeds, row.position, row.provenance.status) == (3, 1, "ok")
    assert row.cost.inference_ms == pytest.approx(101.0)
    assert row.quality.by_type["cort"] == pytest.approx(statistics.fmean(r.scores.by_type["cort"] for r in records))


def test_every_ranked_row_has_a_position_and_ties_are_shown_beside_it(make: Make) -> None:
    records = [make(m, s, q) for m, q in (("mask_rcnn", 0.4), ("twin", 0.4), ("better", 0.6)) for s in range(3)]
    board = leaderboard(records)
    assert [row.position for row in board.rows] == [1, 2, 3]
    assert board.rows[0].method == "better"
    gain = row_of(board, "better").quality.vs_baseline
    assert gain.different
    assert gain.interval.low > 0.1
    assert not row_of(board, "twin").quality.vs_baseline.told_apart
    assert row_of(board, "mask_rcnn").quality.vs_baseline is None
    assert row_of(board, "better").quality.vs_best is None
    assert all(row_of(board, name).quality.vs_best.different for name in ("mask_rcnn", "twin"))
    assert [row.is_worse for row in board.rows] == [False, True, True]


def test_with_one_seed_networks_are_told_apart_and_methods_never(make: Make) -> None:
    board = leaderboard([make("mask_rcnn", 0, 0.3), make("other", 0, 0.7)])
    assert [row.position for row in board.rows] == [1, 2]
    found = row_of(board, "other").quality.vs_baseline
    assert (found.scope, found.told_apart, found.different) == ("networks", True, False)


def test_worth_it_is_what_nothing_as_good_beats_on_every_cost(make: Make) -> None:
    def costs(seconds: float, gibibytes: int, milliseconds: float) -> dict[str, float]:
        return {
            "seconds_per_iteration": seconds,
            "peak_host_rss": gibibytes * 2**30,
            "inference_ms_per_image": milliseconds,
        }

    board = leaderboard([
        make("mask_rcnn", 0, 0.5, **costs(1.0, 2, 100)),
        make("dearer in all", 0, 0.5, **costs(1.1, 3, 110)),
        make("slow but small", 0, 0.5, **costs(2.0, 1, 200)),
        make("worse but cheap", 0, 0.2, **costs(0.1, 1, 10)),
    ])  # fmt: skip
    assert {row.method for row in board.rows if row.worth_it} == {"mask_rcnn", "slow but small"}


def test_without_the_baseline_there_is_no_difference(make: Make) -> None:
    board = leaderboard([make("a"), make("b")])
    assert not board.baseline
    assert all(row.quality.vs_baseline is None for row in board.rows)


def other_data(record: RunRecord, **changes: str) -> DataFacts:
    return record.data.model_copy(update=changes)


@pytest.mark.parametrize("aspect", ["budget", "data", "split", "scoring version", "rule", "evaluation"])
def test_a_record_under_another_condition_is_marked_and_left_out(make: Make, aspect: str) -> None:
    usual = [make(method, seed) for method in ("mask_rcnn", "other") for seed in range(2)]
    odd = make("other", 2, 0.9)
    changes = {
        "budget": {"budget": "10m"},
        "data": {"data": other_data(odd, fingerprint="f" * 64)},
        "split": {"data": other_data(odd, split_fingerprint="a" * 64)},
        "scoring version": {"scores": odd.scores.model_copy(update={"scoring_version": "2"})},
        "rule": {"rule": odd.rule.model_copy(update={"chosen_on": "threshold given"})},
        "evaluation": {"settings": {**odd.settings, "evaluation": {"minimum_score": 0.5}}},
    }
    usual = [r.model_copy(update={"settings": {**r.settings, "evaluation": {"minimum_score": 0.05}}}) for r in usual]
    odd = odd.model_copy(update={"settings": usual[0].settings} | changes[aspect] | {"key": "odd"})
    board = leaderboard([*usual, odd])
    ranked = [row for row in board.rows if row.ranked]
    assert {row.method: row.provenance.seeds for row in ranked} == {"mask_rcnn": 2, "other": 2}
    assert max(row.quality.iou for row in ranked) < 0.7
    (marked,) = [row for row in board.rows if not row.ranked]
    assert marked is board.rows[-1]
    assert marked.quality.vs_baseline is None
    assert aspect in board.footnotes[board.marks(marked.provenance.notes)[0] - 1]


def test_equal_budgets_spelt_otherwise_are_one(make: Make) -> None:
    board = leaderboard([make(seed=0, budget="10m"), make(seed=1, budget="600s")])
    assert [row.provenance.seeds for row in board.rows] == [2]


def test_one_name_for_two_recipes_is_two_rows_told_apart(make: Make) -> None:
    deeper = {"backbone": {"name": "resnet", "factory": "m:f", "options": {"depth": 101}}}
    board = leaderboard([make(seed=0), make(seed=1, recipe=deeper)])
    assert {row.method for row in board.rows} == {
        "mask_rcnn [backbone resnet]",
        "mask_rcnn [backbone resnet(depth=101)]",
    }


def test_another_learning_rate_is_another_row(make: Make) -> None:
    slower = {"training": {"crop": 128, "learning_rate": 0.01}, "threshold": None, "device": "cpu"}
    board = leaderboard([make(seed=0), make(seed=1, settings=slower)])
    assert {row.method for row in board.rows} == {"mask_rcnn [learning_rate 0.001]", "mask_rcnn [learning_rate 0.01]"}


def test_times_of_another_machine_are_kept_apart_and_the_score_is_not(make: Make) -> None:
    elsewhere = {"cpu": "A faster CPU", "cores_usable": 64, "gpus": []}
    records = [make("mask_rcnn", s, train_seconds=75.0) for s in range(3)]
    records += [make("other", s, train_seconds=1.0, machine=elsewhere) for s in range(2)]
    records += [make("mixed", 0, train_seconds=75.0), make("mixed", 1, train_seconds=1.0, machine=elsewhere)]
    board = leaderboard(records)
    assert all(row.ranked for row in board.rows)
    other = row_of(board, "other")
    assert not other.cost.same_machine
    assert "A faster CPU, 64 cores" in board.footnotes[board.marks(other.provenance.notes)[0] - 1]
    assert row_of(board, "mixed").cost.train_seconds == 75.0
    assert row_of(board, "mixed").provenance.seeds == 2


def test_notes_on_the_conditions_stand_by_the_times(make: Make) -> None:
    busy, hot = "other processes used more than 25 % of the processor cores during training", "it was hot"
    records = [make("mask_rcnn", s, notes=[busy]) for s in range(2)]
    records += [make("other", 0, notes=[busy, hot]), make("other", 1, notes=[busy]), make("quiet", 0)]
    board = leaderboard(records)
    assert row_of(board, "mask_rcnn").cost.notes == (busy,)
    assert row_of(board, "other").cost.notes == (busy, f"{hot} (1 of 2 runs)")
    assert row_of(board, "quiet").cost.notes == ()
    assert set(board.footnotes) == {busy, f"{hot} (1 of 2 runs)"}
    assert all(row.provenance.notes == () for row in board.rows)


def test_notes_on_times_that_are_not_shown_are_not_either(make: Make) -> None:
    elsewhere = {"cpu": "A faster CPU", "cores_usable": 64, "gpus": []}
    board = leaderboard([make(seed=0), make(seed=1), make(seed=2, machine=elsewhere, notes=["it was hot there"])])
    assert board.rows[0].cost.notes == ()


def test_energy_is_a_mean_where_all_runs_have_it_of_the_same(make: Make) -> None:
    def energy(*runs: tuple[float | None, str | None]) -> tuple[float | None, str]:
        records = [make(seed=s, energy_joules=joules, energy_of=of) for s, (joules, of) in enumerate(runs)]
        (row,) = leaderboard(records).rows
        return row.cost.energy, row.cost.energy_of

    assert energy((1000.0, "GPU"), (3000.0, "GPU")) == (2000.0, "GPU")
    assert energy((1000.0, "GPU"), (None, None)) == (None, "")
    assert energy((1000.0, "GPU"), (3000.0, "GPU and CPU packages")) == (None, "")
    assert energy((None, None)) == (None, "")


def test_data_wait_is_a_share_of_the_training_time(make: Make) -> None:
    board = leaderboard([make(seed=0, data_wait_seconds=7.5), make("other", 0)])
    assert row_of(board, "mask_rcnn").cost.data_wait == pytest.approx(0.1)
    assert row_of(board, "other").cost.data_wait is None


def test_failures_are_rows_with_their_reason(make: Make) -> None:
    failed = {"status": "oom", "reason": "no memory", "scores": None, "rule": None, "cost": {}, "total_loss": None}
    board = leaderboard([make(seed=0), make("big", 0, **failed), make("half", 0), make("half", 1, **failed)])
    big = board.rows[-1]
    assert (big.method, big.position, big.quality.iou) == ("big", None, None)
    assert (big.provenance.status, big.provenance.reason) == ("oom", "no memory")
    half = row_of(board, "half")
    assert (half.provenance.seeds, half.provenance.status) == (1, "1 of 2 ok; oom")
    assert half.ranked


def test_no_record_is_an_empty_table() -> None:
    assert leaderboard([]).rows == ()


def test_the_same_record_in_two_folders_counts_once(make: Make, run_of: Callable[..., Path]) -> None:
    record = make()
    board = leaderboard_of_runs([run_of([record], "a"), run_of([record, make(seed=1)], "b")])
    assert [row.provenance.seeds for row in board.rows] == [2]


def test_a_folder_that_is_not_there() -> None:
    with pytest.raises(HarnessError, match="no folder"):
        leaderboard_of_runs([Path("nowhere")])


def test_the_files_are_made_from_the_records_alone(make: Make, run_of: Callable[..., Path]) -> None:
    run = run_of([make("mask_rcnn", s) for s in range(2)])
    write_leaderboards(run)
    first = [(run / name).read_bytes() for name in ("leaderboard.md", "leaderboard.csv")]
    write_leaderboards(run)
    assert first == [(run / name).read_bytes() for name in ("leaderboard.md", "leaderboard.csv")]
    (run / "trials" / "00000" / "record.json").write_text("{")
    write_leaderboards(run)
    assert "left aside" in (run / "leaderboard.md").read_text("utf-8")


def test_a_thousand_records_make_a_row_a_method(make: Make, run_of: Callable[..., Path]) -> None:
    run = run_of([make(f"m{m}" if m else "mask_rcnn", s, 0.3 + 0.01 * m) for m in range(50) for s in range(20)])
    board = leaderboard_of_runs([run])
    assert len(board.rows) == 50
