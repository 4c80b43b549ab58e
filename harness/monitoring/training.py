"""All that is measured while the training clock runs."""

from __future__ import annotations

from harness.monitoring.conditions import GpuSharing, GpuSlowdown, OtherProcesses, ProcessorHeat, ProcessorQuota
from harness.monitoring.energy import GpuEnergy, PackageEnergy
from harness.monitoring.gpu import gpu_of
from harness.monitoring.sensor import Gauge, Meter


def training_meter(device: str) -> Meter:
    """For training on "cpu" or "cuda[:N]"; harness.monitoring.energy and .conditions read its sums."""
    gpu = gpu_of(device)
    energy: list[Gauge] = [PackageEnergy()]
    conditions: list[Gauge] = [ProcessorQuota(), ProcessorHeat(), OtherProcesses()]
    if gpu is not None:
        energy.append(GpuEnergy(gpu))
        conditions += [GpuSlowdown(gpu), GpuSharing(gpu)]
    # the counters of energy nearest to the clock
    return Meter([*energy, *conditions])
