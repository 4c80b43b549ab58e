"""Copies of host memory to a GPU on a stream of their own, beside the kernels of the step before."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor


def copy_to_gpu(tensor: Tensor, device: torch.device) -> Tensor:
    """The host tensor on `device`. Neither the host nor the work that was queued before waits for the copy.

    On the current stream, the copy would begin only when all kernels queued there have ended. On its own stream it runs
    beside them; only what is queued on the current stream from now on waits for it.
    """
    current, copies = torch.cuda.current_stream(device), _stream(device)
    with torch.cuda.stream(copies):
        # from pinned memory, since a copy from other memory blocks the host
        copied = tensor.pin_memory().to(device, non_blocking=True)
    current.wait_stream(copies)
    # it was allocated on the other stream, and must not be reused before the current one has read it
    copied.record_stream(current)
    return copied


@cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)
