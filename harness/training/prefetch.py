"""Training batches made ahead of time, in order: by a thread beside a CPU, by processes beside a GPU.

Work for a GPU is handed out by one Python thread, and another that makes batches would hold it up for as long as it
works: both need the interpreter. On a CPU the cores are busy in either case, and a thread copies nothing.
"""

from __future__ import annotations

import itertools
import os
import pickle
import shutil
import sys
import traceback
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from harness.contract import Sample

Make = Callable[[int], list[Sample]]
Batches = Generator[list[Sample], None, None]

PROCESSES = 4
AHEAD = 2
"""Batches that are ready or in the making: of each process, or in all where it is a thread that makes them."""


SHARED = Path("/dev/shm")
SHARED_BYTES = 512 * 2**20
"""Processes hand over their batches there; a container may have as little as 64 MiB of it."""


def prefetched(make: Make, start: int, device: str) -> Batches:
    """Batches start, start + 1, ... without end, made in the way that suits the device.

    Raises what `make` raises.
    """
    if not device.startswith("cuda") or sys.platform != "linux":
        return by_threads(make, start)
    if shutil.disk_usage(SHARED).free < SHARED_BYTES:
        print(
            f"{SHARED} has less than {SHARED_BYTES >> 20} MiB free: batches are made by threads, which holds the GPU "
            "up; give the container more (docker run --shm-size=2g)",
            file=sys.stderr,
        )
        return by_threads(make, start, workers=PROCESSES, ahead=PROCESSES * AHEAD)
    return by_processes(make, start, min(PROCESSES, max(1, len(os.sched_getaffinity(0)) - 1)))


def by_threads(make: Make, start: int, workers: int = 1, ahead: int = AHEAD) -> Batches:
    _keep_opencv_to_one_thread()
    with ThreadPoolExecutor(workers, thread_name_prefix="batch") as pool:
        waiting: list[Future[list[Sample]]] = [pool.submit(make, start + k) for k in range(ahead)]
        step = start + ahead
        try:
            while True:
                ready = waiting.pop(0).result()
                waiting.append(pool.submit(make, step))
                step += 1
                yield ready
        finally:
            for future in waiting:
                future.cancel()


def by_processes(make: Make, start: int, workers: int, ahead: int = AHEAD) -> Batches:
    """The processes are forked, so that `make` finds in them what it has here; it must not touch a GPU."""
    _keep_opencv_to_one_thread()
    loader: DataLoader[Parcel] = DataLoader(
        _Steps(make),
        sampler=_From(start),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=ahead,
        collate_fn=_as_it_is,  # type: ignore[arg-type]  # with no batch size, items and not lists of them
        multiprocessing_context="fork",
    )
    for parcel in loader:
        content = unpacked(parcel)
        if isinstance(content, BaseException):
            raise content
        yield content


def _keep_opencv_to_one_thread() -> None:
    """Threads of its own wait for the next piece of work by turning round and round on cores that the step needs: they
    made up half of what Copy-Paste costs on two cores. A fork has none of them, and would wait for them for ever."""
    import cv2

    cv2.setNumThreads(1)


Parcel = tuple[bytes, list[int], torch.Tensor]
"""A pickle, the lengths of the arrays that it speaks of, and their bytes in memory that processes share."""
ALIGNED = 64
"""Each array begins at a multiple of so many bytes, as arrays do that are alone in their memory."""


def packed(content: object) -> Parcel:
    buffers: list[pickle.PickleBuffer] = []
    text = pickle.dumps(content, protocol=5, buffer_callback=buffers.append)
    arrays = [np.frombuffer(one.raw(), np.uint8) for one in buffers]
    lengths = [len(one) for one in arrays]
    together = torch.empty(sum(map(_padded, lengths)), dtype=torch.uint8)
    flat, begin = together.numpy(), 0
    for one in arrays:
        flat[begin : begin + len(one)] = one
        begin += _padded(len(one))
    return text, lengths, together


def unpacked(parcel: Parcel) -> list[Sample] | BaseException:
    text, lengths, together = parcel
    flat, begin, arrays = together.numpy(), 0, []
    for length in lengths:
        arrays.append(flat[begin : begin + length])
        begin += _padded(length)
    content: list[Sample] | BaseException = pickle.loads(text, buffers=arrays)
    return content


def _padded(length: int) -> int:
    return -(-length // ALIGNED) * ALIGNED


class _Steps(Dataset[Parcel]):
    def __init__(self, make: Make) -> None:
        self.make = make

    def __getitem__(self, step: int) -> Parcel:
        try:
            return packed(self.make(step))
        except Exception as error:  # raised where the batch is asked for, as it is, and not in a wrapping
            error.add_note(traceback.format_exc())
            return packed(_sendable(error))


class _From:
    def __init__(self, start: int) -> None:
        self.start = start

    def __iter__(self) -> Iterator[int]:
        return itertools.count(self.start)


def _as_it_is(parcel: Parcel) -> Parcel:
    return parcel


def _sendable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # an exception may ask its constructor for more than it keeps
        plain = RuntimeError(f"{type(error).__name__}: {error}")
        plain.add_note(traceback.format_exc())
        return plain
    return error
