"""Training batches made ahead of time, in order: by a thread beside a CPU, by processes beside a GPU.

Kernels for a GPU are launched by one Python thread. A second thread that makes batches would delay it, since both need
the interpreter lock; hence processes. On a CPU the cores are busy in either case, and a thread copies nothing.
"""

from __future__ import annotations

import itertools
import pickle
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from harness.contract import Sample
from harness.platform.processes import can_fork, usable_cores

MakeBatch = Callable[[int], list[Sample]]
"""The batch of a step."""

PROCESSES = 4
AHEAD = 2
"""Batches ready or in the making: for each process, or in all for a thread."""

SHARED_MEMORY = Path("/dev/shm")
SHARED_MEMORY_BYTES = 512 * 2**20
"""Processes pass their batches through shared memory. A container may have as little as 64 MiB of it."""


class Batches(Protocol):
    """Batches of consecutive steps, without end. `close` ends the threads or processes that make them."""

    def __next__(self) -> list[Sample]:
        """The next batch. Raises what making it raised."""
        ...

    def close(self) -> None: ...


def prefetched(make: MakeBatch, start: int, device: str) -> Batches:
    """Start making batches `start`, `start` + 1, ... in the way that suits the device.

    The threads or processes have been started when this returns.
    """
    if not device.startswith("cuda") or not can_fork():
        return ThreadBatches(make, start)
    if shutil.disk_usage(SHARED_MEMORY).free < SHARED_MEMORY_BYTES:
        print(
            f"{SHARED_MEMORY} has less than {SHARED_MEMORY_BYTES >> 20} MiB free: batches are made by threads, which "
            "slows the GPU down; give the container more (docker run --shm-size=2g)",
            file=sys.stderr,
        )
        return ThreadBatches(make, start, workers=PROCESSES, ahead=PROCESSES * AHEAD)
    return ProcessBatches(make, start, min(PROCESSES, max(1, usable_cores() - 1)))


class ThreadBatches:
    """Batches made by threads of this process."""

    def __init__(self, make: MakeBatch, start: int, workers: int = 1, ahead: int = AHEAD) -> None:
        _limit_opencv_to_one_thread()
        self._make, self._steps = make, itertools.count(start)
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="batch")
        self._waiting: list[Future[list[Sample]]] = []
        for _ in range(ahead):
            self._submit()

    def __next__(self) -> list[Sample]:
        batch = self._waiting.pop(0).result()
        self._submit()
        return batch

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _submit(self) -> None:
        self._waiting.append(self._pool.submit(self._make, next(self._steps)))


class ProcessBatches:
    """Batches made by forked processes, in which `make` finds what it has here. It must not touch a GPU."""

    def __init__(self, make: MakeBatch, start: int, workers: int, ahead: int = AHEAD) -> None:
        _limit_opencv_to_one_thread()
        loader: DataLoader[SerialisedBatch] = DataLoader(
            _SerialisedSteps(make),
            sampler=_StepsFrom(start),
            batch_size=None,
            num_workers=workers,
            prefetch_factor=ahead,
            collate_fn=_unchanged,  # type: ignore[arg-type]  # with no batch size, items and not lists of them
            multiprocessing_context="fork",
        )
        # the processes are forked here, not when the first batch is asked for
        self._batches: Iterator[SerialisedBatch] | None = iter(loader)

    def __next__(self) -> list[Sample]:
        if self._batches is None:
            raise StopIteration
        content = deserialise(next(self._batches))
        if isinstance(content, BaseException):
            raise content
        return content

    def close(self) -> None:
        # the loader's iterator ends its processes when it is freed
        self._batches = None


def _limit_opencv_to_one_thread() -> None:
    """OpenCV's threads spin on cores that the training step needs; they were half the cost of Copy-Paste on two cores.

    A fork would also wait for ever for threads that it does not have.
    """
    import cv2

    cv2.setNumThreads(1)


SerialisedBatch = tuple[bytes, list[int], torch.Tensor]
"""A pickle, the lengths in bytes of its out-of-band arrays, and their bytes in memory that processes share."""
ALIGNMENT = 64
"""Alignment of arrays in bytes, that of separately allocated arrays."""


def serialise(content: object) -> SerialisedBatch:
    """Pickle `content`, with the bytes of its arrays beside the pickle, so that they are copied only once."""
    buffers: list[pickle.PickleBuffer] = []
    text = pickle.dumps(content, protocol=5, buffer_callback=buffers.append)
    arrays = [np.frombuffer(buffer.raw(), np.uint8) for buffer in buffers]
    lengths = [len(array) for array in arrays]
    shared = torch.empty(sum(map(_aligned, lengths)), dtype=torch.uint8)
    flat, begin = shared.numpy(), 0
    for array in arrays:
        flat[begin : begin + len(array)] = array
        begin += _aligned(len(array))
    return text, lengths, shared


def deserialise(serialised: SerialisedBatch) -> list[Sample] | BaseException:
    """The inverse of serialise. The arrays are views of the shared memory."""
    text, lengths, shared = serialised
    flat, begin, arrays = shared.numpy(), 0, []
    for length in lengths:
        arrays.append(flat[begin : begin + length])
        begin += _aligned(length)
    content: list[Sample] | BaseException = pickle.loads(text, buffers=arrays)
    return content


def _aligned(length: int) -> int:
    return -(-length // ALIGNMENT) * ALIGNMENT


class _SerialisedSteps(Dataset[SerialisedBatch]):
    """What the processes run. An error is returned like a batch, so that it can be raised unwrapped."""

    def __init__(self, make: MakeBatch) -> None:
        self.make = make

    def __getitem__(self, step: int) -> SerialisedBatch:
        try:
            return serialise(self.make(step))
        except Exception as error:
            error.add_note(traceback.format_exc())
            return serialise(_picklable(error))


class _StepsFrom:
    """A sampler: all steps from `start` on."""

    def __init__(self, start: int) -> None:
        self.start = start

    def __iter__(self) -> Iterator[int]:
        return itertools.count(self.start)


def _unchanged(batch: SerialisedBatch) -> SerialisedBatch:
    return batch


def _picklable(error: Exception) -> Exception:
    """The error, or a RuntimeError with its message where it cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # an exception may ask its constructor for more than it keeps
        plain = RuntimeError(f"{type(error).__name__}: {error}")
        plain.add_note(traceback.format_exc())
        return plain
    return error
