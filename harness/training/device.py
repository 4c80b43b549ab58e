"""The device a trial runs on: its memory, seeding, waiting for it, and the numbers it may compute in."""

from __future__ import annotations

import ctypes
import math
import random
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch

from harness.errors import HarnessError

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Of glibc's mallopt."""


def check(device: str) -> str:
    """The device by its full name. Raises HarnessError where it is not there."""
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise HarnessError("--device cuda: torch sees no CUDA device here; type --device cpu, or see `harness doctor`")
    return device


def keep_freed_memory() -> None:
    """Have memory that is freed stay with this process, where the C library is glibc.

    A training step frees and asks again for the same memory. Given back in between, it comes as pages that the system
    first has to fill with zeros: 6,000 in each step of the quick preset, a twentieth of its time.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    # the most that glibc takes
    mallopt(_M_MMAP_THRESHOLD, 2**25)


def synchroniser(device: str) -> Callable[[], None]:
    """Waits until all queued work is done."""
    return torch.cuda.synchronize if device.startswith("cuda") else _nothing


def _nothing() -> None:
    return None


def has_bfloat16(device: str) -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware; elsewhere it would only be slower."""
    if device.startswith("cuda"):
        return torch.cuda.is_bf16_supported(including_emulation=False)
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # not public in torch; absent means no
    return any(bool(getattr(torch.cpu, probe, bool)()) for probe in probes)


def autocast(device: str) -> AbstractContextManager[Any]:
    """bfloat16 arithmetic where the device has it, float32 elsewhere; losses and box coordinates stay float32."""
    return torch.autocast(device.partition(":")[0], torch.bfloat16) if has_bfloat16(device) else nullcontext()


def seed(number: int, deterministic: bool) -> None:
    """Seed torch, numpy and Python; with `deterministic`, ask for kernels that repeat bit for bit (slower on a GPU)."""
    random.seed(number)
    np.random.seed(number % 2**32)
    torch.manual_seed(number)
    if deterministic:
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False


def random_state(device: str) -> dict[str, torch.Tensor]:
    """The generators of torch, numpy and Python that a method may draw from, for a checkpoint."""
    _, words, place, has_normal, normal = np.random.get_state(legacy=True)
    _, plain, spare = random.getstate()
    state = {
        "cpu": torch.get_rng_state(),
        "numpy": torch.tensor([*map(int, words), place, has_normal]),
        "python": torch.tensor(plain),
        # the second of a pair of normal numbers, where the first has been given
        "spare": torch.tensor([normal, math.nan if spare is None else spare], dtype=torch.float64),
    }
    if device.startswith("cuda"):
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(state: dict[str, torch.Tensor], device: str) -> None:
    torch.set_rng_state(state["cpu"])
    normal, spare = state["spare"].tolist()
    *words, place, has_normal = state["numpy"].tolist()
    np.random.set_state(("MT19937", np.array(words, np.uint32), place, has_normal, normal))
    random.setstate((3, tuple(state["python"].tolist()), None if math.isnan(spare) else spare))
    if "cuda" in state and device.startswith("cuda"):
        torch.cuda.set_rng_state(state["cuda"], device)
