"""The device a trial runs on: selection, synchronisation, seeding and arithmetic."""

from __future__ import annotations

import ctypes
import math
import os
import random
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch

from harness.config.precision import Precision
from harness.errors import HarnessError

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's mallopt."""


def validate_device(device: str) -> str:
    """Return the device unchanged. Raises HarnessError where torch does not see it."""
    if device == "mps" and not torch.backends.mps.is_available():
        raise HarnessError(
            "--device mps: torch sees no GPU of Apple here; it takes macOS on Apple silicon; type --device cpu"
        )
    if not device.startswith("cuda"):
        return device
    if not torch.cuda.is_available():
        raise HarnessError(
            f"--device {device}: torch sees no CUDA device here; type --device cpu, or see `harness doctor`"
        )
    number, count = device.partition(":")[2], torch.cuda.device_count()
    if number and int(number) >= count:
        raise HarnessError(f"--device {device}: this machine has {count} CUDA devices; the last is cuda:{count - 1}")
    return device


def select_device(device: str) -> None:
    """Make a CUDA device the current one of this process, and initialise it; a CPU needs nothing.

    Called before anything else uses CUDA. Events and streams made without naming a device belong to the current one,
    and the peaks of memory can be reset only after initialisation. Raises HarnessError where it is not there.
    """
    validate_device(device)
    if not device.startswith("cuda"):
        return
    number = device.partition(":")[2]
    if number:
        torch.cuda.set_device(int(number))
    torch.cuda.init()


def keep_freed_memory() -> None:
    """Keep freed memory in this process, where the C library is glibc.

    A training step frees and allocates the same memory again. Memory that went back to the system in between comes as
    pages that the system fills with zeros first: 6,000 in each step of the quick preset, a twentieth of its time.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    # the most that glibc takes
    mallopt(_M_MMAP_THRESHOLD, 2**25)


def synchroniser(device: str) -> Callable[[], None]:
    """A function that waits until the device has done all queued work."""
    if device == "mps":
        return torch.mps.synchronize
    return partial(torch.cuda.synchronize, device) if device.startswith("cuda") else _nothing


def _nothing() -> None:
    return None


_ISA_WITHOUT_BFLOAT16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI")
"""Values of ONEDNN_MAX_CPU_ISA (oneDNN's page on CPU dispatcher control)."""


def has_bfloat16(device: str) -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware; elsewhere it would only be slower."""
    if device.startswith("cuda"):
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device == "mps":
        # before macOS 14 it has none at all, and what it gains since has not been measured
        return False
    if _onednn_is_limited():
        return False
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # not public in torch; absent means no
    return any(bool(getattr(torch.cpu, probe, bool)()) for probe in probes)


def _onednn_is_limited() -> bool:
    """Whether oneDNN, which multiplies for torch, was told to leave the processor's bfloat16 instructions alone.

    It then emulates them: with AVX2 a product takes 150 times as long as in float32.
    """
    most = next((os.environ[name] for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA") if os.environ.get(name)), "")
    return most.upper() in _ISA_WITHOUT_BFLOAT16


def arithmetic(device: str, precision: Precision = "auto") -> str:
    """What a trial computes in: "bfloat16" or "float32". Raises HarnessError where the device has no bfloat16."""
    if precision == "bfloat16" and device == "mps" and not torch.backends.mps.is_macos_or_newer(14, 0):
        raise HarnessError("--precision bfloat16: Apple's GPUs have it from macOS 14 on; type --precision float32")
    if precision == "auto":
        return "bfloat16" if has_bfloat16(device) else "float32"
    return precision


def autocast(device: str, precision: Precision = "auto", keep_cast: bool = True) -> AbstractContextManager[Any]:
    """The context for a forward pass. Under bfloat16, losses and box coordinates stay float32.

    Args:
        device: "cpu", "mps" or "cuda[:N]".
        precision: "bfloat16" is used also where the device only emulates it, which is slow.
        keep_cast: keep the weights that were cast until the outermost context ends. False where weights are exchanged.
    """
    if arithmetic(device, precision) == "float32":
        return nullcontext()
    return torch.autocast(device.partition(":")[0], torch.bfloat16, cache_enabled=keep_cast)


def seed(number: int, deterministic: bool) -> None:
    """Seed torch, numpy and Python. deterministic: use kernels that repeat bit for bit, which are slower on a GPU."""
    random.seed(number)
    np.random.seed(number % 2**32)
    torch.manual_seed(number)
    if deterministic:
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False


def random_state(device: str) -> dict[str, torch.Tensor]:
    """State of the random generators of torch, numpy and Python, as tensors that a checkpoint can hold."""
    _, words, place, has_normal, normal = np.random.get_state(legacy=True)
    _, plain, spare = random.getstate()
    state = {
        "cpu": torch.get_rng_state(),
        "numpy": torch.tensor([*map(int, words), place, has_normal]),
        "python": torch.tensor(plain),
        # normal numbers are made in pairs; this is the second of a pair whose first has been used
        "spare": torch.tensor([normal, math.nan if spare is None else spare], dtype=torch.float64),
    }
    if device.startswith("cuda"):
        state["cuda"] = torch.cuda.get_rng_state(device)
    if device == "mps":
        state["mps"] = torch.mps.get_rng_state()
    return state


def restore_random_state(state: dict[str, torch.Tensor], device: str) -> None:
    """Set the generators to what random_state returned."""
    torch.set_rng_state(state["cpu"])
    normal, spare = state["spare"].tolist()
    *words, place, has_normal = state["numpy"].tolist()
    np.random.set_state(("MT19937", np.array(words, np.uint32), place, has_normal, normal))
    random.setstate((3, tuple(state["python"].tolist()), None if math.isnan(spare) else spare))
    if "cuda" in state and device.startswith("cuda"):
        torch.cuda.set_rng_state(state["cuda"], device)
    if "mps" in state and device == "mps":
        torch.mps.set_rng_state(state["mps"])
