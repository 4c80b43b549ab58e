"""The matrix of what models were trained on against what they were tested on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from harness.results.evaluation_record import EvaluationRecord, read_evaluations
from harness.results.schema import RunRecord


@dataclass(frozen=True)
class Matrix:
    """IoU by what was trained on and what was tested on, means over seeds.

    Attributes:
        tested_on: the columns: data sets, and how the rule was chosen where that is not the run's.
        rows: method, what it was trained on, and one entry for each column; None where it was not tested.
        own: for each row, the number of the column of its own validation images; None where there is none.
        notes: what a reader must know.
    """

    tested_on: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[float | None, ...]], ...]
    own: tuple[int | None, ...]
    notes: tuple[str, ...]


def matrix_of_run(run_dir: Path, records: Sequence[RunRecord]) -> Matrix | None:
    """The matrix of a run's evaluations and, for data sets it was trained on, validation scores; None without any."""
    evaluations, problems = read_evaluations(run_dir)
    if not evaluations:
        return None
    return matrix(records, evaluations, problems)


def matrix(
    records: Sequence[RunRecord], evaluations: Sequence[EvaluationRecord], problems: Sequence[str] = ()
) -> Matrix:
    """See matrix_of_run."""
    scores: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    own: dict[tuple[str, str], str] = {}
    for record in records:
        if record.status == "ok" and record.scores and record.data and not (record.outside or record.members):
            row = record.method, record.data.source
            own[row] = record.data.source
            scores[row][record.data.source].append(record.scores.iou_map)
    for found in evaluations:
        tested = found.tested_on.source + (" (recalibrated)" if found.rule_from == "recalibrated" else "")
        scores[found.method, found.trained_on.source][tested].append(found.scores.iou_map)
    columns = sorted({column for by_column in scores.values() for column in by_column})
    rows = [
        (method, source, tuple(fmean(inside[c]) if c in inside else None for c in columns))
        for (method, source), inside in sorted(scores.items())
    ]
    places = [columns.index(own[method, source]) if (method, source) in own else None for method, source, _ in rows]
    notes = dict.fromkeys(
        f"{found.method} on {found.tested_on.source}: {note}" for found in evaluations for note in found.notes
    )
    return Matrix(tuple(columns), tuple(rows), tuple(places), (*notes, *problems))


def as_markdown(found: Matrix) -> str:
    """A table; the score on a row's own validation images is in italics."""
    from tabulate import tabulate

    from harness.reporting.escape import for_markdown

    body = []
    for (method, source, values), own in zip(found.rows, found.own, strict=True):
        cells = ["" if v is None else f"*{v:.4f}*" if i == own else f"{v:.4f}" for i, v in enumerate(values)]
        body.append([for_markdown(method), for_markdown(source), *cells])
    heads = ["method", "trained on", *(for_markdown(name) for name in found.tested_on)]
    table = tabulate(body, heads, tablefmt="pipe", disable_numparse=True)
    lines = [
        "IoU, means over seeds; columns are what the model was tested on. In italics: validation images of the data "
        "that it was trained on.",
        *(for_markdown(note) for note in found.notes),
    ]
    return f"# Trained on, tested on\n\n{table}\n\n" + "".join(f"- {line}\n" for line in lines)
