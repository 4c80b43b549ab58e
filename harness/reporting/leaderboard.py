"""From records to rows: one row a method, seeds together, ranked where a ranking is fair."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from harness.reporting.aggregate import data_wait, energy_used, largest, mean, time_notes
from harness.reporting.format import differs, machine_name
from harness.results.comparability import score_differences, time_differences
from harness.results.schema import RunRecord
from harness.results.statistics import (
    Difference,
    Interval,
    SeedScores,
    differences_from,
    image_interval,
    seed_spread,
    shared_ranks,
)

NOT_PART_OF_THE_WORK = ("device", "deterministic", "micro_batches", "skip_bad")
"""Settings that make no other work of it: where and how it is done, or what the data's fingerprint tells."""


@dataclass(frozen=True)
class Row:
    """A method in the table. Means are over seeds that ended well; None where nothing is known.

    rank: shared by methods that cannot be told apart; None where the row is not ranked. iou: METHODS' iou_map.
    difference: from the baseline, on the same images. Times in seconds (inference in milliseconds), memory in bytes:
    on the GPU where there is one. seconds_per_iteration_iqr: of the steps of one run. data_wait: share of the training
    time. energy: joules of training, of what energy_of names; None where its seeds do not all have it of the same.
    same_machine: whether the times may be set against those of other rows. notes: what a reader must know before
    comparing. time_notes: the same of its times alone. records: all of its records, failed ones too.
    """

    method: str
    rank: int | None
    slots: str
    labels: str
    iou: float | None
    seed_std: float | None
    interval: Interval | None
    difference: Difference | None
    by_type: dict[str, float]
    ap: float | None
    ap50: float | None
    train_seconds: float | None
    seconds_per_iteration: float | None
    seconds_per_iteration_iqr: float | None
    data_wait: float | None
    images_per_second: float | None
    inference_ms: float | None
    memory: int | None
    energy: float | None
    energy_of: str
    parameters: int | None
    total_loss: float | None
    status: str
    reason: str
    seeds: int
    same_machine: bool
    notes: tuple[str, ...]
    time_notes: tuple[str, ...]
    records: tuple[RunRecord, ...]

    @property
    def is_baseline(self) -> bool:
        return self.method == self.records[0].baseline


@dataclass(frozen=True)
class Leaderboard:
    """rows: ranked ones first, then those under other conditions, then those without a score.

    types: cell types that any row has a score for. baseline: the name of its row; empty where none is there.
    problems: a line for each record that could not be read.
    """

    rows: tuple[Row, ...]
    types: tuple[str, ...]
    baseline: str
    problems: tuple[str, ...] = ()

    @property
    def records(self) -> list[RunRecord]:
        return [record for row in self.rows for record in row.records]

    @property
    def footnotes(self) -> tuple[str, ...]:
        """The notes of all rows, each once, from the top of the table down."""
        return tuple(dict.fromkeys(note for row in self.rows for note in (*row.notes, *row.time_notes)))

    def marks(self, notes: Sequence[str]) -> list[int]:
        """The numbers, from 1, that notes of a row have among the footnotes."""
        return [self.footnotes.index(note) + 1 for note in notes]


def leaderboard(records: Sequence[RunRecord], problems: Sequence[str] = ()) -> Leaderboard:
    """The table of these records, each given once."""
    entries = [
        _Entry(record, tuple(unlike), tuple(elsewhere))
        for record, unlike, elsewhere in zip(
            records, score_differences(records), time_differences(records), strict=True
        )
    ]
    groups = _groups(entries)
    names = _names(groups)
    scores = {
        names[key]: found
        for key, group in groups.items()
        if not key.unlike and (found := _scores(group)) and all(found.values())
    }
    ranks = shared_ranks(scores)
    named = ((names[key], group[0].record.baseline) for key, group in groups.items() if names[key] in scores)
    baseline = next((name for name, its_baseline in named if name == its_baseline), "")
    against = differences_from(baseline, scores) if baseline else {}
    rows = []
    for key, group in groups.items():
        # a row under another condition may have the name of a ranked one
        name, ranked = names[key], not key.unlike
        rows.append(_row(name, group, ranks.get(name) if ranked else None, against.get(name) if ranked else None))
    rows.sort(key=lambda row: (row.rank is None, row.iou is None, -(row.iou or 0.0), row.method))
    types = sorted({cell_type for row in rows for cell_type in row.by_type})
    return Leaderboard(tuple(rows), tuple(types), baseline, tuple(problems))


def leaderboard_of_runs(run_dirs: Sequence[Path]) -> Leaderboard:
    """The table of all good records of these runs. Raises HarnessError where a folder is not there."""
    from harness.results.io import read_records

    records: dict[str, RunRecord] = {}
    problems: list[str] = []
    for run_dir in run_dirs:
        found, bad = read_records(run_dir)
        problems += bad
        for record in found:
            records.setdefault(record.key, record)
    return leaderboard(list(records.values()), problems)


def write_leaderboards(run_dir: Path) -> None:
    """Write leaderboard.md and leaderboard.csv of a run into its folder, from its records, each file whole."""
    from harness.fileio import write_text_atomic
    from harness.reporting.table import as_csv, as_markdown

    board = leaderboard_of_runs([run_dir])
    write_text_atomic(run_dir / "leaderboard.md", as_markdown(board))
    write_text_atomic(run_dir / "leaderboard.csv", as_csv(board))


# ------------------------------------------------------------------------------------------------------ grouping


@dataclass(frozen=True)
class _Entry:
    """A record, in what its score and in what its times are unlike those of most (harness.results.comparability)."""

    record: RunRecord
    unlike: tuple[str, ...]
    elsewhere: tuple[str, ...]

    @property
    def good(self) -> bool:
        return self.record.status == "ok" and self.record.scores is not None


@dataclass(frozen=True)
class _Key:
    """What makes records seeds of one row. work: everything but the seed and where it was done."""

    method: str
    unlike: tuple[str, ...]
    work: str


def _groups(entries: Sequence[_Entry]) -> dict[_Key, list[_Entry]]:
    groups: dict[_Key, list[_Entry]] = defaultdict(list)
    for entry in entries:
        record = entry.record
        work = {
            "recipe": record.recipe,
            "settings": _settings(record),
            "unlike": [differs(record, n) for n in entry.unlike],
        }
        groups[_Key(record.method, entry.unlike, json.dumps(work, sort_keys=True))].append(entry)
    return groups


def _settings(record: RunRecord) -> dict[str, Any]:
    """Settings that make other work of the same recipe; init is part of the recipe."""
    return {name: value for name, value in record.settings.items() if name not in (*NOT_PART_OF_THE_WORK, "init")}


def _names(groups: dict[_Key, list[_Entry]]) -> dict[_Key, str]:
    """A row's name: the method's, with what differs where rows that are ranked together have one name."""
    facts = {key: _facts(group[0].record) for key, group in groups.items()}
    names = {}
    for key in groups:
        alike = [facts[other] for other in groups if other.method == key.method and other.unlike == key.unlike]
        said = [f"{name} {text}" for name, text in facts[key].items() if any(f.get(name) != text for f in alike)]
        names[key] = f"{key.method} [{', '.join(said)}]" if said else key.method
    return names


def _facts(record: RunRecord) -> dict[str, str]:
    """Everything that may tell two rows of one method apart, by name."""
    facts = {}
    for slot, part in record.recipe.items():
        options = {name: value for name, value in part.get("options", {}).items() if value is not None}
        inside = ",".join(f"{name}={value}" for name, value in options.items())
        facts[slot] = f"{part.get('name', '')}({inside})" if inside else str(part.get("name", ""))
    for section, values in _settings(record).items():
        inner = values if isinstance(values, dict) else {section: values}
        facts |= {name: str(value) for name, value in inner.items()}
    return facts


# ----------------------------------------------------------------------------------------------------- one row


def _scores(group: Sequence[_Entry]) -> SeedScores:
    """By training run, not by seed: a method may have met one seed on two devices."""
    return {i: e.record.scores.by_image for i, e in enumerate(group) if e.good and e.record.scores is not None}


def _row(name: str, group: Sequence[_Entry], rank: int | None, difference: Difference | None) -> Row:
    good = [entry.record for entry in group if entry.good]
    failed = [entry.record for entry in group if not entry.good]
    here = [entry.record for entry in group if entry.good and not entry.elsewhere]
    timed = here or good
    first = (good or failed)[0]
    scores = _scores(group)
    per_image = bool(scores) and all(scores.values())
    whole = [record.scores for record in good if record.scores is not None]
    types = sorted({cell_type for s in whole for cell_type in s.by_type})
    energy, energy_of = energy_used(timed)
    status = ", ".join(dict.fromkeys(record.status for record in failed)) or "ok"
    if good and failed:
        status = f"{len(good)} of {len(group)} ok; {status}"
    return Row(
        method=name,
        rank=rank,
        slots=", ".join(first.slots_changed) or "none",
        labels=first.labels,
        iou=mean(s.iou_map for s in whole),
        seed_std=seed_spread(scores)[1] if per_image else None,
        interval=image_interval(scores) if per_image else None,
        difference=difference,
        by_type={t: fmean(s.by_type[t] for s in whole if t in s.by_type) for t in types},
        ap=mean(s.ap for s in whole),
        ap50=mean(s.ap50 for s in whole),
        train_seconds=mean(record.cost.train_seconds for record in timed),
        seconds_per_iteration=mean(record.cost.seconds_per_iteration for record in timed),
        seconds_per_iteration_iqr=mean(record.cost.seconds_per_iteration_iqr for record in timed),
        data_wait=mean(data_wait(record) for record in timed),
        images_per_second=mean(record.cost.images_per_second for record in timed),
        inference_ms=mean(record.cost.inference_ms_per_image for record in timed),
        memory=largest(timed, "peak_gpu_reserved") or largest(timed, "peak_host_rss"),
        energy=energy,
        energy_of=energy_of,
        parameters=largest(good, "parameters"),
        total_loss=mean(record.total_loss for record in good),
        status=status,
        reason=next((record.reason for record in failed if record.reason), ""),
        seeds=len(good),
        same_machine=len(here) == len(good),
        notes=_notes(group),
        time_notes=time_notes(timed),
        records=tuple(entry.record for entry in group),
    )


def _notes(group: Sequence[_Entry]) -> tuple[str, ...]:
    notes = []
    good = [entry for entry in group if entry.good]
    if good and good[0].unlike:
        said = "; ".join(f"{name}: {differs(good[0].record, name)}" for name in good[0].unlike)
        notes.append(f"not ranked, since unlike most records in {said}")
    away = sorted({machine_name(entry.record) for entry in good if entry.elsewhere})
    if away:
        notes.append(f"times are not compared, since made on another machine: {', '.join(away)}")
    return tuple(notes)
