"""A fake worker: methods that take milliseconds, one that works and many that fail, and a whole run of them.

    fake_worker.py TRIAL_DIR --parent N                  a worker, as the scheduler starts it
    fake_worker.py run RUN_DIR METHODS SEEDS             a run, as the command line starts it

The method `healthy` draws random numbers and writes checkpoints. Its losses depend on every step, so that a lost or
repeated step shows. HARNESS_FAULT=ROLE:OPERATION:COUNT:WHAT makes the COUNTth OPERATION (write, fsync, replace) of a
ROLE (worker, run) fail. WHAT is the name of an errno, or "kill".
"""

from __future__ import annotations

import errno
import faulthandler
import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import psutil

from harness import fileio
from harness.config.preset import Preset
from harness.config.trial_spec import TrialSpec
from harness.contract import Part, Predictions, Recipe
from harness.evaluation.prediction_file import PREDICTIONS, write_predictions
from harness.evaluation.schema import Scores
from harness.fileio import write_text_atomic
from harness.monitoring.placement import ALONE
from harness.monitoring.progress import Progress, ProgressFile
from harness.orchestration import worker
from harness.orchestration.engines.engine import Engine
from harness.orchestration.engines.local import LocalEngine, Slot, placements
from harness.orchestration.plan import Contender, Manifest, make_plan
from harness.orchestration.prepared_data import prepare_planned_data
from harness.orchestration.process.launchers import SubprocessLauncher
from harness.orchestration.scheduler import RunOptions, run_plan
from harness.platform import files as platform_files
from harness.platform.processes import can_fork, cores_in_order, own_session
from harness.results.io import read_records
from harness.results.schema import Cost, DataFacts, RunRecord
from harness.results.status import Diverged, Interrupted
from harness.stacks import Resolved
from harness.training.checkpoint_files import newest_blob, save_blob

if TYPE_CHECKING:
    import pytest

WORKER = (sys.executable, str(Path(__file__).resolve()))
DATA = DataFacts(
    source="synthetic",
    fingerprint="d" * 64,
    classes=["cell"],
    images=10,
    cells=100,
    splits={"train": ["a"], "calibration": ["b"], "validation": ["c"]},
    split_fingerprint="e" * 64,
)
PRESET = Preset.model_validate(
    {
        "name": "fake",
        "description": "for tests",
        "size": "small",
        "budget": "60it",
        "training": {"crop": 64, "batch": 4, "learning_rate": 0.1},
    }
)


# ------------------------------------------------------------------------------------------------------ methods


def healthy(spec: TrialSpec, folder: Path, progress: ProgressFile) -> RunRecord:
    """Takes the steps of the budget and writes a checkpoint every 10."""
    steps = int(spec.budget.removesuffix("it"))
    pause = float(os.environ.get("HARNESS_FAKE_PAUSE", "0.001"))
    step, total, generator = 0, 0.0, random.Random(f"{spec.method}{spec.seed}")
    found = newest_blob(folder)
    if found is not None:
        state = json.loads(found[1])
        step, total = state["step"], state["total"]
        assert step == found[0]
        version, numbers, gauss = state["random"]
        generator.setstate((version, tuple(numbers), gauss))
    while step < steps:
        if progress.stop_requested():
            _save(folder, step, total, generator)
            raise Interrupted(f"stopped at step {step}")
        total = total * 0.9 + generator.random()
        step += 1
        time.sleep(pause)
        progress.report(Progress("training", step, step / steps, loss=total))
        if step % 10 == 0:
            _save(folder, step, total, generator)
    write_text_atomic(folder / "curve.csv", f"{step},{total!r}\n")
    return RunRecord.from_spec(
        spec,
        "ok",
        data=DATA,
        scores=Scores(scoring_version="1", iou_map=generator.random()),
        cost=Cost(iterations=step),
        final_losses={"loss": total},
        total_loss=total,
    )


def _save(folder: Path, step: int, total: float, generator: random.Random) -> None:
    save_blob(folder, step, json.dumps({"step": step, "total": total, "random": generator.getstate()}).encode())


def recalls(spec: TrialSpec, folder: Path, progress: ProgressFile) -> RunRecord:
    """Predicts the annotations of its images without their first cell. The fold in HARNESS_FAKE_KILL dies."""
    return _recall(spec, folder, without=1)


def recalls_less(spec: TrialSpec, folder: Path, progress: ProgressFile) -> RunRecord:
    """As `recalls`, without the first three cells."""
    return _recall(spec, folder, without=3)


def _recall(spec: TrialSpec, folder: Path, without: int) -> RunRecord:
    if os.environ.get("HARNESS_FAKE_KILL") == str(spec.split.fold):
        psutil.Process().kill()
    data = prepare_planned_data(spec)
    found = {}
    for sample in data.samples(data.ids("validation")):
        masks = sample.instances.masks.select(np.arange(len(sample.instances)) >= without)
        scores = np.full(len(masks), 0.9, np.float32)
        found[sample.image_id] = Predictions(sample.size, masks, scores, sample.instances.labels[without:])
    write_predictions(folder / PREDICTIONS, {"validation": found}, data.dataset.classes)
    return RunRecord.from_spec(spec, "ok", data=data.facts, cost=Cost(iterations=spec.split.fold, train_seconds=1.0))


def raises(spec: TrialSpec, folder: Path, progress: ProgressFile) -> RunRecord:
    raise ValueError("a mistake\non two lines")


def segfaults(spec: TrialSpec, folder: Path, progress: ProgressFile) -> RunRecord:
    # not ctypes, which makes an exception of it on Windows
    faulthandler._read_null()  # type: ignore[attr-defined]
    raise AssertionError("unreachable")


def hangs(spec: TrialSpec, folder: Path, progress: ProgressFile) -> RunRecord:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    (folder / "hangs").touch()
    while True:
        time.sleep(60)


def stops_late(spec: TrialSpec, folder: Path, progress: ProgressFile) -> RunRecord:
    """Takes longer than its limit, but stops when asked to."""
    while not progress.stop_requested():
        time.sleep(0.01)
    raise Interrupted("stopped")


def compiles(spec: TrialSpec, folder: Path, progress: ProgressFile) -> RunRecord:
    """Warms up for longer than its limit."""
    progress.report(Progress("warming up"))
    end = time.monotonic() + 3.5
    while time.monotonic() < end and not progress.stop_requested():
        time.sleep(0.05)
    return healthy(spec, folder, progress)


def eats_memory(spec: TrialSpec, folder: Path, progress: ProgressFile) -> RunRecord:
    """Sleeps after each allocation, since peak memory is only sampled from time to time."""
    eaten = []
    while True:
        eaten.append(bytearray(b"x") * (32 << 20))
        time.sleep(0.3)


def start_child(code: str) -> subprocess.Popen[bytes]:
    """A process in a session of its own that runs this code."""
    return subprocess.Popen([sys.executable, "-c", f"import signal, time\n{code}"], **own_session())


def eats_memory_in_a_child(spec: TrialSpec, folder: Path, progress: ProgressFile) -> RunRecord:
    start_child("eaten = []\nwhile True:\n    eaten.append(bytearray(b'x') * (32 << 20))\n    time.sleep(0.3)")
    while True:
        time.sleep(60)


def memory_error(spec: TrialSpec, folder: Path, progress: ProgressFile) -> RunRecord:
    raise MemoryError("cannot have 1 EiB")


def big_batch(spec: TrialSpec, folder: Path, progress: ProgressFile) -> RunRecord:
    """Fits only with a batch in four parts."""
    if spec.micro_batches < 4:
        raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB")
    return healthy(spec, folder, progress)


def diverges(spec: TrialSpec, folder: Path, progress: ProgressFile) -> RunRecord:
    raise Diverged("loss_mask is nan at step 7")


def nan_scores(spec: TrialSpec, folder: Path, progress: ProgressFile) -> RunRecord:
    record = healthy(spec, folder, progress)
    return record.model_copy(update={"scores": Scores(scoring_version="1", iou_map=float("nan"))})


def garbage(spec: TrialSpec, folder: Path, progress: ProgressFile) -> Any:
    """Returns something that is no record."""
    return {"boxes": [[1, 2, 3]], "scores": "many"}


def prints(spec: TrialSpec, folder: Path, progress: ProgressFile) -> RunRecord:
    """Prints 100 MB, then fails with a message that the log must keep."""
    line = b"y" * 1023 + b"\n"
    for _ in range(100):
        os.write(1, line * 1024)
    raise RuntimeError("the last words")


def forks(spec: TrialSpec, folder: Path, progress: ProgressFile) -> RunRecord:
    """Leaves a child behind, in a session of its own, that holds the output open and ignores SIGTERM."""
    child = start_child("signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(600)")
    (folder / "child.pid").write_text(str(child.pid), encoding="ascii")
    os._exit(0)


def exits(spec: TrialSpec, folder: Path, progress: ProgressFile) -> RunRecord:
    sys.exit(0)


def exits_hard(spec: TrialSpec, folder: Path, progress: ProgressFile) -> RunRecord:
    os._exit(3)


def killed(spec: TrialSpec, folder: Path, progress: ProgressFile) -> RunRecord:
    psutil.Process().kill()
    raise AssertionError("unreachable")


# -------------------------------------------------------------------------------------------------------- a run


def resolved(name: str) -> Resolved:
    part = Part(name, f"fake_worker:{name}")
    return Resolved(name, Recipe(part, part, part, part, part, part), (), "full masks", "healthy", ())


def plan(methods: list[str], seeds: int = 1, budget: str = "60it") -> Manifest:
    contenders = [Contender(resolved(name), PRESET, budget) for name in methods]
    return make_plan(contenders, range(seeds), [DATA], scoring_version="1", command="harness run")


def write_table(run_dir: Path) -> None:
    """Write all that must not differ between an undisturbed run and a disturbed one."""
    write_text_atomic(run_dir / "leaderboard.csv", "".join(f"{row}\n" for row in rows(run_dir)))


def rows(run_dir: Path) -> list[str]:
    records, problems = read_records(run_dir)
    facts = [
        (r.method, r.seed, r.status, r.total_loss, r.scores and r.scores.iou_map, r.cost.iterations) for r in records
    ]
    return sorted(map(str, facts)) + [f"problem: {problem}" for problem in problems]


def doubled(run_dir: Path) -> int:
    """Number of duplicate rows."""
    found = rows(run_dir)
    return len(found) - len(set(found))


class RecordingReporter:
    """A reporter that keeps all events in a list."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []

    def started(self, trial: Any, index: int, total: int) -> None:
        self.events.append(("started", trial.name))

    def progress(self, trial: Any, progress: Progress) -> None:
        self.events.append(("progress", progress))

    def ended(self, trial: Any, record: RunRecord) -> None:
        self.events.append(("ended", record.status))

    def kept(self, trial: Any, record: RunRecord) -> None:
        self.events.append(("kept", trial.name))

    def folds_scored(self, record: RunRecord) -> None:
        self.events.append(("folds scored", record.status))

    def waiting(self, trial: Any) -> None:
        self.events.append(("waiting", trial.name))

    def stopping(self, times: int) -> None:
        self.events.append(("stopping", times))


def run(
    run_dir: Path,
    manifest: Manifest,
    reporter: RecordingReporter | None = None,
    jobs: int = 1,
    engine: Engine | None = None,
    **options: Any,
) -> int:
    """Run the plan by an engine, or so many trials side by side on this machine. options: of RunOptions.

    Workers are forked where that is possible: it takes milliseconds, and starting one half a second.
    """
    if engine is not None:
        options.setdefault("launcher", SubprocessLauncher(WORKER))
        return run_plan(manifest, run_dir, RunOptions(**options), reporter or RecordingReporter(), write_table, engine)
    own = options.pop("launcher", None)
    with _launcher(jobs) if own is None else nullcontext(own) as first:
        slots = [
            Slot(first if place == ALONE else replace(first, placement=place), place)
            for place in placements(jobs, cores_in_order(), ())
        ]
        return run_plan(
            manifest,
            run_dir,
            RunOptions(**options),
            reporter or RecordingReporter(),
            write_table,
            LocalEngine(slots),
        )


def _launcher(jobs: int) -> AbstractContextManager[Any]:
    """Of fake workers. A run in a process of its own starts them by a command, so that tests find them."""
    if __name__ == "__main__" or jobs > 1 or not can_fork():
        return nullcontext(SubprocessLauncher(WORKER))
    from shared_fork_server import FAKE_SERVER

    return FAKE_SERVER.launcher(["fake_worker"])


def engine_of_environment(run_dir: Path) -> Engine | None:
    """The engine that HARNESS_FAKE_ENGINE names: slurm, or the address of a Ray cluster."""
    named = os.environ.get("HARNESS_FAKE_ENGINE", "")
    if not named:
        return None
    if named != "slurm":
        import ray

        from harness.orchestration.engines.ray import RayEngine

        ray.init(address=named, log_to_driver=False, logging_level="error")
        return RayEngine(run_dir, ray)
    from harness.orchestration.engines.slurm import SlurmEngine

    return SlurmEngine(run_dir, poll_seconds=0.5)


# ------------------------------------------------------------------------------------------------------- faults


MODULES_THAT_WRITE = (fileio, platform_files)


class FaultyOs:
    """Stands in for the os module in the modules that write files. One operation of it fails."""

    def __init__(self, operation: str, count: int, what: str) -> None:
        self._operation, self._left, self._what = operation, count, what
        self.counts = {"write": 0, "fsync": 0, "replace": 0}

    def install(self, monkeypatch: pytest.MonkeyPatch) -> FaultyOs:
        for module in MODULES_THAT_WRITE:
            monkeypatch.setattr(module, "os", self)
        return self

    def __getattr__(self, name: str) -> Any:
        if name not in ("write", "fsync", "replace"):
            return getattr(os, name)

        def call(*arguments: Any) -> Any:
            self.counts[name] += 1
            if name == self._operation:
                self._left -= 1
                if self._left == 0:
                    if name == "write" and self._what == "kill":
                        os.write(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                    self._fail()
            return getattr(os, name)(*arguments)

        return call

    def _fail(self) -> None:
        if self._what == "kill":
            psutil.Process().kill()
        raise OSError(getattr(errno, self._what), os.strerror(getattr(errno, self._what)))


def break_files(role: str) -> None:
    fault = os.environ.get("HARNESS_FAULT", "").split(":")
    if fault[0] == role:
        faulty = FaultyOs(fault[1], int(fault[2]), fault[3])
        for module in MODULES_THAT_WRITE:
            module.os = faulty  # type: ignore[attr-defined]


def main() -> NoReturn:
    if sys.argv[1] == "run":
        break_files("run")
        manifest = plan(sys.argv[3].split(","), int(sys.argv[4]), os.environ.get("HARNESS_FAKE_BUDGET", "60it"))
        run_dir, jobs = Path(sys.argv[2]), int(os.environ.get("HARNESS_FAKE_JOBS", "1"))
        os._exit(run(run_dir, manifest, jobs=jobs, engine=engine_of_environment(run_dir), grace=10.0))
    run_and_exit()


def run_and_exit(arguments: list[str] | None = None) -> NoReturn:
    """As that of harness.orchestration.worker, with the methods of this file."""
    break_files("worker")
    os._exit(worker.main(arguments, lambda spec, folder, progress: globals()[spec.method](spec, folder, progress)))


if __name__ == "__main__":
    main()
