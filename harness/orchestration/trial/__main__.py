"""Brings trials of a run to their records, one after the other: what a job of a cluster runs.

    python -m harness.orchestration.trial RUN_DIR NAME [NAME ...]

`run --engine` has written what each needs into its folder. SIGTERM, the file RUN_DIR/stop-engine and, where asked for,
the death of the process that started this one ask the running trial for a last checkpoint.

Exit status: 0 all are done; 1 one of them has failed; 75 one was stopped before it was done, and can be run again.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

from harness.errors import HarnessError
from harness.monitoring.placement import Placement
from harness.orchestration.bring_to_record import TrialOrder, bring_to_record
from harness.orchestration.order_file import read_order
from harness.orchestration.process.launchers import Launcher, SubprocessLauncher, fastest_launcher
from harness.orchestration.process.supervisor import StopRequest
from harness.orchestration.trial.stopping import STOP_FILE
from harness.platform.leases import LEASE_SECONDS
from harness.platform.processes import STOP_SIGNALS, ParentProcess, usable_core_numbers
from harness.results.status import FAILED

MOST_LOST = 3
"""A trial that was lost so often with the machine it ran on is given up."""
DONE, SOME_FAILED, STOPPED = 0, 1, 75

_POLL = 1.0
_BUSY_POLL = 5.0


def main(arguments: list[str] | None = None) -> int:
    """See the module. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m harness.orchestration.trial", description=__doc__)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("names", nargs="+", metavar="NAME")
    parser.add_argument("--where", default="this machine", help="for those who ask where the trial runs")
    parser.add_argument("--parent", type=int, help="process whose death ends the trials")
    parser.add_argument("--shared", action="store_true", help="the engine binds no cores, and other jobs run beside")
    typed = parser.parse_args(arguments)
    stop = StopRequest()
    for number in STOP_SIGNALS:
        signal.signal(number, lambda *_: _ask(stop))
    watch = (stop, typed.run_dir / STOP_FILE, typed.parent and ParentProcess(typed.parent))
    threading.Thread(target=_watch, args=watch, daemon=True).start()
    placement = _placement(typed.shared)
    try:
        orders = [read_order(typed.run_dir, name) for name in typed.names]
        launcher = orders[0].options.launcher
        if len(orders) == 1 and isinstance(launcher, SubprocessLauncher):
            return _run(orders, replace(launcher, placement=placement), placement, stop, typed.where)
        with fastest_launcher((), placement) as launcher:
            return _run(orders, launcher, placement, stop, typed.where)
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return STOPPED


def _run(orders: list[TrialOrder], launcher: Launcher, placement: Placement, stop: StopRequest, where: str) -> int:
    failed = False
    for order in orders:
        outcome, end = None, time.monotonic() + 2 * LEASE_SECONDS
        while outcome is None and not stop.times and time.monotonic() < end:
            outcome = bring_to_record(order, launcher, stop, placement, where=where, most_lost=MOST_LOST)
            if outcome is None and not stop.times:
                # the lease of a machine that has died ends by itself
                time.sleep(_BUSY_POLL)
        if outcome is None or outcome.record.status == "interrupted":
            return STOPPED
        failed = failed or outcome.record.status in FAILED
    return SOME_FAILED if failed else DONE


def _placement(shared: bool) -> Placement:
    """What this job has of its machine: all of it, or a part beside jobs that nobody knows.

    A cluster may give a job some cores without binding it to them. Then the job has as many threads.
    """
    gpu, cores = os.environ.get("CUDA_VISIBLE_DEVICES", ""), tuple(sorted(usable_core_numbers()))
    given = os.environ.get("SLURM_CPUS_ON_NODE", "")
    if len(cores) < (os.cpu_count() or 1):
        return Placement(trials=None, cores=cores, gpu=gpu)
    if shared or (given.isdigit() and int(given) < len(cores)):
        if given.isdigit():
            os.environ.setdefault("OMP_NUM_THREADS", given)
        return Placement(trials=None, own_cores=False, gpu=gpu)
    return Placement()


def _ask(stop: StopRequest) -> None:
    stop.times += 1


def _watch(stop: StopRequest, file: Path, parent: ParentProcess | None) -> None:
    """Ask once to stop when the file is there or the parent has died."""
    while not file.exists() and (parent is None or parent.lives()):
        time.sleep(_POLL)
    stop.times = max(stop.times, 1)


if __name__ == "__main__":
    sys.exit(main())
