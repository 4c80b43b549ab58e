"""Reading ahead: in order, on several cores, and not of more than the memory holds."""

from __future__ import annotations

import threading
import time
from functools import partial

import numpy as np
import pytest

from harness.conformance.images import draw_sample
from harness.data import read_ahead
from harness.data.read_ahead import MEMORY, READING_FACTOR, bytes_of, in_order


@pytest.fixture(autouse=True)
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_ahead, "usable_cores", lambda: 4)


class Held:
    """Counts the results that are being made or wait to be taken."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self._lock = threading.Lock()

    def make(self, number: int) -> int:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.002)
        return number

    def take(self) -> None:
        with self._lock:
            self.now -= 1


def read_all(sizes: list[int]) -> int:
    """The most results that were held at once; `sizes` are their bytes."""
    held = Held()
    for number, found in enumerate(in_order([partial(held.make, i) for i in range(len(sizes))], sizes.__getitem__)):
        assert found == number
        held.take()
    return held.most


def test_small_images_are_read_ahead_on_all_cores() -> None:
    assert 4 < read_all([1000] * 60) <= 10


def test_large_images_are_read_one_after_the_other() -> None:
    assert read_all([MEMORY // READING_FACTOR] * 20) == 1


def test_what_is_held_follows_the_size() -> None:
    assert read_all([MEMORY // READING_FACTOR // 3] * 40) == 3
    assert read_all([1000] * 40 + [MEMORY] * 20) <= 10, "those that were on the way when the first large one came"


def test_a_small_image_among_large_ones_changes_nothing() -> None:
    assert read_all([MEMORY] + [0, MEMORY] * 10) == 1


def test_an_error_ends_it_where_it_is_asked_for() -> None:
    def fails() -> int:
        raise ValueError("bad")

    found = in_order([lambda: 1, lambda: 2, fails, lambda: 4], lambda result: 0)
    assert [next(found), next(found)] == [1, 2]
    with pytest.raises(ValueError, match="bad"):
        next(found)


def test_nothing_is_read_without_a_call() -> None:
    assert list(in_order([], lambda result: 0)) == []


def test_masks_count_too() -> None:
    sample = draw_sample(3, size=(64, 80), seed=0)
    assert sample.instances.masks is not None
    assert bytes_of(sample) == sample.image.nbytes + len(sample.instances.masks.pixels)
    assert bytes_of(sample.with_(image=np.zeros((2, 2), np.uint8))) < bytes_of(sample)
