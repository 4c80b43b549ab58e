"""What rows say of the weights that they start from and of the labels that they were trained on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.config.start_facts import StartFacts
from harness.reporting.leaderboard import leaderboard
from harness.reporting.table import as_csv, as_markdown
from harness.results.schema import RunRecord

Make = Callable[..., RunRecord]
STACK = 'mask_rcnn+from_run(run=".../runs/usi")'


def started(make: Make, seed: int, sha256: str = "", **facts: Any) -> RunRecord:
    """A record that starts from the same seed of a run."""
    start = StartFacts(
        name="from_run",
        kind="checkpoint",
        file="weights.safetensors",
        sha256=sha256 or f"{seed:064x}",
        **{"source": "mask_rcnn, 250it on usiigaci", "seed": seed, "train_seconds": 100.0 + seed, **facts},
    )
    options = {"kind": "checkpoint", "path": start.file, "sha256": start.sha256}
    recipe = {"init": {"name": "from_run", "factory": "m:f", "options": options}}
    return make(STACK, seed, recipe=recipe, start=start, slots_changed=["init"])


def test_seeds_that_start_from_seeds_are_one_row_with_both_times(make: Make) -> None:
    board = leaderboard([make(seed=0), make(seed=1), started(make, 0), started(make, 1)])
    assert len(board.rows) == 2
    (row,) = [row for row in board.rows if row.method == STACK]
    assert (row.cost.train_seconds, row.cost.seconds_with_pretraining) == (75.0, 175.5)
    text = as_markdown(board)
    assert "with pretraining s" in text
    assert "starts from weights of mask_rcnn, 250it on usiigaci" in text


def test_two_sources_of_one_name_are_two_rows(make: Make) -> None:
    board = leaderboard([started(make, 0), started(make, 1, source="mask_rcnn, 500it on usiigaci")])
    assert len({row.method for row in board.rows}) == 2
    assert all("it on usiigaci" in row.method for row in board.rows)


def test_one_file_for_all_seeds_goes_by_its_content(make: Make) -> None:
    records = [started(make, seed, sha256="a" * 64).model_copy() for seed in (0, 1)]
    same = [r.model_copy(update={"start": r.start.model_copy(update={"seed": None})}) for r in records if r.start]
    assert len(leaderboard(same).rows) == 1
    other = started(make, 2, sha256="b" * 64, source=same[0].start.source)  # type: ignore[union-attr]
    other = other.model_copy(update={"start": other.start.model_copy(update={"seed": None})})  # type: ignore[union-attr]
    assert len(leaderboard([*same, other]).rows) == 2


def test_a_training_time_that_is_not_known_is_said_and_not_guessed(make: Make) -> None:
    board = leaderboard([make(), started(make, 0, train_seconds=None)])
    (row,) = [row for row in board.rows if row.method == STACK]
    assert row.cost.seconds_with_pretraining is None
    assert "the time that their training took is not known" in as_markdown(board)
    assert "with pretraining s" not in as_markdown(board).split("\n- ")[0]


def test_no_table_prints_a_private_folder(make: Make) -> None:
    """Records of earlier versions hold the path that was typed."""

    def old(path: str) -> RunRecord:
        part = {"name": "checkpoint", "factory": "m:f", "options": {"kind": "checkpoint", "path": path}}
        return make(recipe={"init": part})

    board = leaderboard([old("/home/ann/secret/runs/a/w.pth"), old("/home/ann/secret/runs/b/w.pth")])
    assert len(board.rows) == 2
    assert "secret" not in as_markdown(board) + as_csv(board)
    assert ".../a/w.pth" in as_csv(board)


@pytest.mark.parametrize(
    ("seconds", "cells", "hours"), [(79.2, 1000, 22.0), (16.0, 1000, 1000 * 16 / 3600), (16.0, None, None)]
)
def test_labelling_time_is_that_of_the_training_cells(
    make: Make, seconds: float, cells: int | None, hours: float | None
) -> None:
    record = make(label_seconds=seconds)
    assert record.data is not None
    board = leaderboard([record.model_copy(update={"data": record.data.model_copy(update={"train_cells": cells})})])
    assert board.rows[0].cost.labelling_hours == (None if hours is None else pytest.approx(hours))
    assert ("labelling h" in as_markdown(board)) == (hours is not None)


@pytest.mark.parametrize(("data", "split", "told"), [("d", "e", False), ("d", "f", True), ("a", "f", False)])
def test_weights_that_may_have_seen_the_validation_images_are_told(
    make: Make, data: str, split: str, told: bool
) -> None:
    record = started(make, 0, data_fingerprint=64 * data, split_fingerprint=64 * split)
    assert ("of another split of the same data" in as_markdown(leaderboard([make(), record]))) == told
