"""Starts workers by forking a process that has imported everything (fork_server.py)."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from harness.errors import HarnessError
from harness.monitoring.placement import ALONE, Placement
from harness.orchestration.process.fork_server import REAP, UNSET
from harness.orchestration.process.launchers import TOKEN, ProcessExit, worker_environment
from harness.orchestration.process.pinned import pinned_words
from harness.platform.processes import KILL_SIGNAL

_SERVER_MODULE = "harness.orchestration.process.fork_server"


class ForkServerLauncher:
    """Starts workers by forking a fork server, which is started when this is entered.

    A server that has died is started again with the next worker. It then imports no extra modules, because one of
    them may be the reason.
    """

    _control: socket.socket
    _server: subprocess.Popen[bytes]

    def __init__(self, modules: Sequence[str] = (), placement: Placement = ALONE) -> None:
        """modules: what the server imports beyond what every trial needs. placement: of all its trials."""
        self._modules = tuple(modules)
        self._placement = placement

    def __enter__(self) -> ForkServerLauncher:
        self._start_server()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end_server()

    def start(self, folder: Path, environment: Mapping[str, str], output: int) -> int:
        if sys.platform == "win32":
            raise OSError("Windows forks no process")
        request = json.dumps({"folder": str(folder), "environment": dict(environment)}).encode()
        for attempt in (1, 2):
            try:
                socket.send_fds(self._control, [request], [output])
                answer = self._control.recv(64)
            except OSError:
                answer = b""
            if answer:
                return int(answer)
            self._end_server()
            if attempt == 1:
                self._modules = ()
                self._start_server()
        raise HarnessError(f"no process can be started for a trial: python -m {_SERVER_MODULE} ends at once")

    def reap(self, pid: int) -> ProcessExit:
        try:
            self._control.send(REAP)
            answer = self._control.recv(64)
        except OSError:
            answer = b""
        # Without an answer the server has died, and nobody can tell how its worker ended. A worker ends by itself
        # when its parent dies.
        return ProcessExit(*map(int, answer.split())) if answer else ProcessExit(-KILL_SIGNAL, 0)

    def _start_server(self) -> None:
        if sys.platform == "win32":
            raise OSError("Windows forks no process")
        self._control, server_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with server_end:
            descriptor = server_end.fileno()
            words = [sys.executable, "-m", _SERVER_MODULE, str(descriptor), *self._modules]
            try:
                self._server = subprocess.Popen(
                    pinned_words(self._placement.cores, words),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=(descriptor,),
                    start_new_session=True,
                    env={**worker_environment(), **self._placement.environment(), TOKEN: UNSET},
                )
            except OSError as error:
                self._control.close()
                raise HarnessError(f"cannot start {sys.executable}: {error.strerror}") from error

    def _end_server(self) -> None:
        self._control.close()
        with contextlib.suppress(ProcessLookupError):
            self._server.kill()
        self._server.wait()
