"""`python -m harness tune`: the same search for settings for every method, scored on calibration images."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import (
    adapters,
    as_json,
    choose_device,
    complete_methods,
    complete_presets,
    print_json,
    set_option,
)
from harness.cli.split_options import split_options
from harness.errors import HarnessError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.config.split_spec import SplitSpec
    from harness.orchestration.plan import Contender
    from harness.orchestration.prepared_data import PreparedData
    from harness.orchestration.process.launchers import Launcher
    from harness.orchestration.request import RunRequest
    from harness.orchestration.tuning.record import TuningRecord
    from harness.orchestration.tuning.tuner import Search


@click.command(context_settings={"show_default": True})
@click.option(
    "--methods",
    required=True,
    metavar="LIST",
    shell_complete=complete_methods,
    help="Names and stacks, as in mask_rcnn,container+copy_paste(p=0.5); or all.",
)
@click.option("--trials", default=12, type=click.IntRange(1), help="Settings of each method, the preset's own first.")
@click.option("--budget", metavar="AMOUNT", help="Training of each trial: 60s, 10m, 1000it.  [default: the preset's]")
@click.option(
    "--space",
    metavar="FILE.toml",
    type=click.Path(path_type=Path),
    help="Settings to search, the same for every method.  [default: learning rate, weight decay, warm-up, decay]",
)
@click.option("--sampler", default="random", type=click.Choice(["random", "tpe"]), help="How settings are proposed.")
@click.option(
    "--early-stopping/--no-early-stopping",
    default=True,
    help="Stop trials that fall behind, at a quarter and at half of the budget.",
)
@click.option("--data", "source", metavar="SOURCE", help="Data source.  [default: the preset's]")
@split_options
@click.option(
    "--preset",
    default="auto",
    metavar="NAME|FILE.toml",
    shell_complete=complete_presets,
    help="Where every method starts; auto is fitted to the data, as for run.",
)
@set_option
@click.option("--seed", default=0, type=click.IntRange(0), help="Of the search.")
@click.option("--init", metavar="KIND[:PATH]", help="Starting weights: scratch, imagenet, coco, checkpoint:RUN_DIR.")
@click.option("--device", default="auto", metavar="auto|cpu|cuda[:N]|mps", help="Where to compute.")
@click.option(
    "--precision", default="auto", type=click.Choice(["auto", "float32", "bfloat16"]), help="Arithmetic, as for run."
)
@click.option(
    "--out",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folder of the search; one that is there already is continued.",
)
@click.option("--skip-bad", is_flag=True, help="Leave bad images and cells out, and count them.")
@click.option("--trust-labels", is_flag=True, help="Train on labels that look wrong (`data check` says why).")
@click.option("--wall-limit", metavar="TIME", help="Longest time of a trial: 30m, 2h.  [default: by its budget]")
@click.option("--memory-limit", metavar="SIZE", help="Most memory of a trial: 8GB.  [default: 90 % of the machine's]")
@click.option("--dry-run", is_flag=True, help="Print how many trials and how long they train, and stop.")
@click.option("--quiet", is_flag=True, help="Plain lines in place of progress bars.")
@adapters
@as_json
def tune(**typed: Any) -> None:
    """Search settings for each method: as many trials for every method, from the same space.

    Scored on the calibration images; validation images are not even predicted. Writes a preset for each method, which
    `run --tuned DIR` uses, and tuning.md. The same command with the same --out continues where it was stopped.
    """
    from harness.orchestration.request import RunRequest
    from harness.orchestration.tuning.sampler import check_installed

    check_installed()
    own = {name: typed.pop(name) for name in ("trials", "space", "sampler", "early_stopping")}
    typed["device"], note = choose_device(typed["device"])
    source = typed.pop("source")
    command = shlex.join(["python", "-m", "harness", *sys.argv[1:]])
    request = RunRequest(**typed, sources=(source,) if source else (), command=command, device_note=note)
    raise click.exceptions.Exit(_execute(request, **own))


def _execute(request: RunRequest, space: Path | None, **how: Any) -> int:
    """Search, and show what was found. Returns the exit status."""
    from harness.catalog import load_catalog
    from harness.config.space import load_space
    from harness.orchestration.plan_from_data import read_source
    from harness.orchestration.process.launchers import fastest_launcher
    from harness.orchestration.request import engine_modules, find_contenders
    from harness.orchestration.tuning.tuner import Search

    if request.folds:
        raise HarnessError("tune chooses by calibration images, which --folds has none of; leave --folds out")
    if len(request.labels) > 1:
        raise HarnessError("tune takes one number of labelled images; give --labels once")
    preset = request.base_preset()
    contenders = find_contenders(request, load_catalog(request.adapters), preset)
    known = sorted({name for one in contenders for name in one.resolved.known_settings})
    names = ("device", "precision", "skip_bad")
    search = Search(
        preset=preset,
        budget=request.budget or preset.budget,
        space=load_space(space, known, preset),
        seed=request.seed,
        command=request.command,
        how={name: getattr(request, name) for name in names},
        **how,
    )
    source = (request.sources or (preset.source,))[0]
    data, split = read_source(source, request.split_spec(), preset, request.skip_bad, request.trust_labels, _print_note)
    fit = request.fit_preset(preset, data, data.facts)
    if fit is not None:
        search, contenders = replace(search, preset=fit), [replace(one, preset=fit) for one in contenders]
    _print_plan(search, contenders, data, request)
    if request.dry_run:
        return 0
    with fastest_launcher(engine_modules(contenders)) as launcher:
        record = _search(request, search, contenders, (data, split), launcher)
    if record is None:
        _print_note(f"stopped; the same command goes on with {request.out}")
        return 130
    return _show(record, request)


def _print_plan(search: Search, contenders: Sequence[Contender], data: PreparedData, request: RunRequest) -> None:
    """What will be done, before any of it is."""
    from harness.cli.estimates import format_duration
    from harness.config.budget import Budget

    for note in (request.device_note, *search.preset.fit):
        if note:
            _print_note(note)
    if not search.space.contains(search.space.own_values(search.preset)):
        _print_note("the preset's own setting lies outside the space; it is the first trial all the same")
    trials, budget = search.trials * len(contenders), Budget.parse(search.budget)
    together = f", {format_duration(trials * budget.amount)} together" if budget.kind == "seconds" else ""
    _print_note(
        f"{search.trials} trials of each of {len(contenders)} methods, at most {search.budget} of training "
        f"each{together}; scored on {len(data.facts.splits['calibration'])} calibration images"
    )


def _search(
    request: RunRequest,
    search: Search,
    contenders: Sequence[Contender],
    data: tuple[PreparedData, SplitSpec],
    launcher: Launcher,
) -> TuningRecord | None:
    from harness.cli.reporters import make_reporter
    from harness.errors import StorageError
    from harness.orchestration.tuning.tuner import Tuner

    assert request.out is not None
    with make_reporter(request.out, request.quiet or request.as_json) as reporter:
        options = replace(request.options(), launcher=launcher)
        tuner = Tuner(contenders, search, *data, request.out, options, reporter)
        try:
            return tuner.run()
        except StorageError as error:
            raise HarnessError(f"{error} with --out {request.out}: it continues from there") from error


def _show(record: TuningRecord, request: RunRequest) -> int:
    from harness.reporting.screen import print_table
    from harness.reporting.tuning import summary_rows, write_report

    assert request.out is not None
    written = write_report(request.out, record)
    if request.as_json:
        print_json(record.model_dump(mode="json"))
    else:
        header, rows = summary_rows(record)
        print_table(header, rows)
        click.echo(written)
        click.echo(f"next: {shlex.join(['python', '-m', 'harness', 'run', *_next(record, request)])}")
    return 0 if all(method.chosen is not None for method in record.methods) else 1


def _next(record: TuningRecord, request: RunRequest) -> list[str]:
    """What to type to run with the tuned presets."""
    data = ["--data", request.sources[0]] if request.sources else []
    return ["--methods", ",".join(method.method for method in record.methods), "--tuned", str(request.out), *data]


def _print_note(note: str) -> None:
    click.echo(f"note: {note}", err=True)
