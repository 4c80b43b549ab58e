"""`python -m harness status`: where every trial of a run is, while it runs."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import as_json, print_json

if TYPE_CHECKING:
    from harness.orchestration.run_status import TrialStatus


@click.command()
@click.argument("run_dir", metavar="RUN_DIR", type=click.Path(path_type=Path))
@click.option("--all", "every", is_flag=True, help="A line for each trial, waiting and ended ones too.")
@as_json
def status(run_dir: Path, every: bool, as_json: bool) -> None:
    """Print what of a run is done, what runs where and since when, how far it is, and what waits.

    It reads the files of RUN_DIR alone, so it may be typed on any machine that sees them, whatever engine runs the
    trials, and after the run has ended.
    """
    from harness.cli.reporters import time_left
    from harness.orchestration.run_status import LOST, RUNNING, WAITING, seconds_left, trial_statuses
    from harness.reporting.screen import print_table

    statuses = trial_statuses(run_dir)
    left = seconds_left(statuses)
    if as_json:
        print_json({"trials": [_facts(one) for one in statuses], "seconds_left": left})
        return
    shown = [one for one in statuses if every or one.state not in (WAITING, "ok", "pruned", "skipped")]
    if shown:
        print_table(("trial", "state", "since", "progress", "where"), [_row(one) for one in shown])
    counts = Counter(one.state for one in statuses)
    order = sorted(counts, key=lambda state: (state not in (RUNNING, LOST), state == WAITING, state))
    said = ", ".join(f"{counts[state]} {state}" for state in order)
    click.echo(f"{len(statuses)} trials: {said}" + (f"; {time_left(left)}" if left is not None else ""))


def _row(one: TrialStatus) -> tuple[str, ...]:
    from harness.cli.reporters import details

    progress = one.reason
    if one.progress is not None:
        progress = f"{one.progress.fraction:.0%} {details(one.progress)}"
    return one.trial.name, one.state, _local_time(one.since), progress, one.where


def _local_time(text: str) -> str:
    try:
        return f"{datetime.fromisoformat(text).astimezone():%d %b %H:%M}"
    except ValueError:
        return ""


def _facts(one: TrialStatus) -> dict[str, Any]:
    progress = one.progress
    return {
        "name": one.trial.name,
        "method": one.trial.spec.method,
        "seed": one.trial.spec.seed,
        "fold": one.trial.spec.split.fold or None,
        "state": one.state,
        "since": one.since,
        "where": one.where,
        "phase": progress and progress.phase,
        "fraction": progress and progress.fraction,
        "reason": one.reason,
        "seconds": one.seconds,
    }
