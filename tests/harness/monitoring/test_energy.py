"""Energy while the training clock runs, from a fake processor and a fake GPU."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sensors import RANGE, Nvml, Powercap

from harness.monitoring.energy import GpuEnergy, PackageEnergy, counter_increase, energy_used
from harness.monitoring.gpu import gpu_by_uuid, gpu_of
from harness.monitoring.sensor import Sensor, SensorGroup
from harness.training.clock import TrainingClock


@pytest.fixture
def powercap(tmp_path: Path) -> Powercap:
    return Powercap(tmp_path / "powercap")


def used(sensor: Sensor, change: object, seconds: float = 1.0) -> tuple[float | None, str | None]:
    """The energy that the sensor reports for a change between start and stop."""
    group = SensorGroup([sensor])
    sensor.start()
    change()  # type: ignore[operator]
    group.sums.update(sensor.stop(seconds))
    return energy_used(group.sums, seconds)


def test_all_packages_count_and_none_of_their_parts(powercap: Powercap) -> None:
    powercap.zone("intel-rapl:0", "package-0", 5_000_000)
    powercap.zone("intel-rapl:0:0", "core", 0)
    powercap.zone("intel-rapl:0:1", "dram", 0)
    powercap.zone("intel-rapl:1", "package-1", 0)
    powercap.zone("intel-rapl:2", "psys", 0)
    powercap.zone("intel-rapl-mmio:0", "package-0", 5_000_000)

    def work() -> None:
        powercap.set("intel-rapl:0", 15_000_000)
        powercap.set("intel-rapl:1", 2_500_000)
        for other in ("intel-rapl:0:0", "intel-rapl:0:1", "intel-rapl:2", "intel-rapl-mmio:0"):
            powercap.set(other, 999_000_000)

    assert used(PackageEnergy(powercap.folder), work) == (12.5, "CPU packages")


@given(st.integers(1, 2**40), st.data())
def test_a_counter_that_begins_again_has_gone_as_far(most: int, data: st.DataObject) -> None:
    before = data.draw(st.integers(0, most))
    gone = data.draw(st.integers(0, most - 1))
    after = before + gone if before + gone <= most else before + gone - most
    assert counter_increase(before, after, most) == gone


def test_a_wrap_during_training_is_seen(powercap: Powercap) -> None:
    powercap.zone("intel-rapl:0", "package-0", RANGE - 1_000_000)
    joules, of = used(PackageEnergy(powercap.folder), lambda: powercap.set("intel-rapl:0", 3_000_000))
    assert joules == pytest.approx(4.0)
    assert of == "CPU packages"


def test_a_stretch_in_which_it_may_have_wrapped_twice_is_not_known(powercap: Powercap) -> None:
    powercap.zone("intel-rapl:0", "package-0", 0)
    sensor = PackageEnergy(powercap.folder)
    full_at_500_watts = RANGE / 1e6 / 500
    assert used(sensor, lambda: powercap.set("intel-rapl:0", 1), full_at_500_watts * 0.99)[0] is not None
    assert used(sensor, lambda: powercap.set("intel-rapl:0", 2), full_at_500_watts * 1.01) == (None, None)


@pytest.mark.parametrize("broken", ["", "denied", "nonsense", "standing"])
def test_one_package_without_an_answer_blanks_all(powercap: Powercap, broken: str) -> None:
    powercap.zone("intel-rapl:0", "package-0", 0)
    powercap.zone("intel-rapl:1", "package-1", 0)
    if broken == "denied":  # root may read any file, so a folder takes the place of the file
        (powercap.folder / "intel-rapl:1" / "energy_uj").unlink()
        (powercap.folder / "intel-rapl:1" / "energy_uj").mkdir()
    if broken == "nonsense":
        powercap.set("intel-rapl:1", "n/a")

    def work() -> None:
        powercap.set("intel-rapl:0", 7_000_000)
        if not broken:
            powercap.set("intel-rapl:1", 1_000_000)

    assert used(PackageEnergy(powercap.folder), work) == ((None, None) if broken else (8.0, "CPU packages"))


def test_without_counters_it_is_blank(tmp_path: Path) -> None:
    assert used(PackageEnergy(tmp_path / "none"), lambda: None) == (None, None)


def gpu_energy(nvml: Nvml) -> GpuEnergy:
    gpu = gpu_by_uuid("GPU-1", nvml)
    assert gpu is not None
    return GpuEnergy(gpu)


def test_the_gpu_counts_millijoules() -> None:
    nvml = Nvml(millijoules=1_000_000)
    assert used(gpu_energy(nvml), lambda: setattr(nvml, "millijoules", 1_250_000)) == (250.0, "GPU")


def test_a_gpu_without_a_counter_is_blank() -> None:
    nvml = Nvml(millijoules=None)
    assert used(gpu_energy(nvml), lambda: None) == (None, None)
    assert used(gpu_energy(nvml), lambda: setattr(nvml, "millijoules", 5)) == (None, None), "it began too late"


def test_gpus_that_cannot_be_asked() -> None:
    assert gpu_by_uuid("GPU-2", Nvml()) is None
    assert gpu_by_uuid("GPU-1", Nvml(mig=1)) is None, "its counters are those of all slices"
    assert gpu_by_uuid("GPU-1", Nvml(mig=0)) is not None
    assert gpu_of("cpu", Nvml()) is None


def test_energy_covers_the_training_clock_and_nothing_else(powercap: Powercap) -> None:
    powercap.zone("intel-rapl:0", "package-0", 1_000_000)
    nvml = Nvml(millijoules=500)
    group = SensorGroup([PackageEnergy(powercap.folder), gpu_energy(nvml)])
    clock = TrainingClock(lambda: None, sensors=group)

    def both(millijoules: int) -> None:
        nvml.millijoules = (nvml.millijoules or 0) + millijoules
        file = powercap.folder / "intel-rapl:0" / "energy_uj"
        powercap.set("intel-rapl:0", int(file.read_text("utf-8")) + 2000 * millijoules)

    both(10_000)  # loading, before training
    clock.start()
    both(3_000)
    with clock.stopped():
        both(50_000)  # an evaluation
        with clock.stopped():
            both(50_000)
    both(4_000)
    clock.stop()
    both(10_000)  # predicting, after training
    assert energy_used(group.sums, clock.seconds) == (pytest.approx(7 + 14), "GPU and CPU packages")


def test_a_part_of_training_is_not_taken_for_all_of_it() -> None:
    sums = {"joules, GPU": 100.0, "seconds of joules, GPU": 50.0}
    assert energy_used(sums, 50.2) == (100.0, "GPU")
    assert energy_used(sums, 60.0) == (None, None)
    assert energy_used(sums, 0.0) == (None, None), "nothing was trained"
    both = {**sums, "joules, CPU packages": 30.0, "seconds of joules, CPU packages": 20.0}
    assert energy_used(both, 50.0) == (100.0, "GPU"), "the packages were measured for a part only"


def test_a_card_that_torch_sees_is_found_by_its_name() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    pytest.importorskip("pynvml")
    gpu = gpu_of("cuda")
    assert gpu is None or gpu.is_partitioned() is False
