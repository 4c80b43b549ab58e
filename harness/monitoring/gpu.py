"""What NVIDIA's management library (NVML) says of one GPU, through the package nvidia-ml-py where it is installed."""

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
"""Set for heat and power brake as well; alone, it is something else in the hardware."""


class Gpu:
    """One GPU. Every answer is None or empty where the card, the driver or the rights do not allow it."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml, self._handle = nvml, handle

    def sliced(self) -> bool:
        mode = self._ask(self._nvml.nvmlDeviceGetMigMode)
        return bool(mode and mode[0])

    def joules(self) -> float | None:
        """Energy since the driver was loaded: the whole card, all programs."""
        millijoules = self._ask(self._nvml.nvmlDeviceGetTotalEnergyConsumption)
        return None if millijoules is None else millijoules / 1000

    def slowed_by(self) -> set[str]:
        """What lowers its clocks now: "heat", "power" (its limit, or the brake from outside), "hardware"."""
        bits = self._ask(self._nvml.nvmlDeviceGetCurrentClocksEventReasons) or 0
        found = {word for word, names in _SLOWED_BY.items() if any(bits & getattr(self._nvml, name) for name in names)}
        return found or ({"hardware"} if bits & getattr(self._nvml, _PROTECTED) else set())

    def shares(self, since: float) -> dict[int, float]:
        """Process to the mean share (0 to 1) of the GPU it used, from samples since a time in seconds of the epoch.

        The driver keeps the last few seconds only.
        """
        samples = self._ask(self._nvml.nvmlDeviceGetProcessUtilization, int(since * 1e6)) or ()
        by_process: dict[int, list[float]] = {}
        for sample in samples:
            by_process.setdefault(int(sample.pid), []).append(sample.smUtil / 100)
        return {process: sum(values) / len(values) for process, values in by_process.items()}

    def _ask(self, question: Callable[..., Any], *more: Any) -> Any:
        try:
            return question(self._handle, *more)
        except self._nvml.NVMLError:
            return None


def gpu_of(device: str, nvml: Any = None) -> Gpu | None:
    """The GPU behind "cuda" or "cuda:N" of torch, which may count GPUs otherwise than the driver; None without one.

    nvml: the module pynvml, imported where None.
    """
    torch = sys.modules.get("torch")
    if torch is None or not device.startswith("cuda") or not torch.cuda.is_available():
        return None
    return gpu_by_uuid(f"GPU-{torch.cuda.get_device_properties(device).uuid}", nvml)


def gpu_by_uuid(uuid: str, nvml: Any = None) -> Gpu | None:
    """The GPU of that name ("GPU-..."); None where NVML or the GPU is not there.

    Nor for a GPU that is shared out in slices (MIG): its counters are those of all slices.
    """
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
    return None if gpu.sliced() else gpu
