"""Selection of the device, and memory kept by the process."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest
import torch

from harness.errors import HarnessError
from harness.platform.memory import GpuPeaks, device_memory, gpu_peaks, reset_gpu_peaks
from harness.training.device import (
    arithmetic,
    autocast,
    has_bfloat16,
    random_state,
    restore_random_state,
    select_device,
    synchroniser,
    validate_device,
)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc alone can be asked for it")
def test_freed_memory_stays_with_the_process() -> None:
    """Memory that is freed and allocated again causes no page faults."""
    counted = """
import resource, numpy as np
from harness.training.device import keep_freed_memory
def pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        blocks = [np.ones(2**20, np.uint8) for _ in range(4)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
keep_freed_memory()
pages()
print(pages())
"""
    done = subprocess.run([sys.executable, "-c", counted], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 500, "all blocks together are 20,480 pages"


class RecordedCuda:
    """Two fake CUDA devices, and the calls to them in order.

    As torch does, it refuses to reset peaks before CUDA is initialised.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        self.initialised = False
        monkeypatch.setattr("torch.cuda.is_available", lambda: True)
        monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
        monkeypatch.setattr("torch.cuda.is_initialized", lambda: self.initialised)
        monkeypatch.setattr("torch.cuda.init", self.init)
        monkeypatch.setattr("torch.cuda.set_device", lambda number: self.calls.append(f"set_device {number}"))
        monkeypatch.setattr("torch.cuda.reset_peak_memory_stats", self.reset)

    def init(self) -> None:
        self.initialised = True
        self.calls.append("init")

    def reset(self, device: str) -> None:
        if not self.initialised:
            raise RuntimeError("Invalid device argument")
        self.calls.append(f"reset {device}")


def test_a_numbered_device_is_current_before_anything_else_is_asked_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = RecordedCuda(monkeypatch)
    select_device("cuda:1")
    reset_gpu_peaks("cuda:1")
    assert cuda.calls == ["set_device 1", "init", "reset cuda:1"]


def test_the_device_without_a_number_stays_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = RecordedCuda(monkeypatch)
    select_device("cuda")
    assert cuda.calls == ["init"]


def test_peaks_are_not_reset_before_cuda_is_initialised(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = RecordedCuda(monkeypatch)
    reset_gpu_peaks("cuda:0")
    assert cuda.calls == []


def test_a_cpu_needs_no_selection(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = RecordedCuda(monkeypatch)
    select_device("cpu")
    assert cuda.calls == []


def test_a_missing_device_is_reported_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    RecordedCuda(monkeypatch)
    assert validate_device("cuda:1") == "cuda:1"
    with pytest.raises(HarnessError, match=r"cuda:2.*the last is cuda:1"):
        validate_device("cuda:2")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(HarnessError, match="cuda:0: torch sees no CUDA device here; type --device cpu"):
        select_device("cuda:0")


@pytest.mark.parametrize("variable", ["ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"])
@pytest.mark.parametrize(
    ("limit", "expected"),
    [("AVX2", False), ("avx512_core", False), ("AVX512_CORE_BF16", True), ("DEFAULT", True), ("", True)],
)
def test_a_processor_that_must_not_use_bfloat16_computes_in_float32(
    monkeypatch: pytest.MonkeyPatch, variable: str, limit: str, expected: bool
) -> None:
    for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    monkeypatch.setenv(variable, limit)
    assert has_bfloat16("cpu") is expected


def test_precision_chooses_the_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    for has_it, expected in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr("harness.training.device.has_bfloat16", lambda device, has_it=has_it: has_it)
        assert arithmetic("cpu") == expected
        assert arithmetic("cpu", "float32") == "float32"
        assert arithmetic("cpu", "bfloat16") == "bfloat16"
        with autocast("cpu"):
            assert torch.is_autocast_enabled("cpu") is has_it


@pytest.fixture
def apple(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A fake GPU of Apple on macOS 13, and the calls to it in order."""
    calls: list[str] = []
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    monkeypatch.setattr("torch.backends.mps.is_macos_or_newer", lambda major, minor: major <= 13)
    monkeypatch.setattr("torch.mps.synchronize", lambda: calls.append("synchronize"))
    monkeypatch.setattr("torch.mps.get_rng_state", lambda: torch.tensor([7]))
    monkeypatch.setattr("torch.mps.set_rng_state", lambda state: calls.append(f"set {state.tolist()}"))
    monkeypatch.setattr("torch.mps.driver_allocated_memory", lambda: 5 << 20)
    monkeypatch.setattr("torch.mps.recommended_max_memory", lambda: 9 << 20)
    return calls


def test_apples_gpu_is_waited_for_before_a_clock_is_read(apple: list[str]) -> None:
    select_device("mps")
    assert apple == []
    synchroniser("mps")()
    assert apple == ["synchronize"]


def test_apples_gpu_has_its_own_random_numbers(apple: list[str]) -> None:
    restore_random_state(random_state("mps"), "mps")
    assert apple == ["set [7]"]


def test_apples_gpu_computes_in_float32_before_macos_14(apple: list[str]) -> None:
    assert arithmetic("mps") == "float32"
    with pytest.raises(HarnessError, match="from macOS 14 on; type --precision float32"):
        arithmetic("mps", "bfloat16")


def test_the_memory_of_apples_gpu_is_what_its_allocator_holds(apple: list[str]) -> None:
    assert gpu_peaks("mps") == GpuPeaks(None, 5 << 20, 5 << 20)
    assert device_memory("mps") == 9 << 20


def test_without_apples_gpu_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    with pytest.raises(HarnessError, match="mps: torch sees no GPU of Apple here"):
        select_device("mps")
