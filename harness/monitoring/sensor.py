"""What is read whenever the training clock starts and stops, and added up over training."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence


class Sensor:
    """One thing to read. Each method is called once for each stretch of training, in this order."""

    def start(self) -> None:
        """The clock is about to start."""

    def look(self) -> None:
        """The clock is about to stop and the device may still be at work. On the clock, so it must be quick."""

    def stop(self, seconds: float) -> Mapping[str, float]:
        """The clock has stopped, `seconds` after it was started. What to add, by name; nothing where nothing answers.

        A gauge whose sums are worth something only when they cover all of training adds its seconds as well.
        """
        return {}


class Meter:
    """Adds up what its gauges say. sums: by name, plain numbers, so that a checkpoint can carry them."""

    def __init__(self, gauges: Sequence[Sensor] = ()) -> None:
        self._gauges = gauges
        self._since = 0.0
        self.sums: dict[str, float] = {}

    def start(self) -> None:
        # the first gauge is read nearest to the clock, at either end
        for gauge in reversed(self._gauges):
            gauge.start()
        self._since = time.perf_counter()

    def look(self) -> None:
        for gauge in self._gauges:
            gauge.look()

    def stop(self) -> None:
        seconds = time.perf_counter() - self._since
        for gauge in self._gauges:
            for name, value in gauge.stop(seconds).items():
                self.sums[name] = self.sums.get(name, 0.0) + value
