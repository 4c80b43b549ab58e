"""Runs one trial in a process of its own and always comes back with its record, whatever the method does."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.config.trial_spec import TrialSpec
from harness.errors import HarnessError
from harness.monitoring.machine import utc_now
from harness.monitoring.progress import Progress, ProgressReader
from harness.orchestration.process.launchers import Launcher
from harness.orchestration.process.log_pump import LogPump
from harness.orchestration.process.processes import TrialProcess, end_leftovers
from harness.orchestration.trial_folder import LOG, prepare
from harness.platform.memory import machine_memory
from harness.platform.oom_kills import kernel_oom_kills
from harness.results.io import RECORD, TRIALS, read_record, write_record
from harness.results.schema import Cost, RunRecord, Status
from harness.results.status import printable, status_from_exit_code

_POLL = 0.2
"""Seconds between two looks at a trial."""


@dataclass(frozen=True)
class Limits:
    """What a trial may take. wall_seconds: from its start; memory_bytes: resident, with all it starts.

    grace_seconds: for a last checkpoint, between being asked to stop and being killed.
    """

    wall_seconds: float
    memory_bytes: int
    grace_seconds: float


def default_memory_limit() -> int:
    """Bytes: 90 % of what the machine or container has."""
    return int(0.9 * machine_memory())


@dataclass
class StopRequest:
    """How often the person at the keyboard, or the cluster, has asked to stop. Twice means at once."""

    times: int = 0


@dataclass
class _Watch:
    """What was seen of a trial from outside. ended_by_us: the status that names why it was stopped."""

    ended_by_us: Status | None = None
    reason: str = ""
    peak_memory: int = 0


def run_trial(
    spec: TrialSpec,
    folder: Path,
    limits: Limits,
    stop: StopRequest,
    on_progress: Callable[[Progress], None],
    launcher: Launcher,
) -> RunRecord:
    """Work through one trial, in `folder`, whose lock the caller holds; its record, which is on disk when this returns.

    Raises StorageError where the disk takes no record, HarnessError where no process can be started.
    """
    end_leftovers(folder)
    prepare(folder, spec)
    started, clock, oom_kills = utc_now(), time.monotonic(), kernel_oom_kills()
    process = TrialProcess(launcher, folder, _environment(spec))
    pump = LogPump(process.output, folder / LOG)
    try:
        watch = _watch(process, limits, stop, on_progress)
    finally:
        ended = process.end_all()
        pump.finish()
        os.close(process.progress)

    log = f"{TRIALS}/{folder.name}/{LOG}"
    record, unreadable = _record_left(folder, spec.key)
    if record is None:
        status, reason = watch.ended_by_us, watch.reason
        if status is None and unreadable:
            status, reason = "crash", unreadable
        elif status is None:
            status, reason = status_from_exit_code(
                ended.code, kernel_oom_kills() != oom_kills, printable(pump.last_line())
            )
        cost = Cost(peak_host_rss=max(watch.peak_memory, ended.peak_memory) or None, notes=spec.cost_notes())
        wall = time.monotonic() - clock
        record = RunRecord.from_spec(spec, status, reason, started=started, wall_seconds=wall, cost=cost)
    elif record.status == "interrupted" and watch.ended_by_us not in (None, "interrupted"):
        reason = printable(f"{watch.reason}; {record.reason}")
        record = record.model_copy(update={"status": watch.ended_by_us, "reason": reason})
    return write_record(folder / RECORD, record.model_copy(update={"log": log}))


def _record_left(folder: Path, key: str) -> tuple[RunRecord | None, str]:
    """The worker's record, or why what it left cannot be one; neither where it left nothing."""
    if not (folder / RECORD).exists():
        return None, ""
    try:
        record = read_record(folder / RECORD)
    except HarnessError as error:
        return None, printable(f"its record cannot be read ({error}); was the harness changed while it ran?")
    return (record, "") if record.key == key else (None, "it left the record of other work")


def _environment(spec: TrialSpec) -> dict[str, str]:
    return {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"} if spec.deterministic else {}


def _watch(process: TrialProcess, limits: Limits, stop: StopRequest, on_progress: Callable[[Progress], None]) -> _Watch:
    """Look at the trial until it has ended or must be killed."""
    watch = _Watch()
    reader = ProgressReader()
    started = time.monotonic()
    kill_at = float("inf")
    while not process.ended():
        progress = reader.feed(_available(process.progress))
        if progress is not None:
            on_progress(progress)
        memory = process.memory()
        watch.peak_memory = max(watch.peak_memory, memory)
        if memory > limits.memory_bytes or _machine_is_full(memory):
            watch.ended_by_us = "oom"
            watch.reason = f"stopped at {memory / 2**30:.1f} GiB of memory; the limit is {_gib(limits)}, --memory-limit"
            return watch
        now_ = time.monotonic()
        if kill_at == float("inf"):
            if stop.times:
                watch.ended_by_us, watch.reason = "interrupted", "stopped on request"
            elif now_ - started > limits.wall_seconds:
                watch.ended_by_us = "timeout"
                watch.reason = f"not done after {limits.wall_seconds:,.0f} s; --wall-limit sets the limit"
            if watch.ended_by_us is not None:
                kill_at = now_ + limits.grace_seconds
                process.ask_to_stop()
        if now_ > kill_at or stop.times > 1:
            return watch
    return watch


def _available(descriptor: int) -> bytes:
    """What is in a pipe, after waiting for it a little."""
    readable, _, _ = select.select([descriptor], [], [], _POLL)
    if not readable:
        return b""
    data = os.read(descriptor, 2**16)
    if not data:
        # The worker's end is closed, as a rule because it is just ending.
        time.sleep(_POLL / 10)
    return data


def _machine_is_full(memory: int) -> bool:
    """Whether next to nothing is left, and this trial holds a good part of what is used."""
    import psutil

    facts = psutil.virtual_memory()
    return facts.available < 0.02 * facts.total and memory > 0.25 * facts.total


def _gib(limits: Limits) -> str:
    return f"{limits.memory_bytes / 2**30:.1f} GiB"
