"""Prefetched batches come in order, equal those made without prefetching, and carry errors along."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import psutil
import pytest
from systems import needs_forks

from harness.contract import Sample, Task
from harness.data.sources import load
from harness.errors import HarnessError
from harness.training import prefetch
from harness.training.prefetch import (
    Batches,
    MakeBatch,
    ProcessBatches,
    ThreadBatches,
    deserialise,
    prefetched,
    serialise,
)
from harness.training.stream import TrainingStream
from methods.copy_paste import CopyPasteOptions
from methods.copy_paste import transform as copy_paste
from methods.shared import supervision

WAYS: list[Callable[[MakeBatch, int], Batches]] = [
    lambda make, start: ThreadBatches(make, start, workers=3, ahead=5),
    lambda make, start: ProcessBatches(make, start, workers=2),
]
both = pytest.mark.parametrize(
    "way", [pytest.param(WAYS[0], id="threads"), pytest.param(WAYS[1], id="processes", marks=needs_forks)]
)


def numbers(step: int) -> Any:
    return [step]


@both
def test_batches_come_in_order_and_stop(way: Callable[[MakeBatch, int], Batches]) -> None:
    batches = way(numbers, 3)
    assert [next(batches)[0] for _ in range(20)] == list(range(3, 23))
    batches.close()


@both
def test_opencv_has_no_threads_beside_those_that_train(way: Callable[[MakeBatch, int], Batches]) -> None:
    cv2.setNumThreads(2)
    batches = way(lambda step: [cv2.getNumThreads()], 0)  # type: ignore[list-item]
    assert next(batches) == [1]
    batches.close()


@both
def test_an_error_in_a_batch_is_raised_where_it_is_asked_for(way: Callable[[MakeBatch, int], Batches]) -> None:
    def make(step: int) -> list[Sample]:
        if step == 1:
            raise HarnessError("broken augmentation")
        return numbers(step)  # type: ignore[no-any-return]

    batches = way(make, 0)
    next(batches)
    with pytest.raises(HarnessError) as raised:
        next(batches)
    assert str(raised.value) == "broken augmentation"


@needs_forks
def test_the_place_where_a_process_failed_is_reported() -> None:
    def make(step: int) -> list[Sample]:
        raise ValueError("broken augmentation")

    with pytest.raises(ValueError, match="broken") as raised:
        next(ProcessBatches(make, 0, workers=1))
    assert "test_prefetch.py" in "".join(raised.value.__notes__)


class Particular(Exception):  # noqa: N818
    def __init__(self, what: str, where: str) -> None:
        super().__init__(what)


@needs_forks
def test_an_error_that_cannot_be_pickled_is_reported_in_words() -> None:
    def make(step: int) -> list[Sample]:
        raise Particular("odd", "here")

    with pytest.raises(RuntimeError, match="Particular: odd"):
        next(ProcessBatches(make, 0, workers=1))


@needs_forks
def test_a_process_that_is_killed_ends_the_training() -> None:
    def make(step: int) -> list[Sample]:
        os._exit(9)

    with pytest.raises(RuntimeError, match="exited unexpectedly"):
        next(ProcessBatches(make, 0, workers=1))


@needs_forks
def test_what_processes_make_is_what_is_made_here() -> None:
    data = load("synthetic:images=6,size=96", cache=False)
    task = Task(("a", "b", "c"), (120.0,) * 3, (30.0,) * 3, 64, 20, (96, 96))
    stream = TrainingStream(data, range(6), copy_paste.build(task, CopyPasteOptions()), supervision.build(task), 2, 0)  # type: ignore[arg-type]
    batches = ProcessBatches(stream.batch, 4, workers=2)
    for step in range(4, 9):
        for one, other in zip(next(batches), stream.batch(step), strict=True):
            assert one.image_id == other.image_id
            np.testing.assert_array_equal(one.image, other.image)
            assert one.instances.masks is not None
            assert other.instances.masks is not None
            np.testing.assert_array_equal(one.instances.masks.pixels, other.instances.masks.pixels)
            np.testing.assert_array_equal(one.instances.masks.offsets, other.instances.masks.offsets)
            assert one.instances.masks.offsets.flags.aligned
    batches.close()


def test_arrays_travel_beside_the_pickle() -> None:
    arrays = [np.arange(5), np.zeros((0, 4), np.int32), np.arange(12.0).reshape(3, 4)[:, ::2], np.uint8(7)]
    text, lengths, _ = parcel = serialise(arrays)
    assert lengths == [40, 0]
    assert len(text) < 600
    for sent, found in zip(arrays, deserialise(parcel), strict=True):  # type: ignore[arg-type]
        np.testing.assert_array_equal(found, sent)  # type: ignore[arg-type]


def test_a_thread_serves_a_cpu_and_processes_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[str] = []
    for name in ("ThreadBatches", "ProcessBatches"):
        monkeypatch.setattr(prefetch, name, lambda *_, name=name, **__: chosen.append(name))
    monkeypatch.setattr(prefetch, "SHARED_MEMORY_BYTES", 0)
    monkeypatch.setattr(prefetch, "can_fork", lambda: True)
    prefetched(numbers, 0, "cpu")
    prefetched(numbers, 0, "cuda:0")
    assert chosen == ["ThreadBatches", "ProcessBatches"]


@needs_forks
def test_little_shared_memory_is_reported(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(prefetch, "SHARED_MEMORY_BYTES", 2**60)
    batches = prefetched(numbers, 0, "cuda")
    assert next(batches) == [0]
    batches.close()
    assert "--shm-size" in capsys.readouterr().err


@needs_forks
def test_processes_are_forked_before_the_first_batch_is_asked_for() -> None:
    """So that they are forked before the training clock starts."""
    before = set(psutil.Process().children())
    batches = ProcessBatches(numbers, 0, workers=2)
    started = set(psutil.Process().children()) - before
    # multiprocessing may have started a helper process too
    assert len(started) >= 2
    batches.close()
    ended, _ = psutil.wait_procs(started, timeout=30)
    assert len(ended) >= 2
