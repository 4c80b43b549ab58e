"""The training clock: monotonic, read after the device has finished, stopped for everything that is not training."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from harness.monitoring.sensor import SensorGroup


class Stopwatch:
    """Total seconds of all its `running` blocks."""

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
    """Seconds of training.

    Args:
        synchronise: waits for the device.
        used: seconds used before, where a run is resumed.
        sensors: read over the same stretches of time. Reading them is not counted.
    """

    def __init__(self, synchronise: Callable[[], None], used: float = 0.0, sensors: SensorGroup | None = None) -> None:
        self._synchronise = synchronise
        self._before = used
        self._sensors = sensors or SensorGroup()
        self._since: float | None = None

    @property
    def seconds(self) -> float:
        """Read without waiting for the device: exact on a CPU; on a GPU, without the work that is still queued."""
        return self._before + (0.0 if self._since is None else time.perf_counter() - self._since)

    def start(self) -> None:
        self._synchronise()
        self._sensors.start()
        self._since = time.perf_counter()

    def stop(self) -> None:
        self._sensors.before_stop()
        self._synchronise()
        self._before, self._since = self.seconds, None
        self._sensors.stop()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """For evaluation and checkpoints. A clock that is stopped already stays stopped."""
        running = self._since is not None
        if running:
            self.stop()
        try:
            yield
        finally:
            if running:
                self.start()
