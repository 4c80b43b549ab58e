"""Learning curves of a row: the loss from the files of its trials and the IoU from its records, averaged over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError
from harness.reporting.row import Row
from harness.results.io import TRIALS
from harness.results.schema import RunRecord
from harness.training.trace import CURVE, Trace

SIZE_LIMIT = 256 * 2**20
"""Bytes. A million steps have about 100 MB."""
POINTS = 120
"""Most points of a line in a figure."""
SAME_FRACTION = 0.05
"""Evaluations at fractions of the budget that differ by no more count as simultaneous."""


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """How one method learned, a mean over seeds: (P,) float64 each. value: loss or IoU."""

    seconds: NDArray[np.float64]
    iterations: NDArray[np.float64]
    value: NDArray[np.float64]


def trial_folder(run_dir: Path, record: RunRecord) -> Path | None:
    """Where the trial's other files are, if the record names a folder that lies inside the run."""
    if not record.log:
        return None
    folder = run_dir / PurePosixPath(record.log).parent
    inside = folder.is_dir() and folder.resolve().is_relative_to(run_dir.resolve())
    return folder if inside else None


def trial_folders(run_dir: Path, record: RunRecord) -> list[Path]:
    """As trial_folder; of a record of all folds those of the folds."""
    if not record.folds:
        return [folder] if (folder := trial_folder(run_dir, record)) is not None else []
    trials = (run_dir / TRIALS).resolve()
    folders = [trials / fold.trial for fold in record.folds]
    return [folder for folder in folders if folder.is_dir() and folder.resolve().parent == trials]


def loss_curve(run_dir: Path, row: Row) -> tuple[Curve | None, list[str]]:
    """The total training loss of a row, None where no trial left its file; and a line for each file that is damaged."""
    curves, problems = [], []
    for folder in (folder for record in row.good_records for folder in trial_folders(run_dir, record)):
        if not (folder / CURVE).is_file():
            continue
        try:
            curves.append(_read(folder / CURVE))
        except HarnessError as error:
            problems.append(f"left out of the learning curves: {error}")
    if not curves:
        return None, problems
    bins = min(POINTS, *(len(curve.value) for curve in curves))
    return _mean([_binned(curve, bins) for curve in curves]), problems


def iou_curve(row: Row) -> Curve | None:
    """The validation IoU of a row along its training, from the evaluations that all its seeds have.

    Under a budget of time a seed is looked at after the first step beyond the planned moment, so no two at the same.
    """
    curves = [r.learning_curve for r in row.good_records if r.learning_curve]
    together = []
    for point in min(curves, key=len, default=[]):
        nearest = [min(curve, key=lambda p: abs(p.fraction - point.fraction)) for curve in curves]
        if all(abs(p.fraction - point.fraction) <= SAME_FRACTION for p in nearest):
            together.append(nearest)
    if not together:
        return None
    facts = np.asarray([[(p.seconds, p.iteration, p.iou_map) for p in points] for points in together], np.float64)
    return _mean([Curve(*facts[:, seed].T) for seed in range(len(curves))])


def _read(path: Path) -> Curve:
    """Raises HarnessError where the file is not one that training writes."""
    if path.is_symlink() or path.stat().st_size > SIZE_LIMIT:
        raise HarnessError(f"{path}: not a plain file of less than {SIZE_LIMIT:,} bytes")
    try:
        trace = Trace.from_csv(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError) as error:
        raise HarnessError(f"{path}: not a table of losses ({type(error).__name__})") from error
    if not len(trace):
        raise HarnessError(f"{path}: holds no step")
    losses = np.asarray(list(trace.losses.values()), np.float64).reshape(-1, len(trace))
    known = np.isfinite(losses)
    total = np.where(known.any(axis=0), np.where(known, losses, 0).sum(axis=0), math.nan)
    return Curve(np.asarray(trace.seconds), np.arange(1.0, len(trace) + 1), total)


def _binned(curve: Curve, bins: int) -> Curve:
    """Means over stretches of equally many steps: one step's loss is mostly noise."""
    parts = [np.array_split(values, bins) for values in (curve.seconds, curve.iterations, curve.value)]
    return Curve(*(np.asarray([_known_mean(piece) for piece in pieces]) for pieces in parts))


def _mean(curves: Sequence[Curve]) -> Curve:
    columns = zip(*((c.seconds, c.iterations, c.value) for c in curves), strict=True)
    return Curve(*(np.asarray([_known_mean(point) for point in np.stack(column).T]) for column in columns))


def _known_mean(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan
