"""Memory figures of the system."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from systems import tells_what_is_shared

from harness.platform.memory import _container_limits, gpu_peaks, machine_memory, memory_of, reset_gpu_peaks

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


FORKS = """
import os, sys
block = bytearray(b"x") * (100 << 20)
children = []
for _ in range(4):
    child = os.fork()
    if not child:
        sys.stdin.read()
        os._exit(0)
    children.append(child)
print("ready", flush=True)
sys.stdin.read()
for child in children:
    os.waitpid(child, 0)
"""


@tells_what_is_shared
def test_what_forks_share_is_counted_once() -> None:
    """Four forks of a process with 100 MiB hold about 100 MiB together, not 500."""
    with subprocess.Popen([sys.executable, "-c", FORKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        leader = psutil.Process(process.pid)
        forks = leader.children()
        held = memory_of([leader, *forks])
        process.stdin.close()
    assert len(forks) == 4
    assert 100 << 20 < held < 150 << 20


def test_a_process_that_has_ended_holds_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        ended = psutil.Process(process.pid)
    assert memory_of([ended]) == 0


@pytest.mark.parametrize(
    ("membership", "files", "limits"),
    [
        ("0::/job_7/step", {"job_7/step/memory.max": "max", "job_7/memory.max": "300"}, [300]),
        ("0::/", {"memory.max": "500"}, [500]),
        (
            "5:cpu:/x\n4:memory:/slurm/job_7",
            {"memory/slurm/job_7/memory.limit_in_bytes": "300", "memory/memory.limit_in_bytes": "900"},
            [300, 900],
        ),
        ("4:memory:/docker/abc", {"memory/memory.limit_in_bytes": "700"}, [700]),
        ("", {}, []),
    ],
)
def test_the_limits_of_a_job_are_those_of_its_nested_groups(
    tmp_path: Path, membership: str, files: dict[str, str], limits: list[int]
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    assert _container_limits(tmp_path, membership) == limits


def test_a_process_of_which_the_system_tells_little_counts_what_is_resident() -> None:
    """Windows may answer with a bare OSError while a process ends."""

    class Resident:
        rss = 5

    class Reticent:
        def __init__(self, told: object) -> None:
            self.told = told

        def memory_full_info(self) -> object:
            raise OSError(22, "Invalid parameter")

        def memory_info(self) -> object:
            if isinstance(self.told, Exception):
                raise self.told
            return self.told

    told = (Resident(), OSError(22, "Invalid parameter"), psutil.NoSuchProcess(1))
    assert memory_of([Reticent(what) for what in told]) == 5  # type: ignore[misc]
