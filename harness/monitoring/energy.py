"""Energy used while the training clock runs: of the whole GPU and of all processor packages.

The counters include every program. The processor's counter is RAPL, which on most Linux machines only root may read.
Memory, disks, fans and power supplies are not included.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.monitoring.gpu import Gpu
from harness.monitoring.sensor import Sensor

POWERCAP = Path("/sys/class/powercap")
MAX_WATTS = 500.0
"""No processor package draws more. A counter may have wrapped more than once where this could have filled it."""
MIN_COVERAGE = 0.99
"""Fraction of training that must have been measured; otherwise no energy is reported."""


class GpuEnergy(Sensor):
    """The energy counter of a GPU."""

    NAME = "GPU"

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self._before: float | None = None

    def start(self) -> None:
        self._before = self._gpu.joules()

    def stop(self, seconds: float) -> Mapping[str, float]:
        now = self._gpu.joules()
        if now is None or self._before is None:
            return {}
        return _sums(self.NAME, now - self._before, seconds)


class PackageEnergy(Sensor):
    """The energy counters (RAPL) of all processor packages. Returns nothing unless all of them can be read."""

    NAME = "CPU packages"

    def __init__(self, powercap: Path = POWERCAP) -> None:
        # not intel-rapl-mmio:*, which are the same packages through another interface, nor the parts of a package
        zones = [zone for zone in sorted(powercap.glob("intel-rapl:*")) if _text(zone / "name").startswith("package-")]
        self._counters = [zone / "energy_uj" for zone in zones]
        self._ranges = [_number(zone / "max_energy_range_uj") for zone in zones]
        self._before: list[int | None] = []

    def start(self) -> None:
        self._before = self._read()

    def stop(self, seconds: float) -> Mapping[str, float]:
        used = [
            counter_increase(before, after, most) if before is not None and after is not None and most else 0
            for before, after, most in zip(self._before, self._read(), self._ranges, strict=True)
        ]
        if not all(used) or any(most is None or most < seconds * MAX_WATTS * 1e6 for most in self._ranges):
            return {}
        return _sums(self.NAME, sum(used) / 1e6, seconds)

    def _read(self) -> list[int | None]:
        return [_number(counter) for counter in self._counters]


def counter_increase(before: int, after: int, most: int) -> int:
    """The increase of a counter that starts again at 0 after `most` and has wrapped at most once."""
    return after - before if after >= before else after - before + most


def energy_used(sums: Mapping[str, float], seconds: float) -> tuple[float | None, str | None]:
    """Joules used in `seconds` of training, and by what: "GPU", "CPU packages" or "GPU and CPU packages".

    (None, None) where no sensor covered all of the training.
    """
    complete = [
        name
        for name in (GpuEnergy.NAME, PackageEnergy.NAME)
        if 0 < MIN_COVERAGE * seconds <= sums.get(_seconds(name), 0.0)
    ]
    return (sum(sums[_joules(name)] for name in complete), " and ".join(complete)) if complete else (None, None)


def _sums(name: str, joules: float, seconds: float) -> dict[str, float]:
    # a virtual machine may show a counter that never changes
    return {_joules(name): joules, _seconds(name): seconds} if joules > 0 else {}


def _joules(name: str) -> str:
    return f"joules, {name}"


def _seconds(name: str) -> str:
    return f"seconds of joules, {name}"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.isdigit() else None
