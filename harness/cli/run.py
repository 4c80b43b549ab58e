"""`python -m harness run`: plan, train, score, leaderboard."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import click

from harness.cli.options import adapters, as_json, complete_methods, complete_presets, device_of, print_json
from harness.errors import HarnessError, nearest
from harness.reporting.screen import print_table

if TYPE_CHECKING:
    from harness.catalog import Catalog
    from harness.config.preset import Preset
    from harness.contract import Init
    from harness.orchestration.plan import Contender, Manifest
    from harness.orchestration.scheduler import RunOptions

UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


@click.command(context_settings={"show_default": True})
@click.option(
    "--methods",
    metavar="LIST",
    shell_complete=complete_methods,
    help="Names and stacks, as in mask_rcnn,container+copy_paste(p=0.5); or all.",
)
@click.option(
    "--data",
    "sources",
    multiple=True,
    metavar="SOURCE",
    help="Data source (`data --help` lists them); may be given again.  [default: the preset's]",
)
@click.option(
    "--preset",
    default="quick",
    metavar="NAME|FILE.toml",
    shell_complete=complete_presets,
    help="How to train and evaluate.",
)
@click.option("--budget", metavar="AMOUNT", help="Training of each trial: 90s, 10m, 2h, 1000it, 20ep.")
@click.option("--seeds", default=1, type=click.IntRange(1), help="How many seeds of each method.")
@click.option("--seed", default=0, type=click.IntRange(0), help="The first of the seeds.")
@click.option(
    "--init",
    metavar="KIND[:PATH]",
    help="Starting weights: scratch, imagenet, coco, checkpoint:FILE; a path replaces the download.",
)
@click.option("--device", default="auto", metavar="auto|cpu|cuda[:N]", help="Where to compute.")
@click.option(
    "--out",
    metavar="RUN_DIR",
    type=click.Path(path_type=Path),
    help="Folder of the run; one that exists is gone on with.  [default: a new one in results/runs]",
)
@click.option("--skip-bad", is_flag=True, help="Leave bad images and cells out, and count them.")
@click.option("--trust-labels", is_flag=True, help="Train on labels that look wrong (`data check` says why).")
@click.option("--threshold", type=click.FloatRange(0, 1), help="A fixed score threshold, in place of the chosen one.")
@click.option("--deterministic", is_flag=True, help="Ask for kernels that repeat bit for bit (slower on a GPU).")
@click.option(
    "--on-oom",
    default="record",
    type=click.Choice(["record", "halve"]),
    help="Out of memory: a row that says so, or again in half the micro-batch.",
)
@click.option("--retry-failed", is_flag=True, help="Do failed trials of an earlier run again.")
@click.option("--wall-limit", metavar="TIME", help="Longest time of a trial: 30m, 2h.  [default: by its budget]")
@click.option("--memory-limit", metavar="SIZE", help="Most memory of a trial: 8GB.  [default: 90 % of the machine's]")
@click.option("--dry-run", is_flag=True, help="Check everything and print the plan; train nothing.")
@click.option("--quiet", is_flag=True, help="Plain lines in place of progress bars.")
@click.option("--tensorboard", is_flag=True, help="Write TensorBoard event files beside the records.")
@click.option(
    "--mlflow",
    metavar="[URI]",
    is_flag=False,
    flag_value="",
    help="Log each trial to MLflow when it has ended; without URI to MLFLOW_TRACKING_URI, or sqlite:///mlflow.db.",
)
@adapters
@as_json
def run(
    methods: str | None,
    sources: tuple[str, ...],
    preset: str,
    budget: str | None,
    seeds: int,
    seed: int,
    init: str | None,
    device: str,
    out: Path | None,
    skip_bad: bool,
    trust_labels: bool,
    threshold: float | None,
    deterministic: bool,
    on_oom: Literal["record", "halve"],
    retry_failed: bool,
    wall_limit: str | None,
    memory_limit: str | None,
    dry_run: bool,
    quiet: bool,
    tensorboard: bool,
    mlflow: str | None,
    adapters: tuple[str, ...],
    as_json: bool,
) -> None:
    """Train and score methods under one budget; ends in a leaderboard.

    All that was typed is checked, and the data read, before anything trains. A method that fails gets its row and
    the others go on. The same command with the same --out goes on where it was stopped.
    """
    from harness.catalog import find
    from harness.config.preset import load
    from harness.orchestration.process.launchers import SubprocessLauncher, launcher
    from harness.orchestration.scheduler import RunOptions
    from harness.stacks import split_methods

    if tensorboard:
        from harness.tracking.tensorboard import check_installed

        check_installed()
    if mlflow is not None:
        from harness.tracking.mlflow import checked_uri

        mlflow = checked_uri(mlflow)
    chosen = load(preset)
    catalog = find(adapters)
    weights = _init(init or chosen.init)
    if methods is None and not chosen.rows:
        raise HarnessError("no method named: say --methods all, or names from `python -m harness methods`")
    if methods is None:
        entrants = _rows(catalog, chosen, budget, weights)
    else:
        entrants = _stacks(catalog, split_methods(methods, catalog), chosen, budget, weights)
    options = RunOptions(
        wall_limit=None if wall_limit is None else _seconds(wall_limit),
        memory_limit=None if memory_limit is None else _bytes(memory_limit),
        on_oom=on_oom,
        retry_failed=retry_failed,
    )
    run_dir = out or Path("results/runs") / f"{datetime.now():%Y-%m-%d-%H%M%S}-{chosen.name}"
    # what starts workers makes itself ready while the data are read
    with nullcontext(SubprocessLauncher()) if dry_run else launcher(_engines(entrants)) as ready:
        manifest = _plan(
            entrants,
            range(seed, seed + seeds),
            sources or (chosen.source,),
            skip_bad=skip_bad,
            trust_labels=trust_labels,
            device=device_of(device),
            deterministic=deterministic,
            threshold=threshold,
            tensorboard=tensorboard,
        )
        if dry_run:
            _print_plan(manifest, run_dir, as_json)
            return
        status = _work_through(manifest, run_dir, replace(options, launcher=ready), quiet or as_json, mlflow)
    from harness.reporting.table import show

    show([run_dir], "json" if as_json else "screen")
    click.echo(f"{run_dir / 'leaderboard.md'}", err=as_json)
    raise click.exceptions.Exit(status)


def _work_through(manifest: Manifest, run_dir: Path, options: RunOptions, plain: bool, mlflow: str | None) -> int:
    """The exit status. plain: lines in place of bars. mlflow: where to log to, None to leave it."""
    from harness.cli.reporters import reporter
    from harness.errors import StorageError
    from harness.orchestration.scheduler import run_plan
    from harness.reporting.leaderboard import write_leaderboards

    tracker = None
    if mlflow is not None:
        from harness.tracking.mlflow import MlflowLog

        tracker = MlflowLog(mlflow, run_dir).track
    with reporter(run_dir, plain, tracker) as shown:
        try:
            return run_plan(manifest, run_dir, options, shown, write_leaderboards)
        except StorageError as error:
            raise HarnessError(f"{error} with --out {run_dir}: it goes on from there") from error


def _stacks(catalog: Catalog, stacks: Sequence[str], preset: Preset, budget: str | None, init: Init) -> list[Contender]:
    from harness.orchestration.plan import Contender
    from harness.stacks import resolve

    resolved = [resolve(catalog, stack, preset.size, init) for stack in stacks]
    unique = {one.name: one for one in resolved}
    return [Contender(one, preset, _budget(budget or preset.budget)) for one in unique.values()]


def _rows(catalog: Catalog, preset: Preset, budget: str | None, init: Init) -> list[Contender]:
    """One entrant for each row of a preset that has rows, under the row's own training settings and budget."""
    from harness.config.preset import Training
    from harness.orchestration.plan import Contender
    from harness.stacks import resolve

    entrants = []
    for row in preset.rows:
        training = Training(**{**preset.training.model_dump(), **row.training})
        own = preset.model_copy(update={"training": training})
        resolved = resolve(catalog, row.method, preset.size, init)
        entrants.append(Contender(resolved, own, _budget(budget or row.budget), row.name))
    return entrants


def _engines(entrants: Sequence[Contender]) -> list[str]:
    """The modules of the engines that take part and are not a user's own."""
    from harness import catalog

    modules = {entrant.resolved.recipe.engine.factory.partition(":")[0] for entrant in entrants}
    return sorted(name for name in modules if name.partition(".")[0] == catalog.BUILT_IN)


def _plan(
    entrants: Sequence[Contender],
    seeds: Sequence[int],
    sources: Sequence[str],
    *,
    skip_bad: bool,
    trust_labels: bool = False,
    **how: Any,
) -> Manifest:
    """Read the data, and lay every trial out. Notes on the data are said once."""
    from harness.evaluation.scorer import SCORING_VERSION
    from harness.orchestration.plan import make_plan
    from harness.orchestration.prepared_data import prepare_data, refuse_doubts

    settings = [prepare_data(source, skip_bad, entrants[0].preset) for source in sources]
    for setting in settings:
        refuse_doubts(setting.dataset, trust_labels)
        for note in setting.dataset.notes + setting.dataset.doubts:
            click.echo(f"note: {note}", err=True)
        if setting.facts.skipped_bad:
            click.echo(f"note: {setting.facts.source}: {setting.facts.skipped_bad} bad left out", err=True)
    manifest = make_plan(
        entrants,
        seeds,
        [setting.facts for setting in settings],
        scoring_version=SCORING_VERSION,
        command=shlex.join(["python", "-m", "harness", *sys.argv[1:]]),
        skip_bad=skip_bad,
        **how,
    )
    # records name a source without the folders above it; the worker must find it
    typed = {setting.facts.fingerprint: setting.dataset.source for setting in settings}
    specs = [trial.spec.model_copy(update={"source": typed[trial.spec.data_fingerprint]}) for trial in manifest.trials]
    trials = (trial.model_copy(update={"spec": spec}) for trial, spec in zip(manifest.trials, specs, strict=True))
    return manifest.model_copy(update={"trials": tuple(trials)})


def _print_plan(manifest: Manifest, run_dir: Path, as_json: bool) -> None:
    from harness.orchestration.estimate import estimates
    from harness.results.io import read_records

    earlier = read_records(run_dir)[0] if run_dir.is_dir() else []
    rows = []
    for estimate in estimates(manifest.trials, earlier):
        spec = estimate.trial.spec
        rows.append({
            "method": spec.method,
            "seed": spec.seed,
            "data": manifest.data[spec.data_fingerprint].source,
            "budget": spec.budget,
            "device": spec.device,
            "skipped": estimate.trial.skip_reason,
            "seconds": estimate.whole_seconds or estimate.training_seconds,
            "memory": max(estimate.host_bytes or 0, estimate.gpu_bytes or 0) or None,
        })  # fmt: skip
    if as_json:
        print_json({"run_dir": str(run_dir), "trials": rows})
        return
    columns = ("method", "seed", "data", "budget", "device")
    shown = [(*(str(row[name]) for name in columns), *_worded(row)) for row in rows]
    print_table((*columns, "takes", "memory"), shown)
    click.echo(f"would write {run_dir}")


def _worded(planned: Mapping[str, Any]) -> tuple[str, str]:
    """Time and memory of a planned trial, for the table."""
    takes = f"{planned['seconds'] / 60:.1f} min" if planned["seconds"] else "unknown"
    memory = f"{planned['memory'] / 1e9:.1f} GB" if planned["memory"] else "unknown"
    return f"skipped: {planned['skipped']}" if planned["skipped"] else takes, memory


# -------------------------------------------------------------------------------------------- reading options


def _budget(text: str) -> str:
    from harness.config.budget import Budget

    Budget.parse(text)
    return text


def _seconds(text: str) -> float:
    from harness.config.budget import Budget

    budget = Budget.parse(text)
    if budget.kind != "seconds":
        raise HarnessError(f"--wall-limit {text!r} is no time: type 90s, 30m or 2h")
    return budget.amount


def _bytes(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Z]*)", text.strip().upper())
    if match is None or match[2] not in UNITS:
        raise HarnessError(f"--memory-limit {text!r} is no size: type it as in 8GB or 500MB")
    return int(float(match[1]) * UNITS[match[2]])


def _init(text: str) -> Init:
    from harness.contract import Init

    kind, colon, path = text.partition(":")
    kinds = ("scratch", "imagenet", "coco", "checkpoint")
    if kind not in kinds:
        raise HarnessError(f"--init {text!r}: no kind {kind!r}{nearest(kind, kinds)}; there are: {', '.join(kinds)}")
    if kind == "checkpoint" and not path:
        raise HarnessError("--init checkpoint needs the file: type checkpoint:RUN_DIR/trials/NAME/weights.safetensors")
    if kind == "scratch" and path:
        raise HarnessError("--init scratch takes no path")
    if colon and not Path(path).is_file():
        raise HarnessError(f"--init {text}: no file {path}")
    return Init(cast(Any, kind), str(Path(path).resolve()) if path else None)
