"""What processes may use and do on this system."""

from __future__ import annotations

import sys


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
