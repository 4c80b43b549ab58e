"""What processes may use and do on this system, how they are asked to stop, and how they are killed."""

from __future__ import annotations

import os
import select
import signal
import sys
from pathlib import Path

STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
)
"""The signals of this system that ask a process to stop. Windows has no SIGHUP; SIGBREAK takes its place."""

KILL_SIGNAL = 9
"""The signal that kills a process. Windows has none; exit codes are never negative there."""


def usable_cores() -> int:
    """Number of processor cores this process may use. A container or a job may have fewer than the machine."""
    return len(usable_core_numbers())


def usable_core_numbers() -> set[int]:
    """The cores this process may use, as psutil numbers them."""
    import psutil

    process = psutil.Process()
    # macOS binds no process to cores
    return set(process.cpu_affinity() if hasattr(process, "cpu_affinity") else range(psutil.cpu_count() or 1))


def can_fork() -> bool:
    """Whether a forked process may do any work. On macOS it must not use system libraries; Windows forks none."""
    return sys.platform == "linux"


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


def kill_own_group() -> None:
    """End this process at once, with all processes of its group."""
    if hasattr(os, "killpg"):
        os.killpg(os.getpgrp(), KILL_SIGNAL)
    import psutil

    for process in (*psutil.Process().children(recursive=True), psutil.Process()):
        process.kill()


def wait_readable(descriptor: int, seconds: float) -> bool:
    """Whether a pipe can be read without blocking, after waiting for it at most so long.

    Not for Windows, where only sockets can be waited for in this way.
    """
    readable, _, _ = select.select([descriptor], [], [], seconds)
    return bool(readable)
