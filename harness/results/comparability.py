"""Which records may stand in one table: the same work on the same images, scored by the same rules.

A record that differs from most others is named with what differs; the caller refuses or marks it. Times are compared
separately: a record made on another machine keeps its score.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence

from harness.config.budget import Budget
from harness.errors import HarnessError
from harness.monitoring.placement import SHARING
from harness.results.schema import RunRecord

_SCORE_ASPECTS: Mapping[str, Callable[[RunRecord], Hashable]] = {
    "budget": lambda record: None if record.outside else _budget(record.budget),
    "data": lambda record: record.data.fingerprint if record.data else None,
    "split": lambda record: record.data.split_fingerprint if record.data else None,
    "scoring version": lambda record: record.scores.scoring_version if record.scores else None,
    "rule": lambda record: record.rule.chosen_on if record.rule and not record.outside else None,
    "evaluation": lambda record: _text(record.settings.get("evaluation")),
    "scored images": lambda record: record.settings.get("score_on"),
}

_TIME_ASPECTS: Mapping[str, Callable[[RunRecord], Hashable]] = {
    "machine": lambda record: (
        None if record.outside else _text({k: record.machine.get(k) for k in ("cpu", "cores_usable", "gpus")})
    ),
    "sharing": lambda record: None if record.outside else _sharing(record),
    "device": lambda record: _text(record.settings.get("device")),
    "arithmetic": lambda record: record.machine.get("arithmetic"),
}


def score_differences(records: Sequence[RunRecord]) -> list[list[str]]:
    """For each record, in which of _SCORE_ASPECTS it differs from most.

    Records without scores, such as those of crashes, are compared in the rest only. Masks of other tools have no budget
    and perhaps no rule; they are compared in data, split and scoring version. Of equally common values the first counts
    as that of most.
    """
    return _differences_from_most(records, _SCORE_ASPECTS)


def time_differences(records: Sequence[RunRecord]) -> list[list[str]]:
    """For each record, whether its times were taken on another machine, share of it, device or arithmetic than most."""
    return _differences_from_most(records, _TIME_ASPECTS)


def _differences_from_most(
    records: Sequence[RunRecord], aspects: Mapping[str, Callable[[RunRecord], Hashable]]
) -> list[list[str]]:
    differing: list[list[str]] = [[] for _ in records]
    for name, aspect in aspects.items():
        values = [aspect(record) for record in records]
        known = Counter(value for value in values if value is not None)
        if len(known) > 1:
            usual = known.most_common(1)[0][0]
            for found, value in zip(differing, values, strict=True):
                if value is not None and value != usual:
                    found.append(name)
    return differing


def _budget(text: str) -> Hashable:
    """Equal for "600s" and "10m". A budget that cannot be read equals no other and raises nothing."""
    try:
        return Budget.parse(text)
    except HarnessError:
        return text


def _sharing(record: RunRecord) -> Hashable:
    """How many trials shared the machine, and how much of it the trial had for itself; which cores is no difference."""
    sharing = record.machine.get(SHARING)
    if not isinstance(sharing, dict):
        return "alone"
    cores = sharing.get("cores")
    own = [sharing.get(name) for name in ("trials", "own_cores", "own_gpu")]
    return _text([*own, len(cores) if isinstance(cores, list) else None])


def _text(value: object) -> str | None:
    return None if value is None else json.dumps(value, sort_keys=True, default=str)
