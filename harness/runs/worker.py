"""The process of one cell: `python -m harness.runs.worker CELL_DIR`. Reads cell.json, leaves record.json.

Whatever the method does, the record says how it ended; what cannot be caught here is told by the process above.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from harness.errors import HarnessError
from harness.runs.cell_files import CELL, read_cell
from harness.runs.new_record import new_record, notes, now
from harness.runs.outcomes import of_exception
from harness.runs.progress import ProgressPipe
from harness.runs.record import RunRecord
from harness.runs.records import RECORD, write_record
from harness.runs.spec import CellSpec

Perform = Callable[[CellSpec, Path, ProgressPipe], RunRecord]

NO_RECORD_EXIT = 75
"""Exit status where the disk would not take the record (EX_TEMPFAIL)."""

_ORPHAN_GRACE = 30.0
"""Seconds for a last checkpoint once the process above is gone."""


def main(arguments: list[str] | None = None, perform: Perform | None = None) -> int:
    """Work through one cell. Returns 0 where its status is ok, 1 otherwise, NO_RECORD_EXIT without a record."""
    parser = argparse.ArgumentParser(prog="python -m harness.runs.worker", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--progress", type=int, help="descriptor of the pipe for progress lines")
    parser.add_argument("--parent", type=int, help="process to end after")
    options = parser.parse_args(arguments)

    faulthandler.enable()
    progress = ProgressPipe(options.progress)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: progress.request_stop())
    if options.parent is not None:
        threading.Thread(target=_end_after, args=(options.parent, progress), daemon=True).start()

    try:
        spec = read_cell(options.folder / CELL)
        record = _work(spec, options.folder, progress, perform)
        write_record(options.folder / RECORD, record)
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return NO_RECORD_EXIT
    return 0 if record.status == "ok" else 1


def _work(spec: CellSpec, folder: Path, progress: ProgressPipe, perform: Perform | None) -> RunRecord:
    started, clock = now(), time.monotonic()
    try:
        if perform is None:
            from harness.engine.work import perform as work

            perform = work
        record = perform(spec, folder, progress)
    # Everything: a method may call sys.exit, and its row must still say so.
    except BaseException as error:
        traceback.print_exc()
        status, reason = of_exception(error)
        record = new_record(spec, status, reason)
    cost = record.cost.model_copy(update={"notes": [*record.cost.notes, *notes(spec)]})
    ended = {"cost": cost, "started": started, "finished": now(), "wall_seconds": time.monotonic() - clock}
    return record.model_copy(update=ended)


def _end_after(parent: int, progress: ProgressPipe) -> None:
    """Where the process above is killed, write a checkpoint and end: nobody would end this one any more."""
    while os.getppid() == parent:
        time.sleep(0.5)
    progress.request_stop()
    time.sleep(_ORPHAN_GRACE)
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    exit_status = main()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    # Not sys.exit: a thread or an exit handler of the method's must not hold up what is done.
    os._exit(exit_status)
