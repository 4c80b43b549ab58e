"""What processes may use and do on this system, how they are asked to stop, and how they are killed."""

from __future__ import annotations

import contextlib
import os
import platform
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psutil

STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
)
"""The signals of this system that ask a process to stop. Windows has no SIGHUP; SIGBREAK takes its place."""

KILL_SIGNAL = 9
"""The signal that kills a process. Windows has none; exit codes are never negative there."""


def was_terminated(code: int) -> bool:
    """Whether a process that left this exit status was ended by another on Windows.

    psutil ends it with the number of SIGTERM, os.kill with that of the signal. Task Manager leaves 1, as errors do.
    """
    return sys.platform == "win32" and code in (KILL_SIGNAL, signal.SIGTERM)


def usable_cores() -> int:
    """Number of processor cores this process may use. A container or a job may have fewer than the machine."""
    return len(usable_core_numbers())


def usable_core_numbers() -> set[int]:
    """The cores this process may use, as psutil numbers them."""
    import psutil

    process = psutil.Process()
    # macOS binds no process to cores
    return set(process.cpu_affinity() if hasattr(process, "cpu_affinity") else range(psutil.cpu_count() or 1))


def bind_to_cores(numbers: Sequence[int]) -> None:
    """Let this process and those that it starts use these cores only. Does nothing where the system binds none."""
    import psutil

    process = psutil.Process()
    if hasattr(process, "cpu_affinity"):
        # a core may have been taken offline, or may belong to another job
        with contextlib.suppress(OSError, ValueError, psutil.Error):
            process.cpu_affinity(list(numbers))


def cores_in_order(topology: Path = Path("/sys/devices/system/cpu")) -> list[int]:
    """The cores this process may use, threads of one physical core beside each other where Linux tells them apart."""

    def physical(number: int) -> tuple[int, int, int]:
        found = []
        for name in ("physical_package_id", "core_id"):
            try:
                found.append(int((topology / f"cpu{number}" / "topology" / name).read_text(encoding="ascii")))
            except (OSError, ValueError):
                found.append(number)
        return found[0], found[1], number

    return sorted(usable_core_numbers(), key=physical)


def can_fork() -> bool:
    """Whether a forked process may do any work. On macOS it must not use system libraries; Windows forks none.

    HARNESS_FORK=0 switches it off on Linux, so that everything there goes the way of the other systems.
    """
    return sys.platform == "linux" and hasattr(os, "fork") and os.environ.get("HARNESS_FORK") != "0"


def has_apple_gpu() -> bool:
    """Whether this is a Mac with a GPU that torch may use ("mps")."""
    return sys.platform == "darwin" and platform.machine() == "arm64"


def processor_name() -> str:
    """The processor's model, as Linux tells it; "" elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def session_of(pid: int) -> int | None:
    """The session that a process belongs to; None on Windows, which has none. Raises OSError where it has ended."""
    return os.getsid(pid) if hasattr(os, "getsid") else None


class ParentProcess:
    """The process whose death ends this one."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._process: psutil.Process | None = None
        if sys.platform == "win32":
            import psutil

            # Windows never changes the number of a process's parent, and gives it to another process later.
            with contextlib.suppress(psutil.NoSuchProcess):
                self._process = psutil.Process(pid)

    def lives(self) -> bool:
        if sys.platform == "win32":
            return self._process is not None and self._process.is_running()
        return os.getppid() == self._pid


def own_session() -> dict[str, Any]:
    """Arguments of subprocess.Popen that keep the terminal's Ctrl-C from the new process."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def has_ended(process: psutil.Process) -> bool:
    """Whether a process has ended. On POSIX it may still be waited for."""
    import psutil

    try:
        # On Windows is_running asks for the exit code: whoever started the process still holds it.
        return not process.is_running() or process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return True


def ask_to_terminate(pid: int) -> None:
    """Send SIGTERM. Windows has no such signal: there a process is asked by other means only."""
    if sys.platform != "win32":
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


def kill_own_group() -> None:
    """End this process at once, with all processes of its group."""
    if sys.platform != "win32" and hasattr(os, "killpg"):
        os.killpg(os.getpgrp(), KILL_SIGNAL)
    import psutil

    for process in (*psutil.Process().children(recursive=True), psutil.Process()):
        process.kill()


def wait_readable(descriptor: int, seconds: float) -> bool:
    """Whether a pipe can be read without blocking, after waiting for it at most so long.

    That is so where it holds something, and where its other end is closed.
    """
    if sys.platform != "win32":
        readable, _, _ = select.select([descriptor], [], [], seconds)
        return bool(readable)
    # Windows' select takes sockets only.
    import _winapi
    import msvcrt

    handle, end = msvcrt.get_osfhandle(descriptor), time.monotonic() + seconds
    while True:
        try:
            available = _winapi.PeekNamedPipe(handle, 0)[0]
        except BrokenPipeError:
            return True
        if available or time.monotonic() >= end:
            return bool(available)
        time.sleep(0.01)
