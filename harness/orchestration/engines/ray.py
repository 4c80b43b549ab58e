"""Trials on a Ray cluster: one task each. It needs the package ray on all its machines."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from harness.errors import HarnessError
from harness.orchestration.attempts import read_attempts
from harness.orchestration.bring_to_record import TrialOrder, write_left_record
from harness.orchestration.engines.engine import Resources, TrialState
from harness.orchestration.order_file import write_order
from harness.orchestration.trial.stopping import STOP_FILE
from harness.orchestration.trial_folder import existing_record

MAX_RETRIES = 3
"""Of a task whose machine has died. A trial that fails is a record, and its task ends well."""
_POLL = 1.0
_CONNECT_SECONDS = 10.0
_RECORD_SECONDS = 10.0
"""A record may be so late on a shared disk after its task has ended."""


class RayEngine:
    """Gives Ray a task for each trial. A task waits for the trial's command, and stops with a file: see `stop`."""

    outlives_run: ClassVar[bool] = False
    slots: ClassVar[int | None] = None

    def __init__(self, run_dir: Path, ray: Any) -> None:
        """run_dir: of the run, on a disk that all machines see. ray: the module, connected to a cluster."""
        self._run_dir, self._ray = run_dir.resolve(), ray
        self._tasks: dict[str, tuple[TrialOrder, Any]] = {}
        self._ended_since: dict[str, float] = {}
        self._asked_at = -float("inf")
        self._last: dict[str, TrialState] = {}
        self._stopped = False

    def submit(self, trials: Sequence[TrialOrder], resources: Resources) -> None:
        (self._run_dir / STOP_FILE).unlink(missing_ok=True)
        how = {"num_cpus": resources.cores or 1, "num_gpus": resources.gpus, "max_retries": MAX_RETRIES}
        # max_calls: a GPU task would otherwise take a new process each, which costs seconds
        task = self._ray.remote(**how, retry_exceptions=False, max_calls=0)(_task())
        environment = _environment()
        for order in trials:
            write_order(replace(order, run_dir=self._run_dir))
            words = [sys.executable, "-m", "harness.orchestration.trial", str(self._run_dir), order.name, "--shared"]
            self._tasks[order.name] = (order, task.remote(words, environment, os.getcwd()))

    def states(self) -> Mapping[str, TrialState]:
        if time.monotonic() - self._asked_at < _POLL or not self._tasks:
            return self._last
        self._asked_at = time.monotonic()
        references = [reference for _, reference in self._tasks.values()]
        ready, _ = self._ray.wait(references, num_returns=len(references), timeout=0)
        ended = set(ready)
        found: dict[str, TrialState] = {}
        for name, (order, reference) in list(self._tasks.items()):
            state = self._state(order, reference, reference in ended)
            if state is not None:
                found[name] = state
            if state is not None and state.phase == "ended":
                del self._tasks[name]
        self._last = {name: state for name, state in found.items() if state.phase != "ended"}
        return found

    def stop(self, times: int) -> None:
        """Tell the running trials by a file: to cancel a task gently does not reach one that waits for a process."""
        self._stopped = True
        (self._run_dir / STOP_FILE).touch()
        for order, reference in self._tasks.values():
            if times > 1 or not read_attempts(order.folder):
                self._ray.cancel(reference, force=times > 1)
        self._asked_at = -float("inf")

    def _state(self, order: TrialOrder, reference: Any, ended: bool) -> TrialState | None:
        """None for a trial that waits."""
        attempted = read_attempts(order.folder)
        if not ended:
            return TrialState("running") if attempted else None
        since = self._ended_since.setdefault(order.name, time.monotonic())
        record = existing_record(order.folder, order.trial.spec.key)
        if record is not None and not attempted:
            return TrialState("ended", record)
        if self._stopped and not attempted:
            del self._tasks[order.name]
            return None
        if time.monotonic() - since < _RECORD_SECONDS:
            return TrialState("running")
        record = write_left_record(order, "interrupted", f"its task ended without a record: {self._said(reference)}")
        return TrialState("running") if record is None else TrialState("ended", record)

    def _said(self, reference: Any) -> str:
        """What became of a task that has ended."""
        try:
            return f"exit status {self._ray.get(reference)}"
        except Exception as error:
            return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


@contextmanager
def ray_engine(run_dir: Path, address: str) -> Iterator[RayEngine]:
    """An engine that is connected to a cluster while this is entered.

    Args:
        run_dir: of the run.
        address: of the cluster's head, as in "10.0.0.1:6379"; "auto" for the one that this machine belongs to.

    Raises:
        HarnessError: the package is missing, or there is no such cluster.
    """
    try:
        import ray
    except ImportError as error:
        raise HarnessError('--engine ray needs a package: type pip install "cell-segmentation-harness[ray]"') from error
    try:
        if address != "auto":
            # Ray itself tries for minutes
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
        ray.init(address=address, log_to_driver=False, logging_level="error")
    except (OSError, ValueError, RuntimeError) as error:
        raise HarnessError(
            f"no Ray cluster at --address {address}; type ray start --head here, or the address of its head"
        ) from error
    try:
        yield RayEngine(run_dir, ray)
    finally:
        ray.shutdown()


def _environment() -> dict[str, str]:
    """What a trial's process needs of this one's environment on another machine."""
    path = os.pathsep.join(os.path.abspath(part) for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part)
    own = {name: value for name, value in os.environ.items() if name.startswith("HARNESS_")}
    return {**own, **({"PYTHONPATH": path} if path else {})}


def _task() -> Callable[[list[str], dict[str, str], str], int]:
    """The work of a task. Made here, so that Ray sends it whole and its processes need not import the harness."""

    def bring_to_record(words: list[str], environment: dict[str, str], folder: str) -> int:
        import os
        import socket
        import subprocess

        here = ["--where", f"node {socket.gethostname()}", "--parent", str(os.getpid())]
        where = folder if os.path.isdir(folder) else None
        return subprocess.run([*words, *here], env={**os.environ, **environment}, cwd=where, check=False).returncode

    return bring_to_record
