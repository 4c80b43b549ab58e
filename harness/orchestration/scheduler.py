"""Works through a plan, one trial after the other, and goes on from where an earlier run of it ended.

Done are trials with a record of the same key: `ok` for good; `oom`, `timeout`, `crash` and `diverged` until
`retry_failed` asks for them again. A trial that was interrupted or skipped, or has no good record, is missing: it is
done, from its newest checkpoint.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Literal, Protocol

from harness.config.trial_spec import TrialSpec
from harness.errors import HarnessError
from harness.fileio import remove_temporaries
from harness.monitoring.progress import Progress
from harness.orchestration.plan import Manifest, PlannedTrial, write_manifest
from harness.orchestration.process.launchers import Launcher, SubprocessLauncher
from harness.orchestration.process.supervisor import Limits, StopRequest, default_memory_limit, run_trial
from harness.orchestration.trial_folder import prepare, record_of
from harness.orchestration.wall_limit import wall_limit
from harness.platform.locks import folder_lock, trial_lock
from harness.results.io import RECORD, read_trial_spec, write_record
from harness.results.schema import DataFacts, RunRecord
from harness.results.status import FAILED
from harness.training.checkpoint_files import remove_blobs

ALL_OK, SOME_FAILED, INTERRUPTED = 0, 1, 130


@dataclass(frozen=True)
class RunOptions:
    """How a plan is worked through; none of it changes a score.

    wall_limit: seconds a trial may take, None to derive it from the budget. memory_limit: bytes a trial may hold, None
    for 90 % of the machine. on_oom: "halve" starts a trial that ran out of memory again with micro-batches half as big.
    grace: seconds for the last checkpoint of a trial that is told to stop. launcher: what starts a trial's process.
    """

    wall_limit: float | None = None
    memory_limit: int | None = None
    on_oom: Literal["record", "halve"] = "record"
    retry_failed: bool = False
    grace: float = 60.0
    launcher: Launcher = field(default_factory=SubprocessLauncher)


class Reporter(Protocol):
    """Told what happens, to show it."""

    def started(self, trial: PlannedTrial, index: int, total: int) -> None: ...
    def progress(self, trial: PlannedTrial, progress: Progress) -> None: ...
    def ended(self, trial: PlannedTrial, record: RunRecord) -> None: ...
    def kept(self, trial: PlannedTrial, record: RunRecord) -> None:
        """The trial has a record of an earlier run, which stands."""

    def waiting(self, trial: PlannedTrial) -> None:
        """Another run works on the trial; it is waited for."""

    def stopping(self, times: int) -> None:
        """Asked to stop, for the first or a later time."""


def run_plan(
    manifest: Manifest,
    run_dir: Path,
    options: RunOptions,
    reporter: Reporter,
    write_leaderboards: Callable[[Path], object],
) -> int:
    """Bring every trial of the plan to a record. write_leaderboards: called with run_dir after each.

    Returns ALL_OK where every trial is ok or skipped and one is ok, INTERRUPTED where asked to stop, else SOME_FAILED.
    Raises HarnessError where run_dir holds other work or the disk takes no files.
    """
    write_manifest(run_dir, manifest)
    stop = StopRequest()
    with _signals(stop, reporter):
        records = _work_through(manifest, run_dir, options, reporter, write_leaderboards, stop)
    with folder_lock(run_dir):
        write_leaderboards(run_dir)
    if stop.times:
        return INTERRUPTED
    statuses = {record.status for record in records}
    return ALL_OK if "ok" in statuses and statuses <= {"ok", "skipped"} else SOME_FAILED


def _work_through(
    manifest: Manifest,
    run_dir: Path,
    options: RunOptions,
    reporter: Reporter,
    write_leaderboards: Callable[[Path], object],
    stop: StopRequest,
) -> list[RunRecord]:
    """The records of the plan's trials; fewer where asked to stop."""
    records: list[RunRecord] = []
    pending = list(manifest.trials)
    waited_for: str | None = None
    while pending and not stop.times:
        busy: list[PlannedTrial] = []
        for trial in pending:
            if stop.times:
                break
            with trial_lock(trial.folder(run_dir)) as ours:
                if not ours:
                    busy.append(trial)
                    continue
                record = record_of(trial.folder(run_dir), trial.spec.key)
                data = manifest.data[trial.spec.data_fingerprint]
                if record is not None and _stands(record, options):
                    records.append(_finish(record, trial.folder(run_dir), data))
                    reporter.kept(trial, records[-1])
                    continue
                reporter.started(trial, manifest.trials.index(trial) + 1, len(manifest.trials))
                record = _run(trial, manifest, run_dir, options, reporter, stop)
                records.append(_finish(record, trial.folder(run_dir), data))
            with folder_lock(run_dir):
                write_leaderboards(run_dir)
            reporter.ended(trial, records[-1])
        if len(busy) == len(pending):
            if waited_for != busy[0].name:
                reporter.waiting(busy[0])
                waited_for = busy[0].name
            time.sleep(0.5)
        pending = busy
    return records


def _stands(record: RunRecord, options: RunOptions) -> bool:
    return record.status == "ok" or (record.status in FAILED and not options.retry_failed)


def _run(
    trial: PlannedTrial, manifest: Manifest, run_dir: Path, options: RunOptions, reporter: Reporter, stop: StopRequest
) -> RunRecord:
    folder = trial.folder(run_dir)
    if trial.skip_reason:
        prepare(folder, trial.spec)
        return write_record(folder / RECORD, RunRecord.from_spec(trial.spec, "skipped", trial.skip_reason))
    limits = Limits(
        wall_seconds=options.wall_limit or wall_limit(trial.spec, manifest.data[trial.spec.data_fingerprint]),
        memory_bytes=options.memory_limit or default_memory_limit(),
        grace_seconds=options.grace,
    )
    spec = trial.spec if options.on_oom == "record" else _as_last_tried(trial.spec, folder)
    while True:
        record = run_trial(
            spec, folder, limits, stop, lambda progress: reporter.progress(trial, progress), options.launcher
        )
        parts = 2 * spec.micro_batches
        if record.status != "oom" or options.on_oom == "record" or parts > spec.preset.training.batch or stop.times:
            return record
        spec = spec.model_copy(update={"micro_batches": parts})


def _as_last_tried(spec: TrialSpec, folder: Path) -> TrialSpec:
    """The trial in as many parts as an attempt before had come to, so that its checkpoints are gone on from."""
    try:
        before = read_trial_spec(folder)
    except HarnessError:
        return spec
    return before if before.key == spec.key and before.micro_batches > spec.micro_batches else spec


def _finish(record: RunRecord, folder: Path, data: DataFacts) -> RunRecord:
    """Drop checkpoints nobody goes on from, and give the data to a record whose worker did not come to load it.

    Also for a record that was there: the run that made it may have been killed before this, or while it wrote. Only
    for the holder of the trial's lock.
    """
    remove_temporaries(folder)
    if record.status in ("ok", "diverged"):
        remove_blobs(folder)
    if record.data is not None:
        return record
    return write_record(folder / RECORD, record.model_copy(update={"data": data}))


@contextmanager
def _signals(stop: StopRequest, reporter: Reporter) -> Iterator[None]:
    """Count requests to stop instead of dying of them; a hang-up is ignored where it was (nohup)."""

    def asked(number: int, frame: FrameType | None) -> None:
        stop.times += 1
        reporter.stopping(stop.times)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [n for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) != signal.SIG_IGN]
    before = {number: signal.signal(number, asked) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
