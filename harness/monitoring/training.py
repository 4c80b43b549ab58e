"""All that is measured while the training clock runs."""

from __future__ import annotations

from harness.monitoring.conditions import CpuQuotaThrottling, GpuSharing, GpuSlowdown, OtherProcesses, ThermalThrottling
from harness.monitoring.energy import GpuEnergy, PackageEnergy
from harness.monitoring.gpu import gpu_of
from harness.monitoring.sensor import Sensor, SensorGroup


def training_sensors(device: str) -> SensorGroup:
    """Sensors for training on "cpu" or "cuda[:N]". energy_used and condition_notes interpret their sums."""
    gpu = gpu_of(device)
    energy: list[Sensor] = [PackageEnergy()]
    conditions: list[Sensor] = [CpuQuotaThrottling(), ThermalThrottling(), OtherProcesses()]
    if gpu is not None:
        energy.append(GpuEnergy(gpu))
        conditions += [GpuSlowdown(gpu), GpuSharing(gpu)]
    # the energy counters first: they are read nearest to the clock
    return SensorGroup([*energy, *conditions])
