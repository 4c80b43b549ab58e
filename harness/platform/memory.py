"""Memory of the machine and of processes."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.platform.cgroups import CGROUPS, groups, membership

if TYPE_CHECKING:
    import psutil


@dataclass(frozen=True, slots=True)
class GpuPeaks:
    """Bytes.

    Attributes:
        allocated: the most that tensors held at once; None on Apple's GPUs, which tell only what they hold now.
        reserved: the most that torch's allocator held of the device.
        device: what is in use now, by all programs. Read at the end of a run, while the allocator still holds its pool,
            it is that run's peak together with what the driver itself takes.
    """

    allocated: int | None
    reserved: int
    device: int


def peak_rss() -> int:
    """Largest resident memory of this process so far, in bytes."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    status = Path("/proc/self/status")
    if status.is_file():
        # not getrusage: on Linux its peak starts at that of the process that started this one
        found = re.search(r"^VmHWM:\s*(\d+) kB$", status.read_text(encoding="utf-8"), re.MULTILINE)
        if found:
            return int(found[1]) * 1024
    import resource

    return peak_from_usage(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def peak_from_usage(ru_maxrss: int) -> int:
    """Largest resident memory in bytes, from what getrusage or wait4 gave of a process.

    On Linux that of a started program includes what the process had that started it; that of a fork is its own.
    """
    return ru_maxrss if sys.platform == "darwin" else ru_maxrss * 1024


def memory_of(processes: Iterable[psutil.Process]) -> int:
    """Bytes that these processes hold together. A page that several of them share counts once, or nearly.

    On Linux it is the sum of their proportional set sizes (PSS): a page that n processes share counts as 1/n in each.
    Forks share nearly all their pages, and the "shared" memory that the system tells of each is only that of files.
    Elsewhere it is the sum of what each has alone (USS), or of what is resident. Ended processes count nothing.
    """

    return sum(_memory_of_one(process) for process in processes)


def _memory_of_one(process: psutil.Process) -> int:
    import psutil

    try:
        facts = process.memory_full_info()
        return int(getattr(facts, "pss", 0) or facts.uss or facts.rss)
    except (psutil.AccessDenied, OSError):
        # a bare OSError is what Windows says of a process that is just ending, and Wine of every process
        with contextlib.suppress(psutil.Error, OSError):
            return int(process.memory_info().rss)
    except psutil.Error:
        pass
    return 0


def gpu_peaks(device: str) -> GpuPeaks | None:
    """Peaks on a CUDA device ("cuda" or "cuda:N") since the process or reset_gpu_peaks; None without one.

    On "mps" what the allocator holds of the memory, which it does not give back by itself: its peak so far.
    """
    torch = sys.modules.get("torch")
    if torch is not None and device == "mps":
        held = int(torch.mps.driver_allocated_memory())
        return GpuPeaks(None, held, held)
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
    """Bytes of memory that the processes of this container or job, or of this machine, may use."""
    import psutil

    return min([psutil.virtual_memory().total, *_container_limits()])


def device_memory(device: str) -> int:
    """Bytes of memory of "cpu", "mps" or "cuda[:N]"."""
    if device == "mps":
        import torch

        return int(torch.mps.recommended_max_memory())
    if not device.startswith("cuda"):
        return machine_memory()
    import torch

    return int(torch.cuda.get_device_properties(torch.device(device)).total_memory)


def _container_limits(root: Path = CGROUPS, member_of: str | None = None) -> list[int]:
    """Limits of the control groups that this process is in, of a container or of a job, and of those above them."""
    limits = []
    for group in groups("memory", membership() if member_of is None else member_of, root):
        for name in ("memory.max", "memory.limit_in_bytes"):
            try:
                text = (group / name).read_text(encoding="ascii").strip()
            except (OSError, ValueError):
                continue
            if text.isdigit():
                limits.append(int(text))
    return limits
