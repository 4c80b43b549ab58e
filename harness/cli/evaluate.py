"""`python -m harness evaluate`: the trained models of a run on other labelled data."""

from __future__ import annotations

import shlex
import sys
import warnings
from pathlib import Path
from typing import Any

import click

from harness.cli.options import adapters, as_json, choose_device, print_json, protocol_option
from harness.config.protocol import ScoringProtocol
from harness.errors import HarnessError
from harness.reporting.screen import print_table

MATRIX = "generalisation.md"


@click.command(context_settings={"show_default": True})
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option(
    "--data", "sources", required=True, multiple=True, metavar="SOURCE", help="As for `run`; may be repeated."
)
@click.option("--methods", metavar="LIST", help="Rows of the table.  [default: all that were trained]")
@click.option(
    "--recalibrate",
    is_flag=False,
    flag_value=0.2,
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="[FRACTION]",
    help="Choose the rule anew on this part of the new images, which is then not scored; 0.2 where none is given.",
)
@click.option("--ensemble", is_flag=True, help="Also the average of all models of a method, its folds or seeds.")
@protocol_option
@click.option("--skip-bad", is_flag=True, help="Leave bad images and cells out.")
@click.option("--device", default="auto", metavar="auto|cpu|cuda[:N]|mps", help="Where to compute.")
@adapters
@as_json
def evaluate(
    run_dir: Path,
    sources: tuple[str, ...],
    methods: str | None,
    recalibrate: float | None,
    ensemble: bool,
    protocol: ScoringProtocol,
    skip_bad: bool,
    device: str,
    adapters: tuple[str, ...],
    as_json: bool,
) -> None:
    """Predict and score other labelled data with the trained models of RUN_DIR.

    Nothing is trained. The score threshold is that of the run, or chosen anew with --recalibrate. Classes are matched
    by name. Images that a model was trained on are left out. Records are below RUN_DIR/evaluations; `report` draws what
    was trained on against what was tested on.
    """
    from harness.data.sources import load
    from harness.orchestration.evaluation import TestData, averages, trained_trials

    names = [name.strip() for name in (methods or "").split(",") if name.strip()]
    trials = trained_trials(run_dir, names)
    if ensemble:
        trials += averages(run_dir, trials)
    tests = [TestData.of(load(source, skip_bad=skip_bad), recalibrate) for source in sources]

    from harness.catalog import load_catalog
    from harness.orchestration.evaluation import evaluate as evaluate_one
    from harness.reporting.columns import LIVECELL

    device, note = choose_device(device)
    if note:
        click.echo(f"note: {note}", err=True)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    catalog = load_catalog(adapters)
    command = shlex.join(["python", "-m", "harness", *sys.argv[1:]])
    rows: list[dict[str, Any]] = []
    failed: list[str] = []
    for test in tests:
        for one in trials:
            assert one.record.data is not None
            where = f"{one.name} on {test.dataset.public_source}"
            if one.record.data.fingerprint == test.dataset.fingerprint:
                click.echo(f"left out: {where}: it was trained on these data; its score is in the table", err=True)
                continue
            try:
                record = evaluate_one(run_dir, one, test, catalog, device, command, protocol)
            except HarnessError as error:
                failed.append(f"{where}: {error}")
                continue
            rows.append(
                {
                    "method": record.method,
                    "seed": record.seed,
                    "trained on": record.trained_on.source,
                    "tested on": record.tested_on.source,
                    "images": len(record.scores.by_image),
                    "IoU": record.scores.iou_map,
                    "ms/image": record.inference_ms_per_image,
                    **{text: record.scores.livecell[name] for name, text in LIVECELL.items() if protocol},
                    "notes": record.notes,
                }
            )
    _tell(run_dir, rows, failed, as_json)


def _tell(run_dir: Path, rows: list[dict[str, Any]], failed: list[str], as_json: bool) -> None:
    from harness.fileio import write_text_atomic
    from harness.reporting.generalisation import as_markdown, matrix_of_run
    from harness.results.io import read_records

    found = matrix_of_run(run_dir, read_records(run_dir)[0])
    if found is not None:
        write_text_atomic(run_dir / MATRIX, as_markdown(found))
    if as_json:
        print_json({"evaluations": rows, "failed": failed})
    elif rows:
        columns = [name for name in rows[0] if name != "notes"]
        print_table(
            columns, [[f"{v:.4f}" if isinstance(v, float) else str(v) for v in _picked(r, columns)] for r in rows]
        )
        for line in dict.fromkeys(note for row in rows for note in row["notes"]):
            click.echo(f"note: {line}", err=True)
        click.echo(f"wrote {run_dir / MATRIX}")
    for line in failed:
        click.echo(f"not evaluated: {line}", err=True)
    if failed:
        raise click.exceptions.Exit(1)


def _picked(row: dict[str, Any], columns: list[str]) -> list[Any]:
    return [row[name] for name in columns]
