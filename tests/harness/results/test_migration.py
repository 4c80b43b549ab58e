"""A run of an earlier version is read with its values unchanged."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from harness.config.trial_spec import recipe_from_json
from harness.contract import SLOTS, Part
from harness.errors import HarnessError
from harness.orchestration.plan import read_manifest
from harness.reporting.leaderboard import leaderboard_of_runs
from harness.reporting.table import as_csv
from harness.results.io import read_record, read_records, read_trial_spec, record_paths
from harness.results.migration import SCHEMA_VERSION
from methods.moved import MOVED

RUN = Path(__file__).parents[2] / "data" / "run-of-schema-1"
"""Records of two runs, the plan and one specification of a third. The table is the one of that version."""


def test_the_table_has_the_numbers_it_had() -> None:
    before = list(csv.DictReader((RUN / "leaderboard.csv").read_text(encoding="utf-8").splitlines()))
    board = leaderboard_of_runs([RUN])
    assert not board.problems
    now = {(row["method"], row["seeds"]): row for row in csv.DictReader(io.StringIO(as_csv(board)))}
    # intervals are recomputed, and since then images are drawn within cell types
    columns = set(before[0]) & set(next(iter(now.values()))) - {"interval_low", "interval_high"}
    assert {"method", "iou", "ap50", "seed_std", "seconds_per_iteration", "iou_cort"} <= columns
    for row in before:
        same = now[row["method"], row["seeds"]]
        assert {name: same[name] for name in columns} == {name: row[name] for name in columns}


def test_records_are_of_the_present_schema() -> None:
    records, problems = read_records(RUN)
    assert (len(records), problems) == (len(list(record_paths(RUN))), [])
    assert {record.schema_version for record in records} == {SCHEMA_VERSION}
    assert {record.baseline for record in records} == {"mask_rcnn"}


def test_an_old_specification_names_parts_that_exist_now() -> None:
    recipe = recipe_from_json(read_trial_spec(RUN / "cells" / "planned").recipe)
    for slot in ("engine", *SLOTS):
        assert callable(getattr(recipe, slot).load())


def test_the_plan_is_read() -> None:
    manifest = read_manifest(RUN)
    assert len(manifest.trials) == 4
    assert manifest.schema_version == SCHEMA_VERSION


def test_factories_that_moved_are_where_they_are_said_to_be() -> None:
    for factory in MOVED.values():
        assert callable(Part("part", factory).load())


@pytest.mark.parametrize("version", [0, SCHEMA_VERSION + 1, None, "2"])
def test_other_versions_are_refused(version: object, tmp_path: Path) -> None:
    plain = json.loads(next(iter(record_paths(RUN))).read_text(encoding="utf-8"))
    (tmp_path / "record.json").write_text(json.dumps({**plain, "schema_version": version}), encoding="utf-8")
    with pytest.raises(HarnessError, match="this harness reads versions 1 to"):
        read_record(tmp_path / "record.json")
