"""Starts the process of a trial: by a command, or where that is possible by a fork (fork_launcher.py)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from harness.data.store.cache import cache_folder
from harness.errors import HarnessError
from harness.monitoring.placement import ALONE, Placement
from harness.orchestration.process.pinned import pinned_words
from harness.platform.processes import can_fork, own_session

TOKEN = "HARNESS_TRIAL_TOKEN"
"""Environment variable that identifies every process of a trial. Child processes inherit it."""
# PYTHONHASHSEED: the order of sets of strings must be the same in two runs of one seed.
WORKER_ENVIRONMENT = {"PYTHONHASHSEED": "0", "PYTHONUNBUFFERED": "1"}
INDUCTOR_CACHE = "TORCHINDUCTOR_CACHE_DIR"


def worker_environment() -> dict[str, str]:
    """The environment of every trial. What one trial compiles is there for the next, in this run and in later ones."""
    compiled = str((cache_folder().parent / "inductor").absolute())
    return {INDUCTOR_CACHE: compiled, **os.environ, **WORKER_ENVIRONMENT}


@dataclass(frozen=True, slots=True)
class ProcessExit:
    """How a process ended.

    code: the exit code; for a signal, its number negated, as in subprocess.
    peak_memory: the most bytes that were resident; 0 where it is not known.
    """

    code: int
    peak_memory: int


class Launcher(Protocol):
    """Starts workers. One that has ended keeps its process id until it is reaped, so that no other process gets it."""

    def start(self, folder: Path, environment: Mapping[str, str], output: int) -> int:
        """Start a worker as the leader of its own session.

        Args:
            folder: of the trial.
            environment: variables to add to those of this process.
            output: file descriptor for standard output and error.

        Returns:
            The process id.

        Raises:
            HarnessError: no process can be started.
        """
        ...

    def reap(self, pid: int) -> ProcessExit:
        """Wait until the worker has ended, and say how it ended."""
        ...


@dataclass
class SubprocessLauncher:
    """Starts every worker by a command. Each imports everything again. placement: of all its trials."""

    words: tuple[str, ...] = (sys.executable, "-m", "harness.orchestration.worker")
    placement: Placement = ALONE
    _running: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, folder: Path, environment: Mapping[str, str], output: int) -> int:
        try:
            process = subprocess.Popen(
                pinned_words(self.placement.cores, [*self.words, str(folder), "--parent", str(os.getpid())]),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**worker_environment(), **self.placement.environment(), **environment},
                **own_session(),
            )
        except OSError as error:
            raise HarnessError(f"cannot start {self.words[0]}: {error.strerror}") from error
        self._running[process.pid] = process
        return process.pid

    def reap(self, pid: int) -> ProcessExit:
        # The system's figure includes the peak of this process, from which the child was made.
        return ProcessExit(self._running.pop(pid).wait(), peak_memory=0)


@contextmanager
def fastest_launcher(modules: Sequence[str] = (), placement: Placement = ALONE) -> Iterator[Launcher]:
    """The fork server on Linux, a command elsewhere: on macOS, system libraries do not work in a forked process.

    modules: what trials will import. None may start a thread or use a GPU when it is imported.
    placement: what its trials have of the machine.
    """
    if not can_fork():
        yield SubprocessLauncher(placement=placement)
        return
    from harness.orchestration.process.fork_launcher import ForkServerLauncher

    with ForkServerLauncher(modules, placement) as launcher:
        yield launcher
