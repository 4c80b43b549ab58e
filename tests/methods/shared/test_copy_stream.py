"""Batches go to a GPU from pinned memory on a stream of their own; without a GPU, the calls are recorded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from methods.shared import copy_stream
from methods.shared.copy_stream import copy_to_gpu
from methods.shared.device_transfer import to_device

GPU = torch.device("cuda:0")


class RecordedStream:
    def __init__(self, name: str, calls: list[str]) -> None:
        self.name, self.calls = name, calls

    def wait_stream(self, other: RecordedStream) -> None:
        self.calls.append(f"{self.name} waits for {other.name}")


class RecordedTensor:
    """A fake tensor without a device."""

    def __init__(self, calls: list[str]) -> None:
        self.calls = calls

    def pin_memory(self) -> RecordedTensor:
        self.calls.append("pin")
        return self

    def to(self, device: torch.device, non_blocking: bool = False) -> RecordedTensor:
        self.calls.append(f"copy to {device}{', not blocking' if non_blocking else ''}")
        return self

    def record_stream(self, stream: RecordedStream) -> None:
        self.calls.append(f"kept for {stream.name}")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    calls: list[str] = []

    @contextmanager
    def entered(stream: RecordedStream) -> Iterator[None]:
        calls.append(f"begin {stream.name}")
        yield
        calls.append(f"end {stream.name}")

    copy_stream._stream.cache_clear()
    monkeypatch.setattr("torch.cuda.current_stream", lambda device: RecordedStream("current", calls))
    monkeypatch.setattr("torch.cuda.Stream", lambda device: RecordedStream("copies", calls))
    monkeypatch.setattr("torch.cuda.stream", entered)
    return calls


def test_a_copy_runs_on_its_own_stream_and_later_work_waits_for_it(calls: list[str]) -> None:
    tensor: Any = RecordedTensor(calls)
    assert copy_to_gpu(tensor, GPU) is tensor
    assert calls == [
        "begin copies",
        "pin",
        "copy to cuda:0, not blocking",
        "end copies",
        "current waits for copies",
        "kept for current",
    ]


def test_all_copies_to_a_device_share_one_stream(calls: list[str]) -> None:
    assert copy_stream._stream(GPU) is copy_stream._stream(GPU)
    assert copy_stream._stream(GPU) is not copy_stream._stream(torch.device("cuda:1"))


def test_arrays_take_this_way_to_a_gpu_and_none_to_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[torch.device] = []
    monkeypatch.setattr("methods.shared.device_transfer.copy_to_gpu", lambda tensor, device: taken.append(device))
    to_device(np.zeros(3, np.float32), GPU)
    assert taken == [GPU]
    on_cpu = to_device(np.zeros(3, np.float32), torch.device("cpu"))
    assert torch.equal(on_cpu, torch.zeros(3))
    assert taken == [GPU]
