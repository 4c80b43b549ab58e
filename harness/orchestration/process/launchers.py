"""How the process of a trial comes to be: forked from one that has imported what all trials need, or by a command."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Protocol

from harness.errors import HarnessError
from harness.orchestration.process.fork_server import REAP, TOKEN, UNSET

# The order of sets of strings must not differ between two runs of the same seed.
_OF_ALL_WORKERS = {"PYTHONHASHSEED": "0", "PYTHONUNBUFFERED": "1"}


@dataclass(frozen=True, slots=True)
class ProcessExit:
    """How a worker ended. code: as subprocess gives it. peak_memory: bytes it had resident at most; 0: not known."""

    code: int
    peak_memory: int


class Launcher(Protocol):
    """Starts workers. One that has ended stays known to the system, so that its number is no other's, until reaped."""

    def start(self, folder: Path, environment: Mapping[str, str], output: int, progress: int) -> int:
        """The process number of a new worker on the trial in `folder`, which leads a session of its own.

        environment: what it has beyond this process's. output: descriptor for what it prints. progress: descriptor
        for its progress lines. Raises HarnessError where no process can be started.
        """
        ...

    def reap(self, pid: int) -> ProcessExit:
        """Waits until a worker has ended, and tells how."""
        ...


@dataclass
class SubprocessLauncher:
    """Every worker from a command, which imports everything anew."""

    words: tuple[str, ...] = (sys.executable, "-m", "harness.orchestration.worker")
    _running: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, folder: Path, environment: Mapping[str, str], output: int, progress: int) -> int:
        try:
            process = subprocess.Popen(
                [*self.words, str(folder), "--progress", str(progress), "--parent", str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(progress,),
                start_new_session=True,
                env={**os.environ, **_OF_ALL_WORKERS, **environment},
            )
        except OSError as error:
            raise HarnessError(f"cannot start {self.words[0]}: {error.strerror}") from error
        self._running[process.pid] = process
        return process.pid

    def reap(self, pid: int) -> ProcessExit:
        # what the system counts for it began with what this process had, and is not told from that
        return ProcessExit(self._running.pop(pid).wait(), peak_memory=0)


class ForkServer:
    """Workers forked from a fork server (fork_server.py), which begins its imports as soon as this is entered.

    modules: imported there beyond what every trial needs. A server that is gone is started again with the next worker,
    without them, for they may be why.
    """

    def __init__(self, modules: Sequence[str] = ()) -> None:
        self._modules = tuple(modules)

    def __enter__(self) -> ForkServer:
        self._launch()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()

    def start(self, folder: Path, environment: Mapping[str, str], output: int, progress: int) -> int:
        request = json.dumps({"folder": str(folder), "environment": dict(environment)}).encode()
        for again in (True, False):
            try:
                socket.send_fds(self._control, [request], [output, progress])
                answer = self._control.recv(64)
            except OSError:
                answer = b""
            if answer:
                return int(answer)
            self._end()
            if again:
                self._modules = ()
                self._launch()
        raise HarnessError(
            "no process can be started for a trial: python -m harness.orchestration.process.fork_server ends at once"
        )

    def reap(self, pid: int) -> ProcessExit:
        try:
            self._control.send(REAP)
            answer = self._control.recv(64)
        except OSError:
            answer = b""
        # no answer: the server is gone, and with it what its worker ended with; the worker heeds that by itself
        return ProcessExit(*map(int, answer.split())) if answer else ProcessExit(-signal.SIGKILL, 0)

    def _launch(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                self._server = subprocess.Popen(
                    [
                        sys.executable,
                        "-m",
                        "harness.orchestration.process.fork_server",
                        str(theirs.fileno()),
                        *self._modules,
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                    env={**os.environ, **_OF_ALL_WORKERS, TOKEN: UNSET},
                )
            except OSError as error:
                self._control.close()
                raise HarnessError(f"cannot start {sys.executable}: {error.strerror}") from error

    def _end(self) -> None:
        self._control.close()
        with contextlib.suppress(ProcessLookupError):
            self._server.kill()
        self._server.wait()


@contextmanager
def launcher(modules: Sequence[str] = ()) -> Iterator[Launcher]:
    """The quickest that this system has: a forked process of macOS must not use its system libraries.

    modules: that trials will import, and that neither start threads nor touch a GPU when they are.
    """
    if sys.platform != "linux":
        yield SubprocessLauncher()
        return
    with ForkServer(modules) as server:
        yield server
