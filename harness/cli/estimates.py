"""What `run --dry-run` prints: every planned trial with its time and memory, and the whole."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import print_json
from harness.reporting.screen import print_table

if TYPE_CHECKING:
    from harness.orchestration.estimate import Estimate
    from harness.orchestration.plan import Manifest


_BASES = {
    "the same method": "earlier runs of the same method and preset",
    "other methods": "earlier runs of other methods under the same preset",
    "a rule of thumb": "a rule of thumb, for want of earlier runs under this preset",
}


def print_estimates(manifest: Manifest, run_dir: Path, as_json: bool, jobs: int = 1) -> None:
    """Print the plan, and what it will take with so many trials side by side."""
    from harness.orchestration.estimate import estimate_trials, find_earlier_records, side_by_side

    estimates = estimate_trials(manifest, run_dir, find_earlier_records(run_dir))
    known = [estimate.seconds for estimate in estimates if estimate.seconds is not None]
    total = sum(known) if len(known) == len(estimates) else None
    memory = max((estimate.memory or 0 for estimate in estimates), default=0) or None
    parallel = None if total is None else side_by_side([seconds for seconds in known if seconds], jobs)
    if as_json:
        trials = [_facts(estimate, manifest) for estimate in estimates]
        plain = {"run_dir": str(run_dir), "trials": trials, "seconds": total, "memory": memory, "jobs": jobs}
        more = {"waves": parallel and parallel.waves, "elapsed_seconds": parallel and parallel.seconds}
        print_json({**plain, **more})
        return
    folds = ("fold",) if any(estimate.trial.spec.split.fold for estimate in estimates) else ()
    columns = ("method", "seed", *folds, "data", "budget", "device")
    print_table((*columns, "takes", "memory"), [_row(estimate, manifest, columns) for estimate in estimates])
    most = "" if memory is None else f"; at most {_size(memory * jobs)} of memory at a time"
    click.echo(f"in all {format_duration(total)}{most}")
    if jobs > 1 and parallel is not None and parallel.waves:
        unit = "GPU" if manifest.trials[0].spec.device.startswith("cuda") else "trial"
        said = f"with --jobs {jobs}: {parallel.waves} waves, {format_duration(parallel.seconds)}"
        fewer = f"; {parallel.enough} side by side take as long" if parallel.enough < jobs else ""
        click.echo(f"{said} ({(total or 0.0) / 3600:.1f} {unit}-hours){fewer}")
    bases = Counter(estimate.basis for estimate in estimates if estimate.basis != "done")
    if bases:
        said = ", ".join(f"{_BASES[basis]} ({count} trials)" for basis, count in bases.items())
        click.echo(f"with start, compiling, prediction and scoring; estimated from {said}")
    click.echo(f"would write {run_dir}")


def _facts(estimate: Estimate, manifest: Manifest) -> dict[str, Any]:
    spec = estimate.trial.spec
    return {
        "method": spec.method,
        "seed": spec.seed,
        "fold": spec.split.fold or None,
        "data": manifest.facts_of(spec).source,
        "budget": spec.budget,
        "device": spec.device,
        "skipped": estimate.trial.skip_reason,
        "training_seconds": estimate.training_seconds,
        "seconds": estimate.seconds,
        "memory": estimate.memory,
        "basis": estimate.basis,
    }


def _row(estimate: Estimate, manifest: Manifest, columns: tuple[str, ...]) -> tuple[str, ...]:
    facts = _facts(estimate, manifest)
    takes = format_duration(estimate.seconds)
    if estimate.basis == "done":
        takes = f"skipped: {estimate.trial.skip_reason}" if estimate.trial.skip_reason else "done already"
    shown = (str(facts[name]) for name in columns)
    return (*shown, takes, "" if estimate.basis == "done" else _size(estimate.memory))


def format_duration(seconds: float | None) -> str:
    """Seconds, minutes or hours, whichever reads well."""
    if seconds is None:
        return "unknown"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _size(count: int | None) -> str:
    return "unknown" if count is None else f"{count / 2**30:.1f} GiB"
