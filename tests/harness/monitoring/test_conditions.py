"""Notes on the state of the machine during training, from fake counters."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sensors import Counter, Nvml

from harness.monitoring.conditions import (
    LEVELS,
    CpuQuotaThrottling,
    GpuSharing,
    GpuSlowdown,
    OtherProcesses,
    ThermalThrottling,
    condition_notes,
    machine_cpu_seconds,
    own_cpu_seconds,
)
from harness.monitoring.gpu import Gpu, gpu_by_uuid
from harness.monitoring.sensor import Sensor, SensorGroup
from harness.monitoring.training import training_sensors
from harness.platform.processes import usable_cores

BUSY = "other processes used more than {} % of the processor cores during training"


def said(sensor: Sensor, change: Callable[[], object] = lambda: None) -> list[str]:
    group = SensorGroup([sensor])
    group.start()
    change()
    group.before_stop()
    group.stop()
    return condition_notes(group.sums)


def others(busy: float, total: float, own: float) -> list[str]:
    machine, own_time = Counter((1000.0, 5000.0)), Counter(10.0)

    def work() -> None:
        machine.value, own_time.value = (1000.0 + busy, 5000.0 + total), 10.0 + own

    return said(OtherProcesses(machine, own_time), work)


def test_a_machine_of_ones_own_is_not_remarked() -> None:
    assert others(busy=200, total=200, own=200) == []
    assert others(busy=120, total=200, own=101) == [], "a twentieth is less than times differ by"
    assert others(busy=100, total=200, own=104) == [], "the two clocks tick apart"


@pytest.mark.parametrize(("share", "step"), [(0.11, 10), (0.26, 25), (0.6, 50), (0.9, 75)])
def test_a_busy_machine_is_said_in_steps(share: float, step: int) -> None:
    assert others(busy=100 + 1000 * share, total=1000, own=100) == [BUSY.format(step)]


@given(st.floats(0, 1))
def test_what_is_said_is_never_more_than_what_was(share: float) -> None:
    found = condition_notes({"cores, others": share, "cores": 1.0})
    assert bool(found) == (share > min(LEVELS))
    assert found in ([], *([BUSY.format(round(100 * step))] for step in LEVELS if step < share))


def test_what_a_child_uses_is_our_own_also_when_it_has_ended() -> None:
    child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        before, deadline = own_cpu_seconds(), time.monotonic() + 60
        while (grown := own_cpu_seconds() - before) < 0.5 and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        child.kill()
        child.wait()
    assert grown >= 0.5, "waiting alone uses far less"
    if sys.platform == "win32":
        pytest.skip("the system forgets what a process has used when it ends")
    assert own_cpu_seconds() >= before + grown - 1e-6, "sums of decimal fractions differ in their last digit"


def test_the_cores_we_may_use_go_on_with_the_clock() -> None:
    (busy, total), begin = machine_cpu_seconds(), time.monotonic()
    time.sleep(1)
    (busier, later), seconds = machine_cpu_seconds(), time.monotonic() - begin
    assert later - total == pytest.approx(seconds * usable_cores(), rel=0.3)
    # sums of hundredths of seconds: in a second without work they may differ in the last bit
    assert -1e-6 <= busier - busy <= later - total + 1e-6


def heat(folder: Path, core: int, package: int) -> None:
    for cpu in ("cpu0", "cpu1"):
        (folder / cpu / "thermal_throttle").mkdir(parents=True, exist_ok=True)
        (folder / cpu / "thermal_throttle" / "core_throttle_count").write_text(f"{core}\n")
        (folder / cpu / "thermal_throttle" / "package_throttle_count").write_text(f"{package}\n")
        (folder / cpu / "thermal_throttle" / "core_throttle_total_time_ms").write_text(f"{time.time_ns()}\n")


def test_heat_is_noted_where_a_count_grows(tmp_path: Path) -> None:
    heat(tmp_path, 5, 7)
    sensor = ThermalThrottling(tmp_path)
    assert said(sensor, lambda: heat(tmp_path, 5, 7)) == []
    assert said(sensor, lambda: heat(tmp_path, 5, 8)) == ["the processor slowed itself down for heat during training"]
    assert said(ThermalThrottling(tmp_path / "none")) == []


GROUPS = [
    pytest.param("0::/job/step", "job/cpu.stat", id="version 2, quota of the group above"),
    pytest.param("0::/../other", "cpu.stat", id="version 2, seen as the root of a container"),
    pytest.param("5:cpu,cpuacct:/job\n0::/", "cpu,cpuacct/job/cpu.stat", id="version 1"),
    pytest.param("5:cpu,cpuacct:/docker/abc\n", "cpu/cpu.stat", id="version 1, seen as the root of a container"),
]


@pytest.mark.parametrize(("membership", "file"), GROUPS)
def test_a_quota_that_stops_training_is_noted(tmp_path: Path, membership: str, file: str) -> None:
    (tmp_path / "self").write_text(membership)
    path = tmp_path / "fs" / file
    path.parent.mkdir(parents=True)

    def at(slices: int, stopped: int) -> None:
        path.write_text(f"usage_usec 12345\nnr_periods {slices}\nnr_throttled {stopped}\nthrottled_usec 99\n")

    at(100, 90)
    sensor = CpuQuotaThrottling(tmp_path / "fs", tmp_path / "self")
    assert said(sensor, lambda: at(200, 95)) == []
    assert said(sensor, lambda: at(300, 155)) == [
        "the CPU quota of its container or job stopped training in more than 50 % of its periods"
    ]
    path.write_text("usage_usec 12345\n")  # a group without a quota
    assert said(sensor) == []


def test_other_controllers_are_no_quota(tmp_path: Path) -> None:
    (tmp_path / "self").write_text("3:cpuset:/job\n4:memory:/job\n")
    (tmp_path / "cpuset" / "job").mkdir(parents=True)
    (tmp_path / "cpuset" / "job" / "cpu.stat").write_text("nr_periods 0\nnr_throttled 0\n")
    sensor = CpuQuotaThrottling(tmp_path, tmp_path / "self")
    grown = tmp_path / "cpuset" / "job" / "cpu.stat"
    assert said(sensor, lambda: grown.write_text("nr_periods 9\nnr_throttled 9\n")) == []


def gpu(nvml: Nvml) -> Gpu:
    found = gpu_by_uuid("GPU-1", nvml)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("reasons", "sentences"),
    [
        (0x0, []),
        (0x1, []),  # idle
        (0x2, []),  # clocks set by a user
        (0x4, ["the GPU slowed itself down to stay within its power limit during training"]),
        (0x8, ["the GPU's hardware slowed it down during training"]),
        (0x48, ["the GPU slowed itself down for heat during training"]),
        (0x88, ["the GPU slowed itself down to stay within its power limit during training"]),
        (0x24, ["the GPU slowed itself down for heat during training",
                "the GPU slowed itself down to stay within its power limit during training"]),
        (None, []),
    ],
)  # fmt: skip
def test_why_a_gpu_slowed_down(reasons: int | None, sentences: list[str]) -> None:
    assert said(GpuSlowdown(gpu(Nvml(reasons=reasons)))) == sentences


def test_one_reading_of_many_is_enough_and_one_between_trainings_does_not_count() -> None:
    nvml = Nvml()
    group = SensorGroup([GpuSlowdown(gpu(nvml))])
    for reasons in (0, 0x20, 0):
        group.start()
        nvml.reasons = reasons
        group.before_stop()
        nvml.reasons = 0x4  # an evaluation
        group.stop()
    assert condition_notes(group.sums) == ["the GPU slowed itself down for heat during training"]


SHARED = "other processes used more than 25 % of the GPU during training"


@pytest.mark.parametrize(
    ("samples", "sentences"),
    [
        ([], []),
        ([(11, 98), (11, 100)], []),
        ([(11, 60), (22, 30), (11, 50), (22, 40)], [SHARED]),
        ([(11, 60), (22, 2)], []),
        ([(77, 60), (88, 30)], [SHARED]),  # process ids of another namespace: the busiest process is ours
        ([(77, 99)], []),
    ],
)
def test_a_gpu_used_by_others(samples: list[tuple[int, int]], sentences: list[str]) -> None:
    nvml = Nvml(samples=samples)
    before = time.time() * 1e6
    assert said(GpuSharing(gpu(nvml), own=lambda: {11, 12})) == sentences
    assert before <= (nvml.asked_since or 0) <= time.time() * 1e6, "samples from before training are not asked for"


def test_everything_this_machine_has_is_read() -> None:
    group = training_sensors("cpu")
    for _ in range(2):
        group.start()
        group.before_stop()
        group.stop()
    assert all(isinstance(value, float) for value in group.sums.values())
