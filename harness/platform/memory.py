"""How much memory there is, and how much this process has had at most."""

from __future__ import annotations

import re
import resource
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class GpuPeaks:
    """Bytes. allocated: most that tensors held at once. reserved: most that torch's allocator held from the device.

    device: what the device has in use now, by all programs; read at the end of a run, while the allocator still holds
    its pool, it is that run's peak with what the driver itself takes.
    """

    allocated: int
    reserved: int
    device: int


def peak_rss() -> int:
    """Largest resident memory of this process so far, in bytes."""
    status = Path("/proc/self/status")
    if status.is_file():
        # Not getrusage: on Linux its figure starts at that of the process that started this one.
        found = re.search(r"^VmHWM:\s*(\d+) kB$", status.read_text(encoding="utf-8"), re.MULTILINE)
        if found:
            return int(found[1]) * 1024
    return peak_of(resource.getrusage(resource.RUSAGE_SELF))


def peak_of(usage: resource.struct_rusage) -> int:
    """Largest resident memory of a process in bytes. usage: what the system counted for it (getrusage, wait4).

    On Linux that of a program begins with what the process had that started it; a fork's is its own.
    """
    return usage.ru_maxrss if sys.platform == "darwin" else usage.ru_maxrss * 1024


def gpu_peaks(device: str) -> GpuPeaks | None:
    """Peaks on a CUDA device ("cuda" or "cuda:N") since the process or reset_gpu_peaks; None without one."""
    torch = sys.modules.get("torch")
    if torch is None or not device.startswith("cuda") or not torch.cuda.is_available():
        return None
    free, total = torch.cuda.mem_get_info(device)
    return GpuPeaks(torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device), total - free)


def reset_gpu_peaks(device: str) -> None:
    """Measure the peaks of a CUDA device from now on.

    Does nothing without one, nor before CUDA is initialised: torch then has no peaks yet, and refuses to reset them.
    """
    torch = sys.modules.get("torch")
    if torch is not None and device.startswith("cuda") and torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats(device)


def machine_memory() -> int:
    """Bytes of memory that the processes of this container or machine may use."""
    import psutil

    return min([psutil.virtual_memory().total, *_container_limits()])


def _container_limits() -> list[int]:
    limits = []
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            text = (Path("/sys/fs/cgroup") / name).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            continue
        if text.isdigit():
            limits.append(int(text))
    return limits
