"""Copies between host and GPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from methods.shared.device_transfer import AsyncHostCopy, to_device


class TensorOnSecondGPU:
    """A fake tensor with the methods that a copy uses."""

    device = torch.device("cuda", 1)

    def detach(self) -> TensorOnSecondGPU:
        return self

    def to(self, device: str, non_blocking: bool) -> torch.Tensor:
        assert (device, non_blocking) == ("cpu", True)
        return torch.ones(2)


def test_the_event_of_a_copy_is_on_the_stream_of_the_tensors_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """The current device may be another one."""
    recorded: list[Any] = []

    class Event:
        def record(self, stream: Any) -> None:
            recorded.append(stream)

        def synchronize(self) -> None:
            recorded.append("waited")

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"stream of {device}")
    copy = AsyncHostCopy(TensorOnSecondGPU())  # type: ignore[arg-type]
    assert recorded == ["stream of cuda:1"]
    assert copy.wait().tolist() == [1, 1]
    assert recorded == ["stream of cuda:1", "waited"]


def test_on_a_cpu_nothing_is_copied() -> None:
    array = np.zeros(3)
    assert to_device(array, torch.device("cpu")).data_ptr() == array.ctypes.data
    value = torch.ones(2)
    assert AsyncHostCopy(value).wait().data_ptr() == value.data_ptr()
