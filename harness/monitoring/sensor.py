"""Sensors that are read whenever the training clock starts and stops, and summed over training."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence


class Sensor:
    """One thing to read. The methods are called once for each stretch of training, in this order."""

    def start(self) -> None:
        """The clock is about to start."""

    def before_stop(self) -> None:
        """The clock is about to stop and the device may still be working. Counts as training, so it must be quick."""

    def stop(self, seconds: float) -> Mapping[str, float]:
        """The clock has stopped, `seconds` after it started.

        Returns:
            What to add to the sums, by name; empty where nothing can be read. A sensor whose sums are meaningful only
            when they cover all of training adds its seconds as well.
        """
        return {}


class SensorGroup:
    """Reads several sensors and adds up what they return.

    sums: by name. Plain numbers, so that a checkpoint can hold them.
    """

    def __init__(self, sensors: Sequence[Sensor] = ()) -> None:
        self._sensors = sensors
        self._since = 0.0
        self.sums: dict[str, float] = {}

    def start(self) -> None:
        # in reverse, so that the first sensor is read nearest to the clock at both ends
        for sensor in reversed(self._sensors):
            sensor.start()
        self._since = time.perf_counter()

    def before_stop(self) -> None:
        for sensor in self._sensors:
            sensor.before_stop()

    def stop(self) -> None:
        seconds = time.perf_counter() - self._since
        for sensor in self._sensors:
            for name, value in sensor.stop(seconds).items():
                self.sums[name] = self.sums.get(name, 0.0) + value
