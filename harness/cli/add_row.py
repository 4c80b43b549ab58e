"""`python -m harness add-row`: the masks of any tool, scored as a row of a run's table."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from harness.cli.options import as_json, print_json
from harness.errors import HarnessError


@click.command(context_settings={"show_default": True})
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="Of the row.")
@click.option(
    "--masks",
    required=True,
    metavar="DIR|COCO.json|FILE.csv",
    type=click.Path(path_type=Path),
    help="Masks of the validation images: label images, a COCO file or results, or a Kaggle submission.",
)
@click.option(
    "--calibration-masks",
    metavar="DIR|COCO.json|FILE.csv",
    type=click.Path(path_type=Path),
    help="The same of the calibration images; needed where masks have scores.",
)
@click.option("--seed", default=0, type=click.IntRange(0), help="Tells several trainings of one tool apart.")
@click.option("--training-time", metavar="12m", help="What its training took, by your word.")
@click.option("--memory", metavar="8GB", help="What memory it took, by your word.")
@click.option("--note", default="", help="Shown below the table.")
@click.option("--as-they-are", is_flag=True, help="Take all masks, whatever their scores.")
@click.option("--missing-are-empty", is_flag=True, help="Images without masks have no cells.")
@click.option("--replace", is_flag=True, help="Replace an earlier row of this name and seed.")
@click.option("--data", "source", metavar="SOURCE", help="Which data, where the run has several.")
@as_json
def add_row(
    run_dir: Path,
    name: str,
    masks: Path,
    calibration_masks: Path | None,
    seed: int,
    training_time: str | None,
    memory: str | None,
    note: str,
    as_they_are: bool,
    missing_are_empty: bool,
    replace: bool,
    source: str | None,
    as_json: bool,
) -> None:
    """Score masks that another tool made for the validation images of RUN_DIR, as a row of its table.

    Every validation image must be there. Masks with scores go through the same search for a score threshold as those of
    all methods; others are taken as they are. `export-split` writes the images for the tool. The row never counts as
    keeping the budget; times and memory are blank, or your word and marked so.
    """
    from harness.orchestration.add_row import RowRequest
    from harness.orchestration.add_row import add_row as write_row
    from harness.reporting.leaderboard import write_leaderboards

    request = RowRequest(
        name=name,
        masks=masks,
        calibration_masks=calibration_masks,
        seed=seed,
        as_they_are=as_they_are,
        missing_are_empty=missing_are_empty,
        training_seconds=_seconds(training_time),
        memory=_bytes(memory),
        note=note,
        source=source,
        replace=replace,
        command=shlex.join(["python", "-m", "harness", *sys.argv[1:]]),
    )
    record, notes = write_row(run_dir, request)
    write_leaderboards(run_dir)
    assert record.scores is not None
    if as_json:
        print_json({"method": name, "seed": seed, "iou": record.scores.iou_map, "notes": notes})
        return
    click.echo(f"{name}, seed {seed}: IoU {record.scores.iou_map:.4f} on {len(record.scores.by_image)} images")
    for line in notes:
        click.echo(f"note: {line}", err=True)
    click.echo(f"the table: python -m harness table {run_dir}")


def _seconds(text: str | None) -> float | None:
    from harness.config.budget import Budget

    if text is None:
        return None
    budget = Budget.parse(text, name="--training-time")
    if budget.kind != "seconds":
        raise HarnessError(f"--training-time {text!r} is no time: type 90s, 30m or 2h")
    return budget.amount


def _bytes(text: str | None) -> int | None:
    from pydantic import ByteSize, TypeAdapter, ValidationError

    if text is None:
        return None
    try:
        return int(TypeAdapter(ByteSize).validate_python(text.strip()))
    except ValidationError as error:
        raise HarnessError(f"--memory {text!r} is no size: type it as in 8GB or 500MB") from error
