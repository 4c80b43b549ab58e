from __future__ import annotations

import subprocess
import sys

import pytest

from harness.platform.memory import gpu_peaks, machine_memory, reset_gpu_peaks

CHILD = """
from harness.platform.memory import peak_rss
before = peak_rss()
block = bytearray(b"x") * (64 << 20)
del block
print(before, peak_rss())
"""


def peaks_of_child() -> tuple[int, int]:
    done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    return before, after


def test_the_peak_counts_what_was_given_back() -> None:
    before, after = peaks_of_child()
    assert before + (60 << 20) < after < before + (160 << 20)


def test_a_child_does_not_inherit_the_peak() -> None:
    block = bytearray(b"x") * (256 << 20)
    assert len(block) > peaks_of_child()[0] > 2 << 20


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
