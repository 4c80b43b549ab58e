"""Readings of one GPU through NVIDIA's management library (NVML), if the package nvidia-ml-py is installed."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

_SLOWED_BY = {
    "heat": ("nvmlClocksEventReasonSwThermalSlowdown", "nvmlClocksEventReasonHwThermalSlowdown"),
    "power": ("nvmlClocksEventReasonSwPowerCap", "nvmlClocksEventReasonHwPowerBrakeSlowdown"),
}
_PROTECTED = "nvmlClocksEventReasonHwSlowdown"
"""Also set for heat and for the power brake. Set alone, it means another protection of the hardware."""


class Gpu:
    """One GPU. A reading is None or empty where the card, the driver or missing rights do not allow it."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml, self._handle = nvml, handle

    def is_partitioned(self) -> bool:
        """Whether the GPU is divided into instances (MIG), whose counters are those of the whole card."""
        mode = self._query(self._nvml.nvmlDeviceGetMigMode)
        return bool(mode and mode[0])

    def joules(self) -> float | None:
        """Energy that the whole card has used since the driver was loaded, for all programs."""
        millijoules = self._query(self._nvml.nvmlDeviceGetTotalEnergyConsumption)
        return None if millijoules is None else millijoules / 1000

    def slowed_by(self) -> set[str]:
        """What lowers its clocks now: "heat", "power" (its limit, or the external power brake) or "hardware"."""
        bits = self._query(self._nvml.nvmlDeviceGetCurrentClocksEventReasons) or 0
        found = {word for word, names in _SLOWED_BY.items() if any(bits & getattr(self._nvml, name) for name in names)}
        return found or ({"hardware"} if bits & getattr(self._nvml, _PROTECTED) else set())

    def shares(self, since: float) -> dict[int, float]:
        """The mean share (0 to 1) of the GPU that each process used, by process number.

        Args:
            since: seconds since the epoch. The driver keeps samples of the last few seconds only.
        """
        samples = self._query(self._nvml.nvmlDeviceGetProcessUtilization, int(since * 1e6)) or ()
        by_process: dict[int, list[float]] = {}
        for sample in samples:
            by_process.setdefault(int(sample.pid), []).append(sample.smUtil / 100)
        return {process: sum(values) / len(values) for process, values in by_process.items()}

    def _query(self, question: Callable[..., Any], *more: Any) -> Any:
        try:
            return question(self._handle, *more)
        except self._nvml.NVMLError:
            return None


def gpu_of(device: str, nvml: Any = None) -> Gpu | None:
    """The GPU that torch calls "cuda" or "cuda:N", which the driver may number differently; None without one.

    nvml: the module pynvml; None imports it.
    """
    torch = sys.modules.get("torch")
    if torch is None or not device.startswith("cuda") or not torch.cuda.is_available():
        return None
    return gpu_by_uuid(f"GPU-{torch.cuda.get_device_properties(device).uuid}", nvml)


def gpu_by_uuid(uuid: str, nvml: Any = None) -> Gpu | None:
    """The GPU with that UUID ("GPU-..."); None where NVML or the GPU is missing, or where the GPU is partitioned."""
    if nvml is None:
        try:
            nvml = importlib.import_module("pynvml")
        except ImportError:
            return None
    try:
        nvml.nvmlInit()
        gpu = Gpu(nvml, nvml.nvmlDeviceGetHandleByUUID(uuid))
    except nvml.NVMLError:
        return None
    return None if gpu.is_partitioned() else gpu
