"""The process of one trial: `python -m harness.orchestration.worker TRIAL_DIR`. Reads trial.json, writes record.json.

The record says how the trial ended, whatever the method does. Where the process ends without a record, the process
that started it writes one.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import math
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from harness.config.trial_spec import TrialSpec
from harness.errors import HarnessError
from harness.monitoring.machine import utc_now
from harness.monitoring.placement import placement_of_this_process
from harness.monitoring.progress import ProgressFile
from harness.platform.console import print_any_character
from harness.platform.memory import peak_rss
from harness.platform.processes import STOP_SIGNALS, ParentProcess, kill_own_group
from harness.results.io import RECORD, read_trial_spec, write_record
from harness.results.schema import Cost, RunRecord
from harness.results.status import NO_RECORD_EXIT, Diverged, status_from_exception

RunTrial = Callable[[TrialSpec, Path, ProgressFile], RunRecord]
"""Does the work of a trial in its folder, and returns a record with status "ok"."""

_PARENT_POLL = 0.5
"""Seconds between two checks that the parent process still lives."""
_ORPHAN_GRACE = 30.0
"""Seconds for a last checkpoint after the parent process has died."""


def main(arguments: list[str] | None = None, run_trial: RunTrial | None = None) -> int:
    """Run one trial and write its record.

    Args:
        arguments: of the command line; None for those of this process.
        run_trial: does the work; None for harness.orchestration.trial.work.Trial.

    Returns:
        0 where the status is ok, 1 where it is another, NO_RECORD_EXIT where no record could be written.
    """
    parser = argparse.ArgumentParser(prog="python -m harness.orchestration.worker", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--parent", type=int, help="process whose death ends this one")
    options = parser.parse_args(arguments)

    print_any_character()
    faulthandler.enable()
    progress = ProgressFile(options.folder)
    for number in STOP_SIGNALS:
        signal.signal(number, lambda *_: progress.request_stop())
    parent = ParentProcess(os.getppid() if options.parent is None else options.parent)
    threading.Thread(target=_exit_after_parent, args=(parent, progress), daemon=True).start()

    try:
        spec = read_trial_spec(options.folder)
        record = _run_and_record(spec, options.folder, progress, run_trial or _run_trial, parent)
        write_record(options.folder / RECORD, record)
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return NO_RECORD_EXIT
    return 0 if record.status == "ok" else 1


def run_and_exit(arguments: list[str] | None = None) -> NoReturn:
    """Run one trial, then end this process."""
    exit_status = main(arguments)
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    # Not sys.exit: threads and exit handlers of the method could keep the process alive.
    os._exit(exit_status)


def _run_trial(spec: TrialSpec, folder: Path, progress: ProgressFile) -> RunRecord:
    # Imported here, so that a missing package is a record.
    from harness.orchestration.trial.work import Trial

    return Trial(spec, folder, progress).run()


def _run_and_record(
    spec: TrialSpec, folder: Path, progress: ProgressFile, run_trial: RunTrial, parent: ParentProcess
) -> RunRecord:
    """The record of the trial, whatever its work raises."""
    started, begin = utc_now(), time.monotonic()
    try:
        record = run_trial(spec, folder, progress)
        unscored = record.scores is None or not math.isfinite(record.scores.iou_map)
        if record.status == "ok" and unscored and spec.split.is_scored:
            raise Diverged("it ended without a finite score")
    # BaseException: a method may call sys.exit, and its row must say so.
    except BaseException as error:
        status, reason = status_from_exception(error)
        if not parent.lives():
            # The error may only be that nobody reads the output any more.
            status, reason = "interrupted", "the run that started this trial was killed"
        with contextlib.suppress(OSError):
            traceback.print_exc()
        record = RunRecord.from_spec(spec, status, reason, cost=Cost(peak_host_rss=peak_rss()))
    beside = placement_of_this_process().notes(record.cost.energy_of)
    cost = record.cost.model_copy(update={"notes": [*record.cost.notes, *beside, *spec.cost_notes()]})
    times = {"started": started, "finished": utc_now(), "wall_seconds": time.monotonic() - begin}
    return record.model_copy(update={"cost": cost, **times})


def _exit_after_parent(parent: ParentProcess, progress: ProgressFile) -> None:
    """Where the parent process dies, ask for a last checkpoint, then kill this process group.

    Nobody else would end this process: Ctrl-C reaches the parent alone.
    """
    while parent.lives():
        time.sleep(_PARENT_POLL)
    progress.request_stop()
    # What reads the output has died too: without this, the next print would be an error.
    devnull = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(devnull, descriptor)
    time.sleep(_ORPHAN_GRACE)
    kill_own_group()


if __name__ == "__main__":
    run_and_exit()
