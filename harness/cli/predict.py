"""`python -m harness predict`: predicts images with a trained method, and writes files that other programs read."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import adapters, as_json, choose_device, complete_methods, print_json
from harness.errors import HarnessError
from harness.inference.formats.writer import DEFAULT_FORMATS, FORMATS

if TYPE_CHECKING:
    from harness.catalog import Catalog
    from harness.config.trial_spec import TrialSpec
    from harness.contract import Model, Task
    from harness.inference.predict_files import Outcome
    from harness.results.trained_trial import TrainedTrial


@click.command(context_settings={"show_default": True})
@click.option("--run", "run_dir", metavar="RUN_DIR", type=click.Path(path_type=Path), help="The run.")
@click.option(
    "--model",
    "model_dir",
    metavar="FOLDER|painted",
    type=click.Path(path_type=Path),
    help="A packaged model; or `painted`: weights learned on painted cells, without any training on yours.",
)
@click.option(
    "--diameter",
    type=click.FloatRange(1),
    metavar="PIXELS",
    help="Of a typical cell, for --model painted.  [default: estimated]",
)
@click.option(
    "--method",
    metavar="NAME",
    shell_complete=complete_methods,
    help="As the leaderboard calls its row; or a folder's name under RUN_DIR/trials. For painted: whose network.",
)
@click.option("--seed", type=click.IntRange(0), help="Which of its seeds.  [default: the lowest]")
@click.option("--images", required=True, metavar="DIR", type=click.Path(path_type=Path), help="PNG, TIFF, JPEG, BMP.")
@click.option("--out", required=True, metavar="DIR", type=click.Path(path_type=Path), help="Where files are written.")
@click.option(
    "--formats", default=",".join(DEFAULT_FORMATS), metavar="LIST", help=f"What is written: {', '.join(FORMATS)}."
)
@click.option("--submission", metavar="FILE.csv", type=click.Path(path_type=Path), help="Also write Kaggle's file.")
@click.option(
    "--tile", type=click.IntRange(256), metavar="PIXELS", help="Predict in tiles of this side.  [default: large images]"
)
@click.option("--device", default="auto", metavar="auto|cpu|cuda[:N]|mps", help="Where to compute.")
@adapters
@as_json
def predict(
    run_dir: Path | None,
    model_dir: Path | None,
    diameter: float | None,
    method: str | None,
    seed: int | None,
    images: Path,
    out: Path,
    formats: str,
    submission: Path | None,
    tile: int | None,
    device: str,
    adapters: tuple[str, ...],
    as_json: bool,
) -> None:
    """Predict every image of a folder with a trained method of a run, or with a model that `package` wrote.

    --model painted needs no run and no label: the network has seen painted cells alone, and what it finds is a first
    set of masks to correct.

    The score threshold and smallest area that the run chose are applied, and overlaps removed. Writes labels/NAME.tif
    (label images), coco.json (COCO run lengths) and overlays/NAME.png; with --formats geojson, outlines for QuPath.
    Large TIFF and OME-Zarr images are read and predicted tile by tile; typed again after an interruption, the command
    keeps finished tiles. Images that cannot be read are named and left out, and the exit status is 1 then. A submission
    file is checked by Kaggle's rules (see `check-submission`).
    """
    from harness.catalog import load_catalog
    from harness.data.image_folder import images_by_id, refuse_same_names
    from harness.fileio import remove_empty_folder

    trial = _trial_of_run(run_dir, model_dir, method, seed, diameter)
    files, labels = images_by_id(images)
    refuse_same_names(files, out)
    catalog = load_catalog(adapters)
    device, note = choose_device(device)

    from harness.config.tiling import TILE
    from harness.inference.formats.check_submission import check_submission
    from harness.inference.formats.submission import Submission
    from harness.inference.formats.writer import open_writers, warn_of_older_files
    from harness.inference.predict_files import TILES, Tiling, predict_files

    if not sys.warnoptions:
        # Frameworks warn about their own deprecations. In a run these go to the log.
        warnings.simplefilter("ignore")
    if _is_painted(model_dir):
        from harness.inference.zero_shot import some_images, zero_shot

        found = zero_shot(some_images(list(files.values())), catalog, device, diameter, method)
        model, task, trial = found.model, found.task, found.trial
        click.echo(f"note: {found.said}", err=True)
    else:
        model, task, trial = _loaded(trial, model_dir, catalog, device)
    writers = open_writers([name.strip() for name in formats.split(",") if name.strip()], out, task.classes)
    if submission is not None:
        writers.append(Submission(submission))
    if note:
        click.echo(f"note: {note}", err=True)
    with _Bars(len(files)) as bars:
        tiling = Tiling(out / TILES, tile or TILE, tile is not None, bars.tile)
        outcome = predict_files(model, task, trial, bars.images(list(files.values())), writers, tiling)
    remove_empty_folder(out / TILES)
    written = [writer.finish() for writer in writers]
    about_files = [*_label_files(labels), *(line for writer in writers for line in warn_of_older_files(writer))]
    broken_rules = [] if submission is None else check_submission(submission, outcome.sizes)
    _tell(trial.spec, outcome, written, broken_rules, about_files, as_json)
    if outcome.bad or broken_rules:
        raise click.exceptions.Exit(1)


def _is_painted(model_dir: Path | None) -> bool:
    """Whether the weights learned on painted cells are meant, not a packaged model in a folder of that name."""
    return model_dir == Path("painted") and not (model_dir / "model.json").is_file()


def _trial_of_run(
    run_dir: Path | None, model_dir: Path | None, method: str | None, seed: int | None, diameter: float | None
) -> TrainedTrial | None:
    """The trial that was named; None for another model. Raises HarnessError where neither or both were."""
    from harness.results.trained_trial import find_trained_trial

    if _is_painted(model_dir):
        if run_dir is not None or seed is not None:
            raise HarnessError("--model painted belongs to no run; leave --run and --seed out")
        return None
    if diameter is not None:
        raise HarnessError("--diameter goes with --model painted; a trained model knows the cells that it has seen")
    if model_dir is not None:
        from harness.inference.model_package import read_package

        if run_dir is not None or method is not None or seed is not None:
            raise HarnessError("--model names a packaged model, which is one method of one run; leave the others out")
        read_package(model_dir)
        return None
    if run_dir is None or method is None:
        raise HarnessError("type --run RUN_DIR --method NAME, or --model FOLDER for a packaged model")
    return find_trained_trial(run_dir, method, seed)


def _loaded(
    trial: TrainedTrial | None, model_dir: Path | None, catalog: Catalog, device: str
) -> tuple[Model, Task, TrainedTrial]:
    """The model, what it was built for, and its specification and rule."""
    from harness.inference.model_package import load_package
    from harness.inference.trained_model import load_trained

    if trial is None:
        assert model_dir is not None
        return load_package(model_dir, catalog, device)
    return *load_trained(trial, catalog, device, trial.rule.lowest_score()), trial


class _Bars:
    """A bar for the images and, for one that is predicted in tiles, one for its tiles; on a terminal alone."""

    def __init__(self, images: int) -> None:
        from rich.console import Console
        from rich.progress import Progress

        console = Console(stderr=True)
        self._progress = Progress(console=console, transient=True, disable=not sys.stderr.isatty())
        self._images = self._progress.add_task("images", total=images)
        self._tiles = self._progress.add_task("tiles", visible=False)

    def __enter__(self) -> _Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def images(self, paths: Sequence[Path]) -> Iterable[Path]:
        for path in paths:
            yield path
            self._progress.update(self._tiles, visible=False)
            self._progress.advance(self._images)

    def tile(self, name: str, done: int, total: int) -> None:
        text = f"tiles of {name}"
        self._progress.update(self._tiles, description=text, completed=done, total=total, visible=True)


def _label_files(labels: Sequence[Path]) -> list[str]:
    if not labels:
        return []
    return [f"files named as labels of another image, not predicted: {len(labels)} ({labels[0].name} for one)"]


def _tell(
    spec: TrialSpec,
    outcome: Outcome,
    written: Sequence[Path],
    broken_rules: Sequence[str],
    about_files: Sequence[str],
    as_json: bool,
) -> None:
    if as_json:
        images = [
            {"id": name, "height": height, "width": width, "cells": outcome.cells[name]}
            for name, (height, width) in outcome.sizes.items()
        ]
        facts = {"method": spec.method, "seed": spec.seed, "images": images, "notes": dict(outcome.notes)}
        problems = {"left_out": outcome.bad, "submission_problems": broken_rules}
        print_json({**facts, **problems, "about_files": about_files, "written": [str(path) for path in written]})
    else:
        counts = f"{sum(outcome.cells.values()):,} cells on {len(outcome.cells):,} images"
        click.echo(f"{spec.method}, seed {spec.seed}: {counts}")
        for path in written:
            click.echo(f"wrote {path}")
    for note, count in outcome.notes.items():
        click.echo(f"note: {note}: {count} images", err=True)
    for line in about_files:
        click.echo(f"note: {line}", err=True)
    for line in outcome.bad:
        click.echo(f"left out: {line}", err=True)
    for line in broken_rules:
        click.echo(f"the submission breaks a rule: {line}", err=True)
