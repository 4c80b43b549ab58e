"""Fakes of a processor's energy files and of NVIDIA's driver library."""

# ruff: noqa: N802, N815  the names are the driver's
from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

RANGE = 262_143_328_850
"""Microjoules: what a common processor counts up to."""


class Powercap:
    """The tree under /sys/class/powercap."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def zone(self, zone: str, name: str, energy: int | str = 0, most: int = RANGE) -> None:
        (self.folder / zone).mkdir()
        (self.folder / zone / "name").write_text(f"{name}\n")
        (self.folder / zone / "max_energy_range_uj").write_text(f"{most}\n")
        self.set(zone, energy)

    def set(self, zone: str, energy: int | str) -> None:
        (self.folder / zone / "energy_uj").write_text(f"{energy}\n")


class NvmlError(Exception):
    pass


@dataclass
class Nvml:
    """The parts of pynvml that are used. A counter that is None raises, as an unsupported one does."""

    uuid: str = "GPU-1"
    millijoules: int | None = 0
    reasons: int | None = 0
    samples: list[tuple[int, int]] = field(default_factory=list)
    mig: int | None = None
    started: bool = False
    asked_since: int | None = None

    NVMLError = NvmlError
    nvmlClocksEventReasonSwPowerCap = 0x4
    nvmlClocksEventReasonHwSlowdown = 0x8
    nvmlClocksEventReasonSwThermalSlowdown = 0x20
    nvmlClocksEventReasonHwThermalSlowdown = 0x40
    nvmlClocksEventReasonHwPowerBrakeSlowdown = 0x80

    def nvmlInit(self) -> None:
        self.started = True

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        if not self.started or uuid != self.uuid:
            raise NvmlError
        return "handle"

    def nvmlDeviceGetMigMode(self, handle: str) -> list[int]:
        return [known(self.mig), known(self.mig)]

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:
        return known(self.millijoules)

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: str) -> int:
        return known(self.reasons)

    def nvmlDeviceGetProcessUtilization(self, handle: str, since: int) -> list[Any]:
        self.asked_since = since
        if not self.samples:
            raise NvmlError
        return [SimpleNamespace(pid=pid, smUtil=percent) for pid, percent in self.samples]


def known(value: int | None) -> int:
    if value is None:
        raise NvmlError
    return value


@dataclass
class Counter:
    """A callable that returns the value it was set to."""

    value: Any = 0.0

    def __call__(self) -> Any:
        return self.value
