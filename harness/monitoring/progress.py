"""How a worker reports its progress, and is told to stop.

The worker writes JSON lines into a pipe that its parent process reads. It never waits for a reader that is slow or
dead: a line that does not fit into the pipe is dropped.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import threading
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

_SECONDS_BETWEEN = 0.2
_LINE_LIMIT = 2000
"""Characters. Up to 4096 bytes are written to a pipe either completely or not at all."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a trial is. fraction: of its budget, or of a later phase, in [0, 1]. seconds_left: of a later phase."""

    phase: str
    step: int = 0
    fraction: float = 0.0
    loss: float | None = None
    images_per_second: float | None = None
    seconds_left: float | None = None


class ProgressPipe:
    """The worker's end of the pipe. descriptor: of a non-blocking pipe, or None to report nothing."""

    def __init__(self, descriptor: int | None = None) -> None:
        self._descriptor = descriptor
        self._stop = threading.Event()
        self._phase = ""
        self._latest = Progress("starting")
        self._last = -math.inf

    def report(self, progress: Progress) -> None:
        """Send the progress. At most five reports a second are sent, but every change of phase is."""
        self._latest = progress
        now = time.monotonic()
        if self._descriptor is None or (progress.phase == self._phase and now - self._last < _SECONDS_BETWEEN):
            return
        self._phase, self._last = progress.phase, now
        line = json.dumps(asdict(progress)) + "\n"
        if len(line) <= _LINE_LIMIT:
            with contextlib.suppress(OSError):
                os.write(self._descriptor, line.encode())

    def report_phase(self, phase: str) -> None:
        """Report another phase of the work at the same step and fraction as before."""
        self.report(replace(self._latest, phase=phase, seconds_left=None))

    def stop_requested(self) -> bool:
        """Whether the trial should write a checkpoint and raise harness.results.status.Interrupted."""
        return self._stop.is_set()

    def request_stop(self) -> None:
        self._stop.set()


class ProgressReader:
    """The parent's end of the pipe. Lines that are no progress are ignored."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Progress | None:
        """Take more bytes; return the newest complete report among them, or None."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-_LINE_LIMIT:]
        for line in reversed(lines):
            progress = _parse(line)
            if progress is not None:
                return progress
        return None


def _parse(line: bytes) -> Progress | None:
    try:
        plain: Any = json.loads(line)
        return Progress(
            phase=str(plain["phase"])[:40],
            step=int(plain["step"]),
            fraction=min(max(float(plain["fraction"]), 0.0), 1.0),
            loss=_number(plain["loss"]),
            images_per_second=_number(plain["images_per_second"]),
            seconds_left=_number(plain["seconds_left"]),
        )
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
