"""`python -m harness package`: a trained model of a run as a folder that stands alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import adapters, as_json, choose_device, complete_methods, print_json
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.evaluation.schema import PostprocessRule
    from harness.orchestration.packaging import MethodTrials
    from harness.results.schema import DataFacts, RunRecord
    from harness.results.trained_trial import TrainedTrial


@dataclass(frozen=True)
class _Chosen:
    """What goes into the folder."""

    trials: tuple[TrainedTrial, ...]
    rule: PostprocessRule
    data: DataFacts
    scored: Sequence[RunRecord]
    scores_of: str


@click.command(context_settings={"show_default": True})
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option(
    "--method",
    required=True,
    metavar="NAME",
    shell_complete=complete_methods,
    help="As the leaderboard calls its row; or a folder's name under RUN_DIR/trials.",
)
@click.option("--to", "folder", required=True, metavar="FOLDER", type=click.Path(path_type=Path), help="A new folder.")
@click.option("--seed", type=click.IntRange(0), help="Which of its seeds.  [default: the lowest; all with --ensemble]")
@click.option("--fit-all", is_flag=True, help="Train once more, on all labelled images, with the rule of the run.")
@click.option("--ensemble", is_flag=True, help="Keep the models of all folds and seeds, and average what they predict.")
@click.option("--licence", default="", metavar="TEXT", help="Of the weights, for the card.")
@click.option("--device", default="auto", metavar="auto|cpu|cuda[:N]", help="Where to train with --fit-all.")
@click.option("--quiet", is_flag=True, help="Plain lines in place of progress bars.")
@adapters
@as_json
def package(
    run_dir: Path,
    method: str,
    folder: Path,
    seed: int | None,
    fit_all: bool,
    ensemble: bool,
    licence: str,
    device: str,
    quiet: bool,
    adapters: tuple[str, ...],
    as_json: bool,
) -> None:
    """Write a trained model of RUN_DIR into a folder that needs neither the run nor its data.

    The folder holds weights, recipe, score threshold, what the model was trained on, scores, and a card for people.
    `predict --model FOLDER` loads it, on this machine or another, and executes nothing from it. With --fit-all the
    method is trained once more on all labelled images; interrupted, the same command goes on.
    """
    from harness.catalog import load_catalog
    from harness.fileio import write_text_atomic
    from harness.inference.model_package import CARD, refuse_used_folder, write_package
    from harness.orchestration.packaging import find_trials
    from harness.reporting.model_card import model_card, scores_of_records

    if fit_all and ensemble:
        raise HarnessError("--fit-all makes one model of all images, --ensemble keeps those there are; leave one out")
    refuse_used_folder(folder)
    catalog = load_catalog(adapters)
    found = find_trials(run_dir, method, seed)
    if fit_all:
        chosen = _fit_all(run_dir, found, device, quiet or as_json)
    else:
        chosen = _ensemble(run_dir, found) if ensemble else _single(found, method)
    made = write_package(
        folder,
        chosen.trials,
        chosen.rule,
        chosen.data,
        fit_all=fit_all,
        cell_diameters=_diameters(chosen),
        scores=scores_of_records(chosen.scored),
        scores_of=chosen.scores_of,
        licence=licence,
    )
    write_text_atomic(folder / CARD, model_card(made, catalog))
    if as_json:
        print_json({"folder": str(folder), "files": sorted(path.name for path in folder.iterdir())})
        return
    click.echo(f"wrote {folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")
    click.echo(f"to predict with it: python -m harness predict --model {folder} --images DIR --out DIR")


def _single(found: MethodTrials, method: str) -> _Chosen:
    """One model as it is, with its own scores. Raises HarnessError where folds leave none that stands for all."""
    one = found.of_seed(found.records[0].seed)
    trial, record = one.trials[0], one.records[0]
    if len(one.trials) > 1:
        raise HarnessError(
            f"{method} was trained in folds, and none of the {len(one.trials)} models stands for all; type --fit-all "
            f"(trains one on all images), --ensemble (keeps all), or --method {trial.folder.name}"
        )
    assert record.data is not None
    scores_of = "this model, on images that it was not trained on"
    if one.in_folds:
        scores_of = "all folds, each image predicted by a model that was not trained on it"
    return _Chosen(one.trials, trial.rule, record.data, one.scored, scores_of)


def _ensemble(run_dir: Path, found: MethodTrials) -> _Chosen:
    """All models, with the scores of their average where there are images that none has seen; these are a row then."""
    from harness.orchestration.average_row import write_average_row
    from harness.orchestration.packaging import common_rule, run_dataset
    from harness.reporting.leaderboard import write_leaderboards

    data = found.records[0].data
    assert data is not None
    if len(found.trials) < 2:
        raise HarnessError("--ensemble needs several trained models: run the method with --folds or --seeds")
    dataset = run_dataset(found.spec)
    rule = common_rule(found, dataset)
    if found.in_folds:
        click.echo(
            "note: every image was trained on by all models but one: what the average adds is not known here; "
            "`evaluate RUN_DIR --data OTHER --ensemble` measures it on other labelled data",
            err=True,
        )
        scores_of = "the single models, each on images that it was not trained on; what their average adds is not in it"
        return _Chosen(found.trials, rule, data, found.scored, scores_of)
    row = write_average_row(run_dir, found, dataset, rule)
    write_leaderboards(run_dir)
    assert row.scores is not None
    click.echo(f"note: {row.method} is a row of the table: IoU {row.scores.iou_map:.4f}", err=True)
    return _Chosen(found.trials, rule, data, (row,), "this average, on images that none of the models was trained on")


def _fit_all(run_dir: Path, found: MethodTrials, device: str, quiet: bool) -> _Chosen:
    from harness.cli.reporters import make_reporter
    from harness.orchestration.fit_all import FIT_ALL, fit_all, plan_fit_all
    from harness.orchestration.packaging import common_rule, run_dataset
    from harness.orchestration.scheduler import RunOptions

    one = found.of_seed(found.records[0].seed)
    whole_folds = one.in_folds and len(one.trials) > 1
    rule = common_rule(one, run_dataset(one.spec)) if whole_folds else one.trials[0].rule
    device, note = choose_device(device)
    if note:
        click.echo(f"note: {note}", err=True)
    manifest = plan_fit_all(one.spec, device)
    with make_reporter(run_dir / FIT_ALL, quiet) as reporter:
        trial, data = fit_all(run_dir, manifest, rule, RunOptions(), reporter)
    number = sum(max(1, len(record.folds)) for record in found.scored)
    scores_of = (
        f"{number} model{'s' if number > 1 else ''} of the run, trained on a part of the images and scored on others; "
        "this one was trained on all of them and has no score of its own"
    )
    return _Chosen((trial,), rule, data, found.scored, scores_of)


def _diameters(chosen: _Chosen) -> dict[str, float]:
    """Of the training cells; empty where the data are no longer there."""
    from harness.data.statistics import diameter_percentiles
    from harness.orchestration.packaging import run_dataset

    try:
        dataset = run_dataset(chosen.trials[0].spec)
    except HarnessError as error:
        click.echo(f"note: the card says nothing of the sizes of cells: {error}", err=True)
        return {}
    found: dict[str, Any] = diameter_percentiles(dataset, chosen.data.splits["train"])
    return found
