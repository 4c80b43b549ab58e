"""Reads images on several cores, a few ahead of the one that is asked for; fewer where they are large."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from harness.contract import Sample
from harness.platform.processes import usable_cores

T = TypeVar("T")

MOST_WORKERS = 8

MEMORY = 2**31
"""Bytes that images as large as the largest so far may take together, while they are read and while they wait."""

READING_FACTOR = 6
"""Times the bytes of an image and its masks that reading it takes. A labelled scan of 20,000 x 20,000 pixels, 0.4 GB in
memory, took 2.4 GB."""


def in_order(calls: Sequence[Callable[[], T]], bytes_held: Callable[[T], int]) -> Iterator[T]:
    """Each call's result, in order. Calls run ahead on all cores that this process may use; few results are held.

    The first call runs alone. How many run ahead after it follows from the bytes of the largest result so far.
    """
    workers = max(1, min(MOST_WORKERS, usable_cores()))
    ahead, largest = 1, 1
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for call in calls:
                while len(waiting) >= ahead:
                    result = waiting.popleft().result()
                    largest = max(largest, bytes_held(result))
                    ahead = max(1, min(2 * workers + 1, MEMORY // (READING_FACTOR * largest)))
                    yield result
                waiting.append(pool.submit(call))
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def bytes_of(sample: Sample) -> int:
    """Bytes of an image and its masks."""
    masks = sample.instances.masks
    return sample.image.nbytes + (0 if masks is None else masks.pixels.nbytes)
