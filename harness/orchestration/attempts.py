"""Where a trial runs, and where it was lost: a small file in its folder from an attempt's start to its record."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.fileio import write_json_atomic
from harness.monitoring.machine import utc_now
from harness.platform.files import remove

ATTEMPTS = "attempts.json"


@dataclass(frozen=True, slots=True)
class Attempt:
    """started: in UTC, ISO 8601. where: a slot of this machine, or a node of a cluster."""

    started: str
    where: str


def begin_attempt(folder: Path, where: str) -> None:
    """Note that the trial runs now. The caller holds its lock. Raises StorageError."""
    attempts = [*read_attempts(folder), Attempt(utc_now(), where)]
    write_json_atomic(folder / ATTEMPTS, [asdict(attempt) for attempt in attempts])


def end_attempts(folder: Path) -> None:
    """The trial has its record."""
    with contextlib.suppress(OSError):
        remove(folder / ATTEMPTS)


def read_attempts(folder: Path) -> list[Attempt]:
    """Those without a record: the one that runs now, and those before it whose machines have died, oldest first."""
    try:
        plain = json.loads((folder / ATTEMPTS).read_text(encoding="utf-8"))
        return [Attempt(str(one["started"])[:40], str(one["where"])[:200]) for one in plain]
    except (OSError, ValueError, TypeError, KeyError):
        return []
