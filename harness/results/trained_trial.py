"""Finds the trial of a run whose trained model is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.config.trial_spec import TrialSpec
from harness.errors import HarnessError, nearest
from harness.evaluation.schema import PostprocessRule
from harness.results.io import read_record, read_trial_spec, record_paths
from harness.results.schema import RunRecord


@dataclass(frozen=True)
class TrainedTrial:
    """A trial that ended well: its folder, its specification, and the rule chosen for it."""

    folder: Path
    spec: TrialSpec
    rule: PostprocessRule


def find_trained_trial(run_dir: Path, method: str, seed: int | None = None) -> TrainedTrial:
    """The trial of that method, or of that name under trials/. seed: None for the lowest there is.

    Raises HarnessError where there is no such trial, more than one (on several data sets), or it did not end well.
    """
    if not run_dir.is_dir():
        raise HarnessError(f"no folder {run_dir}; give the folder of a run, as `run` printed it")
    records = {path.parent: _record(path) for path in record_paths(run_dir)}
    good = {folder: record for folder, record in records.items() if isinstance(record, RunRecord) and not record.folds}
    named = {folder: record for folder, record in good.items() if method in (record.method, folder.name)}
    if not named:
        known = sorted({record.method for record in good.values()})
        bad = next((f" ({record})" for record in records.values() if isinstance(record, str)), "")
        raise HarnessError(
            f"{run_dir} has no method {method!r}{nearest(method, known)}; it has: {', '.join(known) or 'none'}{bad}"
        )
    seeds = sorted({record.seed for record in named.values()})
    wanted = seeds[0] if seed is None else seed
    chosen = [folder for folder, record in named.items() if record.seed == wanted]
    if not chosen:
        raise HarnessError(f"{run_dir} has no seed {wanted} of {method}; it has: {', '.join(map(str, seeds))}")
    if len(chosen) > 1:
        what = "in folds" if named[chosen[0]].split.fold else "on several data sets"
        raise HarnessError(f"{method} was trained {what}; type --method {' or '.join(_names(chosen))}")
    folder, record = chosen[0], named[chosen[0]]
    if record.members:
        raise HarnessError(
            f"{folder.name} is an average of {len(record.members)} models; `package --ensemble` makes one model of them"
        )
    if record.outside:
        raise HarnessError(f"{folder.name} is a row of masks that another tool made: there is no model to predict with")
    if record.status != "ok" or record.rule is None:
        raise HarnessError(f"{folder.name} did not end well ({record.status}: {record.reason}); run it again")
    return TrainedTrial(folder, read_trial_spec(folder), record.rule)


def _record(path: Path) -> RunRecord | str:
    """The record, or why it cannot be read: another trial's damage is no concern of this one."""
    try:
        return read_record(path)
    except HarnessError as error:
        return str(error)


def _names(folders: list[Path]) -> list[str]:
    return sorted(folder.name for folder in folders)
