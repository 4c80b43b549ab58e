"""The training clock: monotonic, read after the device has finished, stopped for all that is not training.

And a stopwatch for some of what it is stopped for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from harness.monitoring.sensor import Meter


class Stopwatch:
    """Seconds spent in all of its `running` blocks together."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - begin


class TrainingClock:
    """Seconds of training. `synchronise` waits for the device; a resumed run starts at what was used before.

    meter: read over the same stretches of time, itself off the clock.
    """

    def __init__(self, synchronise: Callable[[], None], used: float = 0.0, meter: Meter | None = None) -> None:
        self._synchronise = synchronise
        self._before = used
        self._meter = meter or Meter()
        self._since: float | None = None

    @property
    def seconds(self) -> float:
        """Without waiting for the device: exact on a CPU, up to the queued work behind on a GPU."""
        return self._before + (0.0 if self._since is None else time.perf_counter() - self._since)

    def start(self) -> None:
        self._synchronise()
        self._meter.start()
        self._since = time.perf_counter()

    def stop(self) -> None:
        self._meter.look()
        self._synchronise()
        self._before, self._since = self.seconds, None
        self._meter.stop()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Evaluation, checkpoint writes: off the clock. A clock that stands already stays so."""
        running = self._since is not None
        if running:
            self.stop()
        try:
            yield
        finally:
            if running:
                self.start()
