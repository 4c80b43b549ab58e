"""Trials on a SLURM cluster: arrays of jobs, one trial each. It needs sbatch, squeue, scontrol and scancel, no sacct.

RUN_DIR/slurm/ holds the job script, the names of each array's trials, the jobs' output and jobs.json with the numbers
of the jobs, by which the next run finds those that a lost login session has left.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import ClassVar

from harness.errors import HarnessError, storage_error
from harness.fileio import make_folder, write_json_atomic, write_text_atomic
from harness.orchestration.attempts import read_attempts
from harness.orchestration.bring_to_record import TrialOrder, write_left_record
from harness.orchestration.engines.engine import Resources, TrialState
from harness.orchestration.order_file import write_order
from harness.orchestration.trial.stopping import STOP_FILE
from harness.orchestration.trial_folder import existing_record
from harness.results.schema import RunRecord, Status

FOLDER, JOBS, SCRIPT = "slurm", "jobs.json", "job.sh"
SIGNAL_SECONDS = 60
"""Before a time limit: for the last checkpoint."""
_DEFAULT_ARRAY_SIZE = 1001
_RECORD_SECONDS = 10.0
"""A record may be so late on a shared disk after its job has ended."""
_GPU_WORDS = ("--gres", "--gpus", "-G", "--gpus-per-node", "--gpus-per-task", "--tres-per-task")

_WAITS = frozenset(("PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"))
_RUNS = frozenset(
    ("RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "STAGE_OUT", "SIGNALING", "STOPPED", "RESIZING")
)

_SCRIPT = """\
#!/bin/bash
# Runs one trial of an array. A time limit or a preemption is a checkpoint, and the trial waits for its next turn.
# job.sh NAMES RUN_DIR PYTHON
name=$(sed -n "$((SLURM_ARRAY_TASK_ID + 1))p" "$1")
# not SLURM_JOB_ID: one job of an array has the number of the array itself, which means all of them
job=${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID
where="node $SLURMD_NODENAME, job $job"
asked=0
trap 'asked=1; signalled=1; kill -TERM "$pid" 2>/dev/null' TERM
"$3" -m harness.orchestration.trial "$2" "$name" --where "$where" &
pid=$!
# a signal ends a wait early, with a status of its own, even where the trial has ended by then
signalled=1
while [ "$signalled" -eq 1 ]; do
    signalled=0
    wait "$pid"
    status=$?
done
if [ "$status" -eq 75 ] && [ "$asked" -eq 1 ] && [ ! -e "$2/{stop}" ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt 100 ] &&
    [ "$(squeue -h -j "$job" -o %T)" = RUNNING ]; then
    scontrol requeue "$job"
fi
exit "$status"
"""


def job_script() -> str:
    """What each job of an array runs, with bash."""
    return _SCRIPT.format(stop=STOP_FILE)


@dataclass(frozen=True)
class _Array:
    """One array of jobs. token: its name in SLURM. job: its number; empty until sbatch has said it."""

    token: str
    job: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Task:
    """What SLURM says of one job of an array."""

    state: str
    node: str = ""


class SlurmEngine:
    """Submits arrays and asks SLURM for their states. The records in the trials' folders win over what it says."""

    outlives_run: ClassVar[bool] = True
    slots: ClassVar[int | None] = None

    def __init__(self, run_dir: Path, options: str = "", poll_seconds: float = 3.0) -> None:
        """
        Args:
            run_dir: of the run, on a disk that all nodes see.
            options: of sbatch, as typed: "-p gpu --time=2:00:00".
            poll_seconds: between two questions to SLURM.

        Raises:
            HarnessError: there is no SLURM here.
        """
        if shutil.which("sbatch") is None:
            raise HarnessError("--engine slurm needs sbatch; type the command on a login node of the cluster")
        self._run_dir, self._options, self._poll = run_dir.resolve(), shlex.split(options), poll_seconds
        self._folder = self._run_dir / FOLDER
        self._orders: dict[str, TrialOrder] = {}
        self._arrays: list[_Array] = []
        self._asked_at = -float("inf")
        self._last: dict[str, TrialState] = {}
        self._gone_since: dict[str, float] = {}
        self._stopped = False

    def submit(self, trials: Sequence[TrialOrder], resources: Resources) -> None:
        self._orders = {order.name: order for order in trials}
        make_folder(self._folder)
        (self._run_dir / STOP_FILE).unlink(missing_ok=True)
        self._arrays = self._arrays_of_earlier_runs()
        tasks = self._tasks()
        live = {name for name, task in tasks.items() if task.state in _WAITS | _RUNS}
        new = [order for order in trials if order.name not in live]
        self._arrays = [array for array in self._arrays if live.intersection(array.names)]
        for order in new:
            write_order(replace(order, run_dir=self._run_dir))
        write_text_atomic(self._folder / SCRIPT, job_script())
        size = _max_array_size()
        for begin in range(0, len(new), size):
            self._submit_array([order.name for order in new[begin : begin + size]], resources)
        self._asked_at = -float("inf")

    def states(self) -> Mapping[str, TrialState]:
        if time.monotonic() - self._asked_at < self._poll:
            return self._last
        tasks = self._tasks()
        self._asked_at = time.monotonic()
        found: dict[str, TrialState] = {}
        for name, order in list(self._orders.items()):
            state = self._state(order, tasks.get(name))
            if state is not None:
                found[name] = state
            if state is not None and state.phase == "ended":
                del self._orders[name]
        self._last = {name: state for name, state in found.items() if state.phase != "ended"}
        return found

    def stop(self, times: int) -> None:
        self._stopped = True
        (self._run_dir / STOP_FILE).touch()
        jobs = [array.job for array in self._arrays if array.job]
        if jobs:
            _output("scancel", *(["--state=PENDING"] if times == 1 else []), *jobs)
        self._asked_at = -float("inf")

    def _state(self, order: TrialOrder, task: _Task | None) -> TrialState | None:
        """None for a trial that waits."""
        if task is not None and task.state in _WAITS:
            return None
        if task is not None and task.state in _RUNS:
            return TrialState("running")
        since = self._gone_since.setdefault(order.name, time.monotonic())
        record = existing_record(order.folder, order.trial.spec.key)
        attempted = read_attempts(order.folder)
        if record is not None and not attempted:
            return TrialState("ended", record)
        if self._stopped and not attempted:
            del self._orders[order.name]
            return None
        if time.monotonic() - since < _RECORD_SECONDS:
            return TrialState("running")
        record = self._left_record(order, task or _Task("no more of it"))
        return TrialState("running") if record is None else TrialState("ended", record)

    def _left_record(self, order: TrialOrder, task: _Task) -> RunRecord | None:
        status: Status = "oom" if task.state == "OUT_OF_MEMORY" else "interrupted"
        more = "; ask for more memory with --engine-options --mem=SIZE" if status == "oom" else ""
        on = f" on {task.node}" if task.node else ""
        reason = f"its job ended without a record, and SLURM says {task.state}{on}{more}; its output is in {FOLDER}/"
        return write_left_record(order, status, reason)

    def _tasks(self) -> dict[str, _Task]:
        """By trial, what SLURM still knows of the arrays' jobs."""
        names = {array.job: array.names for array in self._arrays if array.job}
        if not names:
            return {}
        found = {}
        for line in _output("squeue", "-h", "-r", "--me", "-t", "all", "-o", "%F|%K|%T|%N").splitlines():
            job, index, state, node = line.strip().split("|")
            if job in names and index.isdigit() and int(index) < len(names[job]):
                found[names[job][int(index)]] = _Task(state, node)
        return found

    def _arrays_of_earlier_runs(self) -> list[_Array]:
        """Those in jobs.json; one whose number was not written any more is found by its name."""
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            plain = json.loads((self._folder / JOBS).read_text(encoding="utf-8"))
            found = [_Array(str(one["token"]), str(one["job"]), tuple(map(str, one["names"]))) for one in plain]
            return [array if array.job else replace(array, job=_job_of_name(array.token)) for array in found]
        return []

    def _submit_array(self, names: Sequence[str], resources: Resources) -> None:
        token = f"harness-{secrets.token_hex(4)}"
        listed = self._folder / f"{token}.txt"
        write_text_atomic(listed, "".join(f"{name}\n" for name in names))
        self._arrays.append(_Array(token, "", tuple(names)))
        self._write_arrays()
        wants_gpu = resources.gpus and not any(word.split("=")[0] in _GPU_WORDS for word in self._options)
        said = _output(
            "sbatch",
            "--parsable",
            f"--array=0-{len(names) - 1}",
            f"--job-name={token}",
            f"--output={self._folder}/%A_%a.log",
            "--open-mode=append",
            f"--signal=B:TERM@{SIGNAL_SECONDS}",
            "--requeue",
            *([f"--cpus-per-task={resources.cores}"] if resources.cores else []),
            *([f"--gres=gpu:{resources.gpus}"] if wants_gpu else []),
            *self._options,
            str(self._folder / SCRIPT),
            str(listed),
            str(self._run_dir),
            sys.executable,
        )
        self._arrays[-1] = replace(self._arrays[-1], job=said.strip().partition(";")[0])
        self._write_arrays()

    def _write_arrays(self) -> None:
        write_json_atomic(self._folder / JOBS, [asdict(array) for array in self._arrays])


def _job_of_name(token: str) -> str:
    """The number of an array by its name; empty where SLURM never got it, or has forgotten it."""
    return next(iter(_output("squeue", "-h", "--me", "-t", "all", f"--name={token}", "-o", "%F").split()), "")


def _max_array_size() -> int:
    """How many jobs an array may have on this cluster."""
    for line in _output("scontrol", "show", "config").splitlines():
        name, _, value = line.partition("=")
        if name.strip() == "MaxArraySize" and value.strip().isdigit():
            return max(1, int(value))
    return _DEFAULT_ARRAY_SIZE


def _output(*words: str) -> str:
    """What a command of SLURM prints. Raises HarnessError with its own words where it fails."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=True, env=dict(os.environ))
    except subprocess.CalledProcessError as error:
        said = " ".join((error.stderr or error.stdout or "").split())
        raise HarnessError(f"{words[0]}: {said or f'exit status {error.returncode}'}") from error
    except OSError as error:
        raise storage_error(Path(words[0]), error) from error
    return done.stdout
