"""Between host and GPU without either waiting for the other; on a CPU nothing is to_device."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from methods.shared.copy_stream import copy_to_gpu


def to_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """The array on the device, from memory that a GPU reads by itself while both go on."""
    return tensor_to_device(torch.from_numpy(np.ascontiguousarray(array)), device)


def tensor_to_device(tensor: Tensor, device: torch.device) -> Tensor:
    return copy_to_gpu(tensor, device) if device.type == "cuda" else tensor.to(device)


class AsyncHostCopy:
    """A small tensor on its way to the host: asked for early and read late, so that a GPU has work in between."""

    def __init__(self, value: Tensor) -> None:
        self._value = value.detach().to("cpu", non_blocking=True)
        self._done = None
        if value.device.type == "cuda":
            self._done = torch.cuda.Event()
            self._done.record()

    def wait(self) -> Tensor:
        """The tensor on the host; waits until it is there, not for what the GPU was given since."""
        if self._done is not None:
            self._done.synchronize()
        return self._value
