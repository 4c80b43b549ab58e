"""All that is measured while the training clock runs."""

from __future__ import annotations

from harness.monitoring.conditions import CpuQuotaThrottling, GpuSharing, GpuSlowdown, OtherProcesses, ThermalThrottling
from harness.monitoring.energy import GpuEnergy, PackageEnergy
from harness.monitoring.gpu import gpu_of
from harness.monitoring.sensor import Meter, Sensor


def training_sensors(device: str) -> Meter:
    """For training on "cpu" or "cuda[:N]"; harness.monitoring.energy and .conditions read its sums."""
    gpu = gpu_of(device)
    energy: list[Sensor] = [PackageEnergy()]
    conditions: list[Sensor] = [CpuQuotaThrottling(), ThermalThrottling(), OtherProcesses()]
    if gpu is not None:
        energy.append(GpuEnergy(gpu))
        conditions += [GpuSlowdown(gpu), GpuSharing(gpu)]
    # the counters of energy nearest to the clock
    return Meter([*energy, *conditions])
