"""Energy used while the training clock runs: the whole GPU and the whole processor packages, all programs on them.

Neither counter can tell programs apart. The processor's is that of RAPL, which Linux lets only root read on most
machines; memory, disks, fans and power supplies are in none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.monitoring.gpu import Gpu
from harness.monitoring.sensor import Sensor

POWERCAP = Path("/sys/class/powercap")
MOST_WATTS = 500.0
"""No processor package draws more. A counter that this could have filled since it was read may have wrapped twice."""
WHOLE = 0.99
"""So much of training must have been measured; a part would be taken for all of it."""


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
        return _answer(self.NAME, now - self._before, seconds)


class PackageEnergy(Sensor):
    """The energy counters (RAPL) of all processor packages; all of them answer, or none does."""

    NAME = "CPU packages"

    def __init__(self, powercap: Path = POWERCAP) -> None:
        # Not intel-rapl-mmio:*, which are the same packages by another way, nor the parts inside a package.
        zones = [zone for zone in sorted(powercap.glob("intel-rapl:*")) if _text(zone / "name").startswith("package-")]
        self._counters = [zone / "energy_uj" for zone in zones]
        self._ranges = [_number(zone / "max_energy_range_uj") for zone in zones]
        self._before: list[int | None] = []

    def start(self) -> None:
        self._before = self._read()

    def stop(self, seconds: float) -> Mapping[str, float]:
        used = [
            wrapped(before, after, most) if before is not None and after is not None and most else 0
            for before, after, most in zip(self._before, self._read(), self._ranges, strict=True)
        ]
        if not all(used) or any(most is None or most < seconds * MOST_WATTS * 1e6 for most in self._ranges):
            return {}
        return _answer(self.NAME, sum(used) / 1e6, seconds)

    def _read(self) -> list[int | None]:
        return [_number(counter) for counter in self._counters]


def wrapped(before: int, after: int, most: int) -> int:
    """How far a counter that begins again after `most` has gone, in less than one turn."""
    return after - before if after >= before else after - before + most


def energy_used(sums: Mapping[str, float], seconds: float) -> tuple[float | None, str | None]:
    """Joules used in `seconds` of training, and by what ("GPU and CPU packages"); None where nothing measured all."""
    whole = [
        name for name in (GpuEnergy.NAME, PackageEnergy.NAME) if 0 < WHOLE * seconds <= sums.get(_seconds(name), 0.0)
    ]
    return (sum(sums[_joules(name)] for name in whole), " and ".join(whole)) if whole else (None, None)


def _answer(name: str, joules: float, seconds: float) -> dict[str, float]:
    # a counter that stands is one that a virtual machine shows without having it
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
