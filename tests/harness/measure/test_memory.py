from __future__ import annotations

import subprocess
import sys

import pytest

from harness.measure.memory import gpu_peaks, machine_memory, peak_rss, reset_gpu_peaks

CHILD = "from harness.measure.memory import peak_rss; print(peak_rss())"


def test_the_peak_counts_what_was_given_back() -> None:
    before = peak_rss()
    block = bytearray(b"x") * (64 << 20)
    del block
    assert peak_rss() >= before + (32 << 20)


def test_a_child_does_not_inherit_the_peak() -> None:
    block = bytearray(b"x") * (256 << 20)
    child = int(subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True).stdout)
    assert len(block) > child > 2 << 20


def test_there_is_memory() -> None:
    assert machine_memory() > 1 << 20


def test_without_a_gpu_there_are_no_peaks() -> None:
    assert gpu_peaks("cpu") is None
    reset_gpu_peaks("cpu")


@pytest.mark.gpu
def test_gpu_peaks() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    reset_gpu_peaks("cuda")
    block = torch.zeros(64 << 20, dtype=torch.uint8, device="cuda")
    del block
    peaks = gpu_peaks("cuda")
    assert peaks is not None
    assert 64 << 20 <= peaks.allocated <= peaks.reserved <= peaks.device
