"""How a worker reports its progress and is asked to stop: by two small files in its trial's folder.

Files work on every operating system, and between machines that share a disk.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import threading
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from harness.platform.files import remove

PROGRESS = "progress.json"
STOP = "stop"
"""A file of this name in a trial's folder asks its worker to stop."""
_SECONDS_BETWEEN = 0.2
_SIZE_LIMIT = 4096


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a trial is. fraction: of its budget, or of a later phase, in [0, 1]. seconds_left: of a later phase."""

    phase: str
    step: int = 0
    fraction: float = 0.0
    loss: float | None = None
    images_per_second: float | None = None
    seconds_left: float | None = None


class ProgressFile:
    """The worker's side. A report that cannot be written is dropped: progress never stops a trial.

    folder: of the trial, or None to report nothing.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._stop = threading.Event()
        self._phase = ""
        self._latest = Progress("starting")
        self._reported = self._looked = -math.inf

    def report(self, progress: Progress) -> None:
        """Write the progress. At most five reports a second are written, but every change of phase is."""
        self._latest = progress
        now = time.monotonic()
        if self._folder is None or (progress.phase == self._phase and now - self._reported < _SECONDS_BETWEEN):
            return
        temporary = self._folder / f".{PROGRESS}.tmp"
        with contextlib.suppress(OSError):
            temporary.write_text(json.dumps(asdict(progress)), encoding="utf-8")
            # in one step, so that a reader never sees half of it
            os.replace(temporary, self._folder / PROGRESS)
            self._phase, self._reported = progress.phase, now

    def report_phase(self, phase: str) -> None:
        """Report another phase of the work at the same step and fraction as before."""
        self.report(replace(self._latest, phase=phase, seconds_left=None))

    def stop_requested(self) -> bool:
        """Whether the trial should write a checkpoint and raise harness.results.status.Interrupted."""
        now = time.monotonic()
        if self._folder is not None and now - self._looked >= _SECONDS_BETWEEN:
            self._looked = now
            if (self._folder / STOP).exists():
                self._stop.set()
        return self._stop.is_set()

    def request_stop(self) -> None:
        self._stop.set()


class ProgressReader:
    """The side of the process that started the worker. What is no progress is ignored."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / PROGRESS
        self._last = b""

    def newest(self) -> Progress | None:
        """The newest report, or None where there is none since the last call."""
        try:
            with self._path.open("rb") as file:
                content = file.read(_SIZE_LIMIT)
        except OSError:
            return None
        if content == self._last:
            return None
        self._last = content
        return _parse(content)


def ask_to_stop(folder: Path) -> None:
    """Ask the worker of a trial's folder to write a checkpoint and end. Raises OSError."""
    (folder / STOP).touch()


def remove_progress(folder: Path) -> None:
    """Remove the report and the request of an earlier worker, so that no later one takes them for its own."""
    for name in (PROGRESS, STOP):
        with contextlib.suppress(OSError):
            remove(folder / name)


def _parse(content: bytes) -> Progress | None:
    try:
        plain: Any = json.loads(content)
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
