"""The conditions under which times were measured: what else used the machine, and what slowed it down.

Shares are rounded down to a few levels ("more than 25 %"), so that runs under the same conditions have the same notes.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from harness.monitoring.gpu import Gpu
from harness.monitoring.sensor import Sensor
from harness.platform.cgroups import CGROUPS, groups
from harness.platform.processes import usable_core_numbers

LEVELS = (0.75, 0.5, 0.25, 0.1)
"""Shares that are reported. Less than a tenth is not: times differ by more from run to run."""

CPUS = Path("/sys/devices/system/cpu")
OWN_CGROUP = Path("/proc/self/cgroup")

_SLOWED = {
    "heat": "the GPU slowed itself down for heat during training",
    "power": "the GPU slowed itself down to stay within its power limit during training",
    "hardware": "the GPU's hardware slowed it down during training",
}


def condition_notes(sums: Mapping[str, float]) -> list[str]:
    """Sentences for a record, from the sums of the sensors below; empty where nothing disturbed the training."""
    shares = {
        "other processes used more than {} of the processor cores during training": ("cores, others", "cores"),
        "other processes used more than {} of the GPU during training": ("GPU, others", "GPU, seconds"),
        "the CPU quota of its container or job stopped training in more than {} of its periods": (
            "quota, throttled",
            "quota, periods",
        ),
    }
    sentences = [
        sentence.format(f"{100 * level:.0f} %")
        for sentence, (part, whole) in shares.items()
        if (level := _level(sums.get(part, 0.0), sums.get(whole, 0.0))) is not None
    ]
    if sums.get("heat events"):
        sentences.append("the processor slowed itself down for heat during training")
    if sums.get("evaluation, left out"):
        sentences.append(
            "points of the learning curve were left out: they would have taken more than a tenth of training"
        )
    return sentences + [sentence for reason, sentence in _SLOWED.items() if sums.get(f"slowed by {reason}")]


def _level(part: float, whole: float) -> float | None:
    """The largest level that the share `part / whole` exceeds."""
    return next((level for level in LEVELS if part > level * whole), None) if whole > 0 else None


# --------------------------------------------------------------------------------------------------- processor


class OtherProcesses(Sensor):
    """Time of the usable cores that went to other programs, and to other guests of the host.

    Args:
        machine: returns (busy, total) seconds of the cores this process may use, since the machine started.
        own: returns the seconds that this process and all its descendants used.
    """

    def __init__(
        self, machine: Callable[[], tuple[float, float]] | None = None, own: Callable[[], float] | None = None
    ) -> None:
        self._machine, self._own = machine or machine_cpu_seconds, own or own_cpu_seconds
        self._before = (0.0, 0.0, 0.0)

    def start(self) -> None:
        self._before = (*self._machine(), self._own())

    def stop(self, seconds: float) -> Mapping[str, float]:
        busy, total, own = (now - then for now, then in zip((*self._machine(), self._own()), self._before, strict=True))
        return {"cores, others": max(0.0, busy - own), "cores": total}


def machine_cpu_seconds() -> tuple[float, float]:
    """(busy, total) seconds, since the machine started, of the cores this process may use."""
    import psutil

    cores = psutil.cpu_times(percpu=True)
    usable = usable_core_numbers()
    busy = total = 0.0
    for number, times in enumerate(cores):
        if number in usable:
            # the time of guests is part of user and nice
            used = {name: value for name, value in times._asdict().items() if not name.startswith("guest")}
            idle = used["idle"] + used.get("iowait", 0.0)
            busy += sum(used.values()) - idle
            total += sum(used.values())
    return busy, total


def own_cpu_seconds() -> float:
    """Processor seconds of this process and its descendants, including those that have ended, but on Windows."""
    import psutil

    this = psutil.Process()
    processes = [this]
    with contextlib.suppress(psutil.Error, OSError):
        processes += this.children(recursive=True)
    seconds = 0.0
    for process in processes:
        try:
            times = process.cpu_times()
        except (psutil.Error, OSError):  # it has just ended, and its parent's sums include it
            continue
        seconds += times.user + times.system + times.children_user + times.children_system
    return seconds


class ThermalThrottling(Sensor):
    """How often the kernel counted a core or a package that was slowed down because of heat."""

    def __init__(self, cpus: Path = CPUS) -> None:
        self._counters = sorted(cpus.glob("cpu[0-9]*/thermal_throttle/*_throttle_count"))
        self._before = 0

    def start(self) -> None:
        self._before = self._read()

    def stop(self, seconds: float) -> Mapping[str, float]:
        return {"heat events": float(max(0, self._read() - self._before))} if self._counters else {}

    def _read(self) -> int:
        return sum(int(text) for counter in self._counters if (text := _text(counter).strip()).isdigit())


class CpuQuotaThrottling(Sensor):
    """In how many periods the CPU quota of this process's control group, or of one above it, was used up early."""

    def __init__(self, cgroups: Path = CGROUPS, own_cgroup: Path = OWN_CGROUP) -> None:
        files = [group / "cpu.stat" for group in groups("cpu", _text(own_cgroup), cgroups)]
        self._files = [file for file in files if file.is_file()]
        self._before: list[tuple[int, int]] = []

    def start(self) -> None:
        self._before = self._read()

    def stop(self, seconds: float) -> Mapping[str, float]:
        grown = [(now[0] - then[0], now[1] - then[1]) for now, then in zip(self._read(), self._before, strict=True)]
        throttled, periods = max(grown, default=(0, 0))
        return {"quota, throttled": float(throttled), "quota, periods": float(periods)} if periods > 0 else {}

    def _read(self) -> list[tuple[int, int]]:
        """(throttled, all) periods of each file."""
        found = []
        for file in self._files:
            facts = dict(line.split(" ", 1) for line in _text(file).splitlines() if " " in line)
            found.append((int(facts.get("nr_throttled", 0)), int(facts.get("nr_periods", 0))))
        return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


# --------------------------------------------------------------------------------------------------------- GPU


class GpuSlowdown(Sensor):
    """Why the GPU's clocks were lowered, read at every stop of the training clock."""

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self._seen: set[str] = set()

    def before_stop(self) -> None:
        self._seen = self._gpu.slowed_by()

    def stop(self, seconds: float) -> Mapping[str, float]:
        return {f"slowed by {reason}": 1.0 for reason in self._seen}


class GpuSharing(Sensor):
    """The share of the GPU that other processes used in the last seconds before each stop of the clock.

    The driver keeps no longer history.
    """

    def __init__(self, gpu: Gpu, own: Callable[[], set[int]] | None = None) -> None:
        self._gpu, self._own = gpu, own or _own_processes
        self._since = 0.0

    def start(self) -> None:
        self._since = time.time()

    def stop(self, seconds: float) -> Mapping[str, float]:
        shares = self._gpu.shares(self._since)
        if not shares:
            return {}
        # in a container the driver's process numbers may be those of the host: then the busiest is taken for ours
        ours = self._own() & shares.keys() or {max(shares, key=lambda process: shares[process])}
        others = sum(share for process, share in shares.items() if process not in ours)
        return {"GPU, others": others * seconds, "GPU, seconds": seconds}


def _own_processes() -> set[int]:
    """Numbers of this process and its descendants."""
    import psutil

    this = psutil.Process()
    return {this.pid, *(child.pid for child in this.children(recursive=True))}
