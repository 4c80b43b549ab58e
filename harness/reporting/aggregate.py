"""What several runs of one method have in common: the costs that a row of the table gives, and the notes on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import fmean

from harness.results.schema import RunRecord


def mean(values: Iterable[float | None]) -> float | None:
    """Of those that are known; None where none is."""
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def largest(records: Sequence[RunRecord], cost: str) -> int | None:
    """The largest of a cost, by its name; None where no record has it."""
    return max((value for r in records if (value := getattr(r.cost, cost)) is not None), default=None)


def data_wait(record: RunRecord) -> float | None:
    """The share of the training time that was spent waiting for images."""
    waited, seconds = record.cost.data_wait_seconds, record.cost.train_seconds
    return waited / seconds if waited is not None and seconds > 0 else None


def energy_used(records: Sequence[RunRecord]) -> tuple[float | None, str]:
    """Mean joules, and of what. Unknown where some have none or that of other devices: the mean would be of nothing."""
    joules, devices = [r.cost.energy_joules for r in records], {r.cost.energy_of for r in records}
    if None in joules or len(devices) != 1:
        return None, ""
    return mean(joules), devices.pop() or ""


def time_notes(records: Sequence[RunRecord]) -> tuple[str, ...]:
    """What the records say of the conditions their times were taken under, with how many say so where not all do."""
    counts = Counter(note for record in records for note in dict.fromkeys(record.cost.notes))
    return tuple(
        note if count == len(records) else f"{note} ({count} of {len(records)} runs)" for note, count in counts.items()
    )
