"""From records to rows: one row a method, seeds together, in the order of IoU where an order is fair."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.reporting.format import aspect_text, conditions_name, shown, start_note, start_text
from harness.reporting.pareto import worth_their_cost
from harness.reporting.row import Provenance, Row, cell_types, cost_summary, quality
from harness.results.comparability import score_differences, time_differences
from harness.results.fold_comparisons import comparisons_of
from harness.results.folds import merge_folds
from harness.results.schema import RunRecord
from harness.results.statistics import SeedScores

NOT_PART_OF_THE_WORK = ("device", "deterministic", "micro_batches", "skip_bad")
"""Settings that do not change the work: device, kernels, memory, and what the fingerprint of the data covers."""


@dataclass(frozen=True)
class Leaderboard:
    """rows: ranked ones first, then those under other conditions, then those without a score.

    types: cell types that any row has a score for. baseline: the name of its row; empty where none is there.
    equal_spread_p: the chance of seeds that spread this unequally if training runs of all methods varied equally; 1
    where it cannot be tested. problems: a line for each record that could not be read.
    """

    rows: tuple[Row, ...]
    types: tuple[str, ...]
    baseline: str
    equal_spread_p: float = 1.0
    problems: tuple[str, ...] = ()

    @property
    def records(self) -> list[RunRecord]:
        """Those of all rows."""
        return [record for row in self.rows for record in row.provenance.records]

    @property
    def ranked(self) -> list[Row]:
        """Rows that are compared with each other, the highest IoU first."""
        return [row for row in self.rows if row.ranked]

    @property
    def footnotes(self) -> tuple[str, ...]:
        """The notes of all rows, each once, from the top of the table down."""
        return tuple(dict.fromkeys(note for row in self.rows for note in (*row.provenance.notes, *row.cost.notes)))

    def marks(self, notes: Sequence[str]) -> list[int]:
        """The numbers, from 1, that notes of a row have among the footnotes."""
        return [self.footnotes.index(note) + 1 for note in notes]


def leaderboard(records: Sequence[RunRecord], problems: Sequence[str] = ()) -> Leaderboard:
    """The table of these records, each given once."""
    entries = [
        _Entry(record, tuple(score), tuple(times))
        for record, score, times in zip(records, score_differences(records), time_differences(records), strict=True)
    ]
    groups = _groups(entries)
    names = _names(groups)
    scores = {
        names[key]: found
        for key, group in groups.items()
        if not key.score_differences and (found := _scores(group)) and all(found.values())
    }
    named = ((names[key], group[0].record.baseline) for key, group in groups.items() if names[key] in scores)
    baseline = next((name for name, its_baseline in named if name == its_baseline), "")
    # a row under another condition may have the name of a ranked one
    rows = [_row(names[key], group) for key, group in groups.items()]
    fair = [not key.score_differences and names[key] in scores for key in groups]
    order = sorted(range(len(rows)), key=lambda i: (not fair[i], *_by_iou(rows[i])))
    rows = [replace(rows[i], position=at if fair[i] else None) for at, i in enumerate(order, 1)]
    types = sorted({cell_type for row in rows for cell_type in row.quality.by_type})
    if not scores:
        return Leaderboard(tuple(rows), tuple(types), "", problems=tuple(problems))
    good = {
        names[key]: [e.record for e in group if e.good]
        for key, group in groups.items()
        if names[key] in scores and not key.score_differences
    }
    comparisons = comparisons_of(good, cell_types(records))
    against = comparisons.from_baseline(baseline) if baseline else {}
    best = comparisons.from_best()
    beats = {name: comparisons.superiority(name, baseline) for name in against}
    compared = [
        replace(
            row,
            quality=replace(
                row.quality,
                vs_baseline=against.get(row.method),
                vs_best=best.get(row.method),
                beats_baseline=beats.get(row.method),
            ),
        )
        if row.ranked
        else row
        for row in rows
    ]
    worth = worth_their_cost(compared) if len(scores) > 1 else set()
    marked = tuple(replace(row, worth_it=row.ranked and row.method in worth) for row in compared)
    return Leaderboard(marked, tuple(types), baseline, comparisons.seed_variance.equal_p, tuple(problems))


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
    return leaderboard(merge_folds(list(records.values())), problems)


def write_leaderboards(run_dir: Path) -> Leaderboard:
    """Write leaderboard.md and leaderboard.csv of a run into its folder, from its records, each file whole.

    Returns what they show.
    """
    from harness.fileio import write_text_atomic
    from harness.reporting.table import as_csv, as_markdown

    board = leaderboard_of_runs([run_dir])
    write_text_atomic(run_dir / "leaderboard.md", as_markdown(board))
    write_text_atomic(run_dir / "leaderboard.csv", as_csv(board))
    return board


# ------------------------------------------------------------------------------------------------------ grouping


@dataclass(frozen=True)
class _Entry:
    """A record, and in what its score and its times differ from those of most (harness.results.comparability)."""

    record: RunRecord
    score_differences: tuple[str, ...]
    time_differences: tuple[str, ...]

    @property
    def good(self) -> bool:
        """Whether the trial ended well and has scores."""
        return self.record.status == "ok" and self.record.scores is not None


@dataclass(frozen=True)
class _Key:
    """What makes records seeds of one row. work: everything but the seed and where it was done."""

    method: str
    score_differences: tuple[str, ...]
    work: str


def _groups(entries: Sequence[_Entry]) -> dict[_Key, list[_Entry]]:
    groups: dict[_Key, list[_Entry]] = defaultdict(list)
    for entry in entries:
        record = entry.record
        work = {
            "recipe": _recipe_of_row(record),
            "settings": _settings(record),
            "differs": [aspect_text(record, n) for n in entry.score_differences],
        }
        groups[_Key(record.method, entry.score_differences, json.dumps(work, sort_keys=True))].append(entry)
    return groups


def _recipe_of_row(record: RunRecord) -> dict[str, Any]:
    """The recipe, with what is the same in all seeds of the weights that they started from."""
    return record.recipe if record.start is None else {**record.recipe, "init": record.start.work()}


def _settings(record: RunRecord) -> dict[str, Any]:
    """Settings that make other work of the same recipe; init is part of the recipe."""
    return {name: value for name, value in record.settings.items() if name not in (*NOT_PART_OF_THE_WORK, "init")}


def _names(groups: dict[_Key, list[_Entry]]) -> dict[_Key, str]:
    """A row's name: the method's, with what differs where rows that are ranked together have one name."""
    facts = {key: _distinguishing_facts(group[0].record) for key, group in groups.items()}
    names = {}
    for key in groups:
        alike = [
            facts[other]
            for other in groups
            if other.method == key.method and other.score_differences == key.score_differences
        ]
        said = [f"{name} {text}" for name, text in facts[key].items() if any(f.get(name) != text for f in alike)]
        names[key] = f"{key.method} [{', '.join(said)}]" if said else key.method
    return names


def _distinguishing_facts(record: RunRecord) -> dict[str, str]:
    """Everything that may tell two rows of one method apart, by name."""
    facts = {}
    for slot, part in record.recipe.items():
        options = {name: shown(value) for name, value in part.get("options", {}).items() if value is not None}
        inside = ",".join(f"{name}={value}" for name, value in options.items())
        facts[slot] = f"{part.get('name', '')}({inside})" if inside else str(part.get("name", ""))
    if record.start is not None:
        facts["init"] = start_text(record.start)
    for section, values in _settings(record).items():
        inner = values if isinstance(values, dict) else {section: values}
        facts |= {name: str(value) for name, value in inner.items()}
    return facts


# ----------------------------------------------------------------------------------------------------- one row


def _by_iou(row: Row) -> tuple[bool, float, str]:
    """Sorts the highest IoU first and rows without one last."""
    return row.quality.iou is None, -(row.quality.iou or 0.0), row.method


def _scores(group: Sequence[_Entry]) -> SeedScores:
    """By training run, not by seed: a method may have met one seed on two devices."""
    return {i: e.record.scores.by_image for i, e in enumerate(group) if e.good and e.record.scores is not None}


def _row(name: str, group: Sequence[_Entry]) -> Row:
    """The row without its position and its comparison with others."""
    good = [entry.record for entry in group if entry.good]
    failed = [entry.record for entry in group if not entry.good]
    here = [entry.record for entry in group if entry.good and not (entry.time_differences or entry.record.outside)]
    first = (good or failed)[0]
    scores = _scores(group)
    status = ", ".join(dict.fromkeys(record.status for record in failed)) or "ok"
    provenance = Provenance(
        slots="masks of another tool" if first.outside else ", ".join(first.slots_changed) or "none",
        labels=first.labels,
        arithmetic=", ".join(dict.fromkeys(str(r.machine["arithmetic"]) for r in good if "arithmetic" in r.machine)),
        seeds=len(good),
        status=f"{len(good)} of {len(group)} ok; {status}" if good and failed else status,
        reason=next((record.reason for record in failed if record.reason), ""),
        notes=_notes(group),
        records=tuple(entry.record for entry in group),
    )
    per_image = scores if all(scores.values()) else {}
    return Row(name, None, quality(good, per_image), cost_summary(good, here), provenance)


def _notes(group: Sequence[_Entry]) -> tuple[str, ...]:
    notes = []
    good = [entry for entry in group if entry.good]
    if good and good[0].score_differences:
        said = "; ".join(f"{name}: {aspect_text(good[0].record, name)}" for name in good[0].score_differences)
        notes.append(f"not ranked, since unlike most records in {said}")
    notes += dict.fromkeys(note for entry in good for note in _outside_notes(entry.record))
    notes += dict.fromkeys(start_note(entry.record.start) for entry in good if entry.record.start is not None)
    away = sorted({conditions_name(entry.record) for entry in good if entry.time_differences})
    if away:
        made = "made on another machine, beside other trials or in other arithmetic"
        notes.append(f"times are not compared, since {made}: {', '.join(away)}")
    if any(e.record.tuned and e.record.data and _other_split(e.record) for e in good):
        notes.append("tuned on other data or another split: its validation images may have been seen by the search")
    if any(_started_on_another_split(entry.record) for entry in good):
        notes.append("its initial weights are of another split of the same data: they may have seen its images")
    return tuple(notes)


def _started_on_another_split(record: RunRecord) -> bool:
    """Whether its initial weights may have been trained on its validation images."""
    start, data = record.start, record.data
    if start is None or data is None or start.data_fingerprint != data.fingerprint:
        return False
    return start.split_fingerprint != data.split_fingerprint


def _other_split(record: RunRecord) -> bool:
    """Whether the record's settings were chosen on another split than that of its data."""
    assert record.tuned is not None
    assert record.data is not None
    return record.tuned.split_fingerprint != record.data.split_fingerprint


def _outside_notes(record: RunRecord) -> list[str]:
    """What a reader must know of masks that another tool has made."""
    outside = record.outside
    if outside is None:
        return []
    rule = "a rule was chosen for their scores" if outside.scored else "taken as they are, without a rule"
    given = ", ".join(f"{name} (SHA-256 {outside.sha256[part][:12]})" for part, name in outside.given.items())
    said = [f"masks of another tool, made outside this run and under no budget of it; {rule}; from {given}"]
    return [*said, *([f"in the user's words: {outside.note}"] if outside.note else []), *outside.warnings]
