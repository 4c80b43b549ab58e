"""The process of one trial: `python -m harness.orchestration.worker TRIAL_DIR`. Reads trial.json, leaves record.json.

Whatever the method does, the record says how it ended; what cannot be caught here is told by the process above.
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
from harness.monitoring.progress import ProgressPipe
from harness.platform.memory import peak_rss
from harness.results.io import RECORD, read_trial_spec, write_record
from harness.results.schema import Cost, RunRecord
from harness.results.status import NO_RECORD_EXIT, Diverged, status_from_exception

RunTrial = Callable[[TrialSpec, Path, ProgressPipe], RunRecord]

_ORPHAN_GRACE = 30.0
"""Seconds for a last checkpoint once the process above is gone."""


def main(arguments: list[str] | None = None, perform: RunTrial | None = None) -> int:
    """Work through one trial. Returns 0 where its status is ok, 1 otherwise, NO_RECORD_EXIT without a record."""
    parser = argparse.ArgumentParser(prog="python -m harness.orchestration.worker", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--progress", type=int, help="descriptor of the pipe for progress lines")
    parser.add_argument("--parent", type=int, help="process to end after")
    options = parser.parse_args(arguments)

    faulthandler.enable()
    progress = ProgressPipe(options.progress)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: progress.request_stop())
    parent = os.getppid() if options.parent is None else options.parent
    threading.Thread(target=_end_after, args=(parent, progress), daemon=True).start()

    try:
        spec = read_trial_spec(options.folder)
        record = _work(spec, options.folder, progress, perform, parent)
        write_record(options.folder / RECORD, record)
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return NO_RECORD_EXIT
    return 0 if record.status == "ok" else 1


def _work(spec: TrialSpec, folder: Path, progress: ProgressPipe, perform: RunTrial | None, parent: int) -> RunRecord:
    started, clock = utc_now(), time.monotonic()
    try:
        if perform is None:
            from harness.orchestration.trial import perform as work

            perform = work
        record = perform(spec, folder, progress)
        if record.status == "ok" and (record.scores is None or not math.isfinite(record.scores.iou_map)):
            raise Diverged("it ended without a finite score")
    # Everything: a method may call sys.exit, and its row must still say so.
    except BaseException as error:
        status, reason = status_from_exception(error)
        if os.getppid() != parent:
            # Its output had nowhere to go, which may be all that was wrong.
            status, reason = "interrupted", "the run it was part of was killed"
        with contextlib.suppress(OSError):
            traceback.print_exc()
        record = RunRecord.from_spec(spec, status, reason, cost=Cost(peak_host_rss=peak_rss()))
    cost = record.cost.model_copy(update={"notes": [*record.cost.notes, *spec.cost_notes()]})
    ended = {"cost": cost, "started": started, "finished": utc_now(), "wall_seconds": time.monotonic() - clock}
    return record.model_copy(update=ended)


def _end_after(parent: int, progress: ProgressPipe) -> None:
    """Where the process above is killed, write a checkpoint and end: nobody would end this one any more."""
    while os.getppid() == parent:
        time.sleep(0.5)
    progress.request_stop()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for output in (1, 2):
        os.dup2(nowhere, output)
    time.sleep(_ORPHAN_GRACE)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def work_and_leave(arguments: list[str] | None = None) -> NoReturn:
    """Work through one trial, as the whole life of this process."""
    exit_status = main(arguments)
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    # Not sys.exit: a thread or an exit handler of the method's must not hold up what is done.
    os._exit(exit_status)


if __name__ == "__main__":
    work_and_leave()
