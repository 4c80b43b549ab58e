"""A process that has imported what every trial needs and forks a worker for each, one at a time.

    python -m harness.orchestration.process.fork_server DESCRIPTOR [MODULE ...]

Importing torch takes seconds; a fork takes milliseconds, and every worker still begins in the same untouched state.
Nothing of a user's is imported here, and nothing is computed: threads and GPU contexts do not survive a fork. The
process above asks on a socket of whole messages: {"folder", "environment"} with the descriptors of output and
progress is answered with the worker's number, REAP with the exit code of that worker and the bytes it had at most.
It ends with the socket.
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

from harness.platform.memory import peak_from_usage

TOKEN = "HARNESS_TRIAL_TOKEN"
"""The variable by which everything a worker has started is found again."""
UNSET = "0" * 32
REAP = b"reap"

# torch._dynamo: torch's optimisers and torchvision's operators load it when first used, which takes a second
_SHARED = ("harness.orchestration.worker", "harness.orchestration.trial", "torch._dynamo")


def main(descriptor: int, modules: Sequence[str] = ()) -> None:
    """Serve until the process above closes its end. modules: imported besides what every trial needs."""
    control = socket.socket(fileno=descriptor)
    # what is imported stays: looking through it for garbage again and again takes a fifth of the time
    gc.disable()
    for name in (*_SHARED, *modules):
        # what is missing is missed again by the worker, whose record then says so
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    # nor need workers look through it, and so copy its pages
    gc.freeze()
    gc.enable()
    pid = 0
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 2**16, 2)
        if not message:
            return
        if message == REAP:
            _, status, usage = os.wait4(pid, 0)
            control.send(f"{os.waitstatus_to_exitcode(status)} {peak_from_usage(usage)}".encode())
            continue
        waiting, findable = os.pipe()
        server, pid = os.getpid(), os.fork()
        if not pid:
            control.close()
            os.close(waiting)
            output, progress = descriptors
            _become_worker(json.loads(message), output, progress, findable, server)
        for number in (*descriptors, findable):
            os.close(number)
        # until the worker closes its end, or is no more
        os.read(waiting, 1)
        os.close(waiting)
        control.send(str(pid).encode())


def _become_worker(request: dict[str, Any], output: int, progress: int, findable: int, parent: int) -> NoReturn:
    """findable: a descriptor to close as soon as this process can be found by its session and its token."""
    os.setsid()
    _show_token(request["environment"][TOKEN])
    os.close(findable)
    for number in (1, 2):
        os.dup2(output, number)
    os.close(output)
    os.environ.update(request["environment"])
    from harness.orchestration.worker import work_and_leave

    work_and_leave([request["folder"], "--progress", str(progress), "--parent", str(parent)])


def _show_token(token: str) -> None:
    """Write the token where the system shows this process's environment, which is else that of the server's start.

    Only so are children found that leave the session without starting another program.
    """
    library = ctypes.CDLL(None)
    library.getenv.restype = ctypes.c_void_p
    place = library.getenv(TOKEN.encode())
    if place and len(token) == len(UNSET):
        ctypes.memmove(place, token.encode("ascii"), len(UNSET))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
