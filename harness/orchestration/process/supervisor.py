"""Runs one trial in its own process, and always returns its record, whatever the method does."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.config.trial_spec import TrialSpec
from harness.errors import HarnessError
from harness.monitoring.cpu_fallback import FALLBACK
from harness.monitoring.machine import machine_facts, utc_now
from harness.monitoring.placement import ALONE, Placement
from harness.monitoring.progress import Progress, ProgressReader, remove_progress
from harness.orchestration.process.launchers import Launcher, ProcessExit
from harness.orchestration.process.log_pump import LogPump
from harness.orchestration.process.trial_process import TrialProcess, kill_leftovers
from harness.orchestration.trial_folder import LOG, prepare_folder
from harness.platform.memory import machine_memory
from harness.platform.oom_kills import OomKills
from harness.results.io import RECORD, TRIALS, read_record, write_record
from harness.results.schema import Cost, RunRecord, Status
from harness.results.status import printable, status_from_exit_code

_POLL = 0.2
"""Seconds between two checks of a trial."""
WARM_UP = "warming up"
"""The phase in which networks are compiled."""


@dataclass(frozen=True)
class Limits:
    """What a trial may take before it is stopped.

    wall_seconds: from its start, without the part of its warm-up that warm_up_seconds covers.
    memory_bytes: resident, of all its processes together.
    grace_seconds: for a last checkpoint, between the request to stop and the kill.
    warm_up_seconds: how much of the warm-up is left out of wall_seconds. Compiling a network takes minutes that no
    budget knows.
    """

    wall_seconds: float
    memory_bytes: int
    grace_seconds: float
    warm_up_seconds: float = 0.0


def default_memory_limit(trials: int = 1) -> int:
    """Bytes: 90 % of what the machine, container or job has, divided by the trials that run side by side."""
    return int(0.9 * machine_memory() / trials)


@dataclass
class StopRequest:
    """Number of requests to stop, by the user or the cluster. The second one skips the last checkpoint."""

    times: int = 0


@dataclass
class _Observation:
    """What the supervisor observed of a trial. stopped_as: the status, where this process stopped the trial."""

    stopped_as: Status | None = None
    reason: str = ""
    peak_memory: int = 0


def run_trial(
    spec: TrialSpec,
    folder: Path,
    limits: Limits,
    stop: StopRequest,
    on_progress: Callable[[Progress], None],
    launcher: Launcher,
    placement: Placement = ALONE,
) -> RunRecord:
    """Run one trial in its own process.

    Args:
        spec: the trial.
        folder: of the trial; the caller holds its lock.
        limits: what the trial may take.
        stop: checked five times a second.
        on_progress: called with every progress report.
        launcher: starts the process.
        placement: what the launcher gives the process of the machine.

    Returns:
        The record, which is on disk by then.

    Raises:
        StorageError: the disk takes no record.
        HarnessError: no process can be started.
    """
    kill_leftovers(folder)
    prepare_folder(folder, spec)
    started, begin, oom_kills = utc_now(), time.monotonic(), OomKills()
    process = TrialProcess(launcher, folder, _environment(spec))
    pump = LogPump(process.output, folder / LOG)
    try:
        seen = _supervise(process, pump, ProgressReader(folder), limits, stop, on_progress, oom_kills)
    finally:
        ended = process.kill()
        pump.finish()
        remove_progress(folder)

    record, damage = _read_left_record(folder, spec.key)
    if record is None:
        status, reason = _judge(seen, damage, ended, oom_kills.have_grown(), printable(pump.last_line()))
        notes = [*placement.notes(), *spec.cost_notes()]
        record = RunRecord.from_spec(
            spec,
            status,
            reason,
            started=started,
            wall_seconds=time.monotonic() - begin,
            cost=Cost(peak_host_rss=max(seen.peak_memory, ended.peak_memory) or None, notes=notes),
            machine={**machine_facts(), **placement.facts()},
        )
    elif record.status == "interrupted" and seen.stopped_as not in (None, "interrupted"):
        reason = printable(f"{seen.reason}; {record.reason}")
        record = record.model_copy(update={"status": seen.stopped_as, "reason": reason})
    log = f"{TRIALS}/{folder.name}/{LOG}"
    return write_record(folder / RECORD, record.model_copy(update={"log": log}))


def _judge(
    seen: _Observation, damage: str, ended: ProcessExit, kernel_ran_out: bool, last_line: str
) -> tuple[Status, str]:
    """Status and reason of a trial whose process has left no good record."""
    if seen.stopped_as is not None:
        return seen.stopped_as, seen.reason
    if damage:
        return "crash", damage
    return status_from_exit_code(ended.code, kernel_ran_out, last_line)


def _read_left_record(folder: Path, key: str) -> tuple[RunRecord | None, str]:
    """The worker's record, or what is wrong with it. Neither where there is none."""
    if not (folder / RECORD).exists():
        return None, ""
    try:
        record = read_record(folder / RECORD)
    except HarnessError as error:
        return None, printable(f"its record cannot be read ({error}); was the harness changed while it ran?")
    return (record, "") if record.key == key else (None, "it left the record of other work")


def _environment(spec: TrialSpec) -> dict[str, str]:
    environment = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"} if spec.deterministic else {}
    return {**environment, FALLBACK: "1"} if spec.device == "mps" else environment


def _supervise(
    process: TrialProcess,
    pump: LogPump,
    reader: ProgressReader,
    limits: Limits,
    stop: StopRequest,
    on_progress: Callable[[Progress], None],
    oom_kills: OomKills,
) -> _Observation:
    """Watch the trial until it has ended, or must be killed."""
    seen = _Observation()
    clock = _WallClock(limits.warm_up_seconds)
    kill_at = float("inf")
    while not process.ended():
        if pump.wait(_POLL):
            # The worker has closed its output, usually because it is about to exit: do not spin until then.
            time.sleep(_POLL / 10)
        progress = reader.newest()
        if progress is not None:
            on_progress(progress)
            clock.enter(progress.phase)
        oom_kills.look_at(process.pid)
        memory = process.memory()
        seen.peak_memory = max(seen.peak_memory, memory)
        if memory > limits.memory_bytes or _machine_is_full(memory):
            seen.stopped_as = "oom"
            limit = f"{limits.memory_bytes / 2**30:.1f} GiB"
            seen.reason = f"stopped at {memory / 2**30:.1f} GiB of memory; the limit is {limit}, --memory-limit"
            return seen
        if kill_at == float("inf"):
            if stop.times:
                seen.stopped_as, seen.reason = "interrupted", "stopped on request"
            elif clock.seconds() > limits.wall_seconds:
                seen.stopped_as = "timeout"
                seen.reason = f"not done after {limits.wall_seconds:,.0f} s; --wall-limit sets the limit"
            if seen.stopped_as is not None:
                kill_at = time.monotonic() + limits.grace_seconds
                process.ask_to_stop()
        if time.monotonic() > kill_at or stop.times > 1:
            return seen
    return seen


class _WallClock:
    """Seconds since the start, without the first `warm_up_seconds` that were spent in the phase WARM_UP."""

    def __init__(self, warm_up_seconds: float) -> None:
        self._allowance = warm_up_seconds
        self._start = time.monotonic()
        self._warm_up = 0.0
        self._warm_up_since: float | None = None

    def enter(self, phase: str) -> None:
        """The trial is now in this phase."""
        now_ = time.monotonic()
        if self._warm_up_since is not None:
            self._warm_up += now_ - self._warm_up_since
        self._warm_up_since = now_ if phase == WARM_UP else None

    def seconds(self) -> float:
        now_ = time.monotonic()
        warm_up = self._warm_up + (0.0 if self._warm_up_since is None else now_ - self._warm_up_since)
        return now_ - self._start - min(warm_up, self._allowance)


def _machine_is_full(memory: int) -> bool:
    """Whether the machine has less than 2 % of its memory left, and this trial holds more than a quarter of all."""
    import psutil

    facts = psutil.virtual_memory()
    return facts.available < 0.02 * facts.total and memory > 0.25 * facts.total
