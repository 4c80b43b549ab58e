"""Faulty torch models in the real engine: each gets a row, and the others are not affected."""

from __future__ import annotations

import csv
import io
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from fake_worker import RecordingReporter, doubled

from harness.monitoring.progress import ProgressFile
from harness.orchestration.process.launchers import fastest_launcher
from harness.orchestration.process.log_pump import LOG_LIMIT
from harness.orchestration.scheduler import ALL_OK, SOME_FAILED, RunOptions, run_plan
from harness.orchestration.trial.work import Trial
from harness.reporting.leaderboard import write_leaderboards
from harness.results.io import read_record, read_records
from harness.results.schema import RunRecord
from harness.results.status import status_from_exception

LOSSES = {
    "loss_per_image": "the method's loss 'mean' is no scalar: its shape is (2,)",
    "loss_as_a_float": "the method's loss 'mean' is a float, not a tensor",
    "loss_as_an_array": "the method's loss 'mean' is an array of float32, not a tensor",
    "loss_without_gradient": "the method's losses have no gradient: none of them depends on a trained parameter",
    "no_losses": "the method's losses() gave no loss",
    "list_of_losses": "the method's losses() gave a list, not a mapping of names to tensors",
    "nameless_loss": "the method's losses() gave a loss named by a NoneType, not by a text",
}
PREDICTIONS = {
    "masks_outside": "lie outside the image",
    "a_score_too_few": "have 2 masks, scores of shape (1,) and labels of shape (2,)",
    "scores_of_nan": "have scores outside 0..1",
    "scores_of_one_column": "have 2 masks, scores of shape (2, 1) and labels of shape (2,)",
    "scores_as_a_tensor": "have a Tensor for scores, not a numpy array of floating",
    "another_size": "are for an image of (65, 64), not (64, 64)",
    "no_size": "are for an image of None, not (64, 64)",
    "a_dictionary": "are a dict, not harness.contract.Predictions",
    "class_of_none": "have labels 3 to 3 where there are 3 classes",
    "planes_for_masks": "have an array of uint8 for masks, not harness.masks.crops.CropMasks",
    "boxes_of_two_numbers": "have boxes of shape (2, 2), not (N, 4)",
    "crops_cut_short": "have masks of other shapes than their boxes (32 pixels)",
    "empty_mask": "have a mask without a pixel",
    "turned_box": "have a box without a pixel",
}
LISTS = {
    "nothing": "the method's predict() gave a NoneType, not a list of Predictions",
    "two_for_one_image": "the method's predict() gave 2 predictions for image",
}


def record(run_dir: Path, method: str) -> RunRecord:
    return read_record(run_dir / "trials" / f"{method}--seed0" / "record.json")


@pytest.mark.parametrize("method", [*LOSSES, *PREDICTIONS, *LISTS])
def test_garbage_is_named_as_the_methods_fault(plan_of: Any, tmp_path: Path, method: str) -> None:
    (trial,) = plan_of([method]).trials
    with pytest.raises(Exception, match=r".") as caught:
        Trial(trial.spec, tmp_path, ProgressFile()).run()
    status, reason = status_from_exception(caught.value)
    assert status == "crash"
    begins, ends = ("the method's predictions of image ", PREDICTIONS[method]) if method in PREDICTIONS else ("", "")
    assert reason.startswith(begins or {**LOSSES, **LISTS}[method])
    assert reason.endswith(ends)


SEGFAULT = "STATUS_ACCESS_VIOLATION" if sys.platform == "win32" else "SIGSEGV (signal 11)"
ROWS = {
    "loss_per_image": ("crash", LOSSES["loss_per_image"]),
    "loss_without_gradient": ("crash", LOSSES["loss_without_gradient"]),
    "loss_of_nan": ("diverged", "mean is nan at step 1"),
    "masks_outside": ("crash", PREDICTIONS["masks_outside"]),
    "a_dictionary": ("crash", PREDICTIONS["a_dictionary"]),
    "raises": ("crash", "ValueError: a mistake on two lines"),
    "segfaults": ("crash", f"the process was ended by {SEGFAULT}"),
    "eats_memory": ("oom", "--memory-limit"),
    "prints_100_MB": ("crash", "RuntimeError: the last words"),
    "forks_and_exits": ("crash", "exit status 0 and left no record"),
    "sys_exit_0_": ("crash", "the method called sys.exit(0) before its work was done"),
}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_each_is_a_row_and_its_neighbours_are_unharmed(plan_of: Any, tmp_path: Path, figures: Any) -> None:
    run_dir = tmp_path / "run"
    manifest = plan_of(["none"], seeds=2)
    first, second = manifest.trials
    manifest = manifest.model_copy(update={"trials": (first, *plan_of(list(ROWS)).trials, second)})
    with fastest_launcher() as ready:
        options = RunOptions(memory_limit=3 << 29, grace=1.0, launcher=ready)
        assert run_plan(manifest, run_dir, options, RecordingReporter(), write_leaderboards) == SOME_FAILED

    found, problems = read_records(run_dir)
    assert problems == []
    assert sorted(r.method for r in found) == sorted(["none", "none", *ROWS])
    for method, (status, reason) in ROWS.items():
        row = record(run_dir, method)
        assert row.status == status, (method, row.reason)
        assert reason in row.reason
        assert "\n" not in row.reason
        assert (run_dir / row.log).is_file()
    table = csv.DictReader(io.StringIO((run_dir / "leaderboard.csv").read_text(encoding="utf-8")))
    assert {row["method"]: row["status"] for row in table} == {"none": "ok", **{m: s for m, (s, _) in ROWS.items()}}
    log = run_dir / record(run_dir, "prints_100_MB").log
    assert log.stat().st_size < LOG_LIMIT + 10_000
    assert log.read_text("utf-8").rstrip().endswith("the last words")
    child = int((tmp_path / "child.pid").read_text("utf-8"))
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE

    # The healthy trials, first and last, have the results of a run of their own.
    for trial in (first, second):
        (tmp_path / trial.name).mkdir()
        alone = Trial(trial.spec, tmp_path / trial.name, ProgressFile()).run()
        beside = read_record(trial.folder(run_dir) / "record.json")
        assert (beside.status, beside.final_losses, beside.scores) == ("ok", alone.final_losses, alone.scores)
    lost = len(manifest.trials) - len(found)
    figures("misbehaving torch models", rounds=len(ROWS), lost=lost, doubled=doubled(run_dir))


@pytest.mark.slow
def test_a_hang_is_a_row_too(plan_of: Any, tmp_path: Path) -> None:
    with fastest_launcher() as ready:
        options = RunOptions(launcher=ready)
        assert run_plan(plan_of(["none"]), tmp_path, options, RecordingReporter(), write_leaderboards) == ALL_OK
        healthy = record(tmp_path, "none")
        options = replace(options, wall_limit=2 * (healthy.wall_seconds or 0), grace=0.5)
        assert run_plan(plan_of(["hangs"]), tmp_path, options, RecordingReporter(), write_leaderboards) == SOME_FAILED
    assert record(tmp_path, "hangs").status == "timeout"
    assert record(tmp_path, "none") == healthy
