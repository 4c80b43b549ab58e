"""`python -m harness run`: plan, train, score, leaderboard."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.estimates import print_estimates
from harness.cli.options import (
    adapters,
    as_json,
    choose_device,
    complete_methods,
    complete_presets,
    protocol_option,
    set_option,
)
from harness.cli.pretrain import pretrain_missing
from harness.cli.split_options import split_options
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.orchestration.engines.engine import Engine
    from harness.orchestration.plan import Contender, Manifest
    from harness.orchestration.request import RunRequest
    from harness.reporting.leaderboard import Leaderboard


@click.command(context_settings={"show_default": True, "allow_extra_args": True})
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
@split_options
@click.option(
    "--preset",
    default="auto",
    metavar="NAME|FILE.toml",
    shell_complete=complete_presets,
    help="How to train and evaluate; auto fits scale, crop, anchors and batch to the data.",
)
@set_option
@click.option(
    "--tuned",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Each method with the preset that `tune --out DIR` found for it.",
)
@click.option("--budget", metavar="AMOUNT", help="Training of each trial: 90s, 10m, 2h, 1000it, 20ep.")
@click.option("--seeds", default=1, type=click.IntRange(1), help="How many seeds of each method.")
@click.option("--seed", default=0, type=click.IntRange(0), help="The first of the seeds.")
@click.option(
    "--init",
    metavar="KIND[:PATH]",
    help="Starting weights of all rows: scratch, imagenet, coco, checkpoint:RUN_DIR; a FILE replaces a download.",
)
@click.option(
    "--pretrain",
    metavar="[AMOUNT]",
    is_flag=False,
    flag_value="10m",
    help="With --init painted: first make the weights that are missing (`pretrain`), 10m for each network.",
)
@click.option("--device", default="auto", metavar="auto|cpu|cuda[:N]|mps", help="Where to compute.")
@click.option(
    "--out",
    metavar="RUN_DIR",
    type=click.Path(path_type=Path),
    help="Folder of the run; a run that is there already is continued.  [default: a new one in results/runs]",
)
@click.option(
    "--precision",
    default="auto",
    type=click.Choice(["auto", "float32", "bfloat16"]),
    help="Arithmetic; auto is bfloat16 where the hardware multiplies it, else float32.",
)
@click.option("--skip-bad", is_flag=True, help="Leave bad images and cells out, and count them.")
@click.option("--trust-labels", is_flag=True, help="Train on labels that look wrong (`data check` says why).")
@click.option("--threshold", type=click.FloatRange(0, 1), help="A fixed score threshold, in place of the chosen one.")
@protocol_option
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
@click.option(
    "--keep-weights",
    type=click.Choice(["none", "best", "all"]),
    help="Trained weights that stay; best: of each method's best seed.  [default: all of up to 100 trials, else none]",
)
@click.option(
    "--jobs",
    default=1,
    type=click.IntRange(1),
    help="Trials side by side on this machine, each with its share of the cores, and a GPU of its own while there are.",
)
@click.option(
    "--engine",
    default="local",
    type=click.Choice(["local", "slurm", "ray"]),
    help="Where trials run: this machine, a SLURM cluster (type it on a login node) or a Ray cluster.",
)
@click.option("--address", default="auto", metavar="HOST:PORT", help="The head of the Ray cluster.")
@click.option("--engine-options", default="", metavar="TEXT", help='Options of sbatch, as in "-p gpu --time=2:00:00".')
@click.option("--dry-run", is_flag=True, help="Check everything and print the plan; train nothing.")
@click.option("--quiet", is_flag=True, help="Plain lines in place of progress bars.")
@click.option("--wide", is_flag=True, help="The leaderboard with all columns, in several tables where one has no room.")
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
@click.pass_context
def run(context: click.Context, **typed: Any) -> None:
    """Train and score methods under one budget; ends in a leaderboard.

    Everything that was typed is checked, and the data are read, before anything trains. A method that fails gets its
    row, and the others are still run. The same command with the same --out continues where it was stopped.
    """
    if context.args:
        raise HarnessError(_methods_line(context.args))
    from harness.orchestration.request import RunRequest

    typed["device"], note = choose_device(typed["device"])
    if typed["mlflow"] is not None:
        from harness.tracking.mlflow import checked_uri

        typed["mlflow"] = checked_uri(typed["mlflow"])
    if typed["tensorboard"]:
        from harness.tracking.tensorboard import check_installed

        check_installed()
    command = shlex.join(["python", "-m", "harness", *sys.argv[1:]])
    raise click.exceptions.Exit(execute(RunRequest(**typed, command=command, device_note=note)))


def execute(request: RunRequest) -> int:
    """Plan, run and show what was asked for. Returns the exit status."""
    from harness.catalog import load_catalog
    from harness.config.preset import AUTO, DEFAULT_PRESET
    from harness.orchestration.engines.open_engine import open_engine
    from harness.orchestration.request import engine_modules, find_contenders, left_out_of_all
    from harness.orchestration.tuning.contenders import tuned_contenders
    from harness.orchestration.tuning.record import read_tuning

    tuning = read_tuning(request.tuned) if request.tuned else None
    if tuning is None:
        preset = request.base_preset()
    else:
        preset = tuning.base_preset(DEFAULT_PRESET if request.preset == AUTO else request.preset)
    run_dir, catalog = request.run_dir(), load_catalog(request.adapters)
    if request.pretrain is not None:
        pretrain_missing(request, catalog, preset)
    contenders = find_contenders(request, catalog, preset)
    for note in left_out_of_all(request, catalog):
        _print_note(note)
    if tuning is not None:
        contenders = tuned_contenders(contenders, tuning, _print_note)
    # Fork servers import torch and the engines while the data are read here.
    modules = engine_modules(contenders)
    with nullcontext() if request.dry_run else open_engine(request, run_dir, modules) as engine:
        manifest = request.plan(contenders, preset, _print_note)
        if request.device_note:
            _print_note(request.device_note)
        if engine is None:
            print_estimates(manifest, run_dir, request.as_json, request.jobs)
            return 0
        status, board = _run_trials(manifest, run_dir, request, engine)
    from harness.reporting.table import show

    show(board, "json" if request.as_json else "screen", request.wide)
    click.echo(f"{run_dir / 'leaderboard.md'}", err=request.as_json)
    if could_start_painted(manifest, contenders):
        _print_note(
            "these networks started from random weights; --init painted starts all for which there are weights learned "
            "on painted cells from those (docs/pretraining.md)"
        )
    return status


def could_start_painted(manifest: Manifest, contenders: Sequence[Contender]) -> bool:
    """Whether all networks of a run on real data started new, and there are weights for one of them."""
    from harness.data.registry import is_drawn
    from harness.training.painted_weights import Network, find_painted

    specs = [trial.spec for trial in manifest.trials]
    if any(spec.start is not None or is_drawn(spec.source) for spec in specs):
        return False
    networks = (Network.of(contender.resolved.recipe, contender.preset.model) for contender in contenders)
    return any(find_painted(network) is not None for network in networks)


def _print_note(note: str) -> None:
    click.echo(f"note: {note}", err=True)


def _run_trials(manifest: Manifest, run_dir: Path, request: RunRequest, engine: Engine) -> tuple[int, Leaderboard]:
    """Run every trial of the plan, and show how far it is. Returns the exit status and the leaderboard at its end."""
    from harness.cli.reporters import make_reporter
    from harness.errors import StorageError
    from harness.orchestration.scheduler import run_plan
    from harness.reporting.leaderboard import write_leaderboards

    tracker = None
    if request.mlflow is not None:
        from harness.tracking.mlflow import MlflowLog

        tracker = MlflowLog(request.mlflow, run_dir).track
    boards: list[Leaderboard] = []

    def write(folder: Path) -> None:
        boards[:] = [write_leaderboards(folder)]

    with make_reporter(run_dir, request.quiet or request.as_json, tracker, engine.slots) as reporter:
        try:
            status = run_plan(manifest, run_dir, request.options(), reporter, write, engine)
        except StorageError as error:
            raise HarnessError(f"{error} with --out {run_dir}: it continues from there") from error
    return status, boards[0]


def _methods_line(words: list[str]) -> str:
    """What to type, where methods were typed without their option."""
    methods = ",".join(word.strip(",") for word in words if word.strip(","))
    line = shlex.join(["python", "-m", "harness", "run", "--methods", methods])
    return f"run takes its methods by an option; type: {line}"
