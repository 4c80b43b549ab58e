"""Copies between host and GPU that neither waits for. On a CPU nothing is copied."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from methods.shared.copy_stream import copy_to_gpu


def to_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """The array as a tensor on `device`, copied from pinned memory without blocking."""
    return tensor_to_device(torch.from_numpy(np.ascontiguousarray(array)), device)


def tensor_to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """The host tensor on `device`, copied from pinned memory without blocking."""
    return copy_to_gpu(tensor, device) if device.type == "cuda" else tensor.to(device)


def on_gpu(tensor: Tensor) -> bool:
    """Whether what suits a GPU is done: much at once and without waiting, in place of what fits the caches of a CPU."""
    return tensor.device.type != "cpu"


class AsyncHostCopy:
    """A copy of a small tensor to the host. Start it early and wait for it late, so that a GPU has work in between."""

    def __init__(self, value: Tensor) -> None:
        # without an event to wait for, as on Apple's GPUs, the copy has to be done when this returns
        self._value = value.detach().to("cpu", non_blocking=value.device.type == "cuda")
        self._done: torch.cuda.Event | None = None
        if value.device.type == "cuda":
            self._done = torch.cuda.Event()
            # the copy runs on the stream of the tensor's device, which need not be the current device
            self._done.record(torch.cuda.current_stream(value.device))

    def wait(self) -> Tensor:
        """The tensor on the host. Waits for the copy, not for work that the GPU was given after it."""
        if self._done is not None:
            self._done.synchronize()
        return self._value
