"""A process that has imported what every trial needs, and forks one worker after another.

    python -m harness.orchestration.process.fork_server DESCRIPTOR [MODULE ...]

Importing torch and the engine takes seconds, a fork takes milliseconds, and every worker still starts from the same
state. No code of a user is imported here, and nothing is computed: threads and GPU contexts do not survive a fork.

The process that starts this one talks to it over a socket that keeps messages whole. {"folder", "environment"}, sent
with the file descriptor for output, is answered with the process id of the new worker. REAP is answered
with the worker's exit code and its peak memory in bytes. The server ends when the socket is closed.

multiprocessing's forkserver with the same preloads was tried behind tests/harness/orchestration/process/. It starts a
worker as fast (31 to 42 ms, this one 39 to 44 ms, on two cores), but it fails those tests in three ways. It reaps a
worker as soon as it ends, so that the process id may be another's before the worker's session is killed. It reports
no peak memory. A preloaded module that raises anything but ImportError ends it, and no worker can be started.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import socket
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from harness.orchestration.process.launchers import TOKEN
from harness.platform.memory import peak_from_usage

UNSET = "0" * 32
"""Value of the token in the server's own environment: as long as a real one, which overwrites it."""
REAP = b"reap"

# torch._dynamo: torch's optimisers and torchvision's operators load it on first use, which takes a second
PRELOADED = ("harness.orchestration.worker", "harness.orchestration.trial.work", "torch._dynamo")


def main(descriptor: int, modules: Sequence[str] = ()) -> None:
    """Serve until the other end of the socket is closed.

    Args:
        descriptor: file descriptor of this end of the socket.
        modules: what to import beyond PRELOADED.
    """
    if sys.platform == "win32":
        raise OSError("Windows forks no process")
    control = socket.socket(fileno=descriptor)
    # Imported modules stay in memory: collecting garbage among them takes a fifth of the import time.
    gc.disable()
    for name in (*PRELOADED, *modules):
        # A module that fails here fails again in the worker, whose record then says so.
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    # Workers need not collect among these objects either, which would copy the pages they share with this process.
    gc.freeze()
    gc.enable()
    pid = 0
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 2**16, 1)
        if not message:
            return
        if message == REAP:
            _, status, usage = os.wait4(pid, 0)
            control.send(f"{os.waitstatus_to_exitcode(status)} {peak_from_usage(usage.ru_maxrss)}".encode())
            continue
        wait_end, ready_end = os.pipe()
        server, pid = os.getpid(), os.fork()
        if not pid:
            control.close()
            os.close(wait_end)
            _become_worker(json.loads(message), descriptors[0], ready_end, server)
        for number in (*descriptors, ready_end):
            os.close(number)
        # returns when the worker closes its end, or dies
        os.read(wait_end, 1)
        os.close(wait_end)
        control.send(str(pid).encode())


def _become_worker(request: dict[str, Any], output: int, ready: int, parent: int) -> NoReturn:
    """Run the trial in this process, just forked, as the leader of its own session.

    Args:
        request: {"folder", "environment"} of the trial.
        output: file descriptor for standard output and error.
        ready: file descriptor to close when this process can be found by its session and its token.
        parent: process id of the server.
    """
    if sys.platform == "win32":
        raise OSError("Windows forks no process")
    os.setsid()
    _show_token(request["environment"][TOKEN])
    os.close(ready)
    for number in (1, 2):
        os.dup2(output, number)
    os.close(output)
    # the server's streams still take the file they were opened with for what they write to
    encoding = sys.stdout.encoding
    sys.stdout, sys.stderr = (os.fdopen(n, "w", 1, encoding, "backslashreplace", closefd=False) for n in (1, 2))
    os.environ.update(request["environment"])
    from harness.orchestration.worker import run_and_exit

    run_and_exit([request["folder"], "--parent", str(parent)])


def _show_token(token: str) -> None:
    """Write the token into the environment block that other processes can read.

    After a fork, /proc/PID/environ still shows the environment that the server was started with; os.environ changes
    a copy. A child that leaves the session and runs no other program can be found by this block alone.
    """
    library = ctypes.CDLL(None)
    library.getenv.restype = ctypes.c_void_p
    address = library.getenv(TOKEN.encode())
    if address and len(token) == len(UNSET):
        ctypes.memmove(address, token.encode("ascii"), len(UNSET))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
