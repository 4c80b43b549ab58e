"""`python -m harness export-split`: the images of a run's split for a tool outside the harness."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import as_json, print_json


@click.command(context_settings={"show_default": True})
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--to", "out", required=True, metavar="DIR", type=click.Path(path_type=Path), help="A new folder.")
@click.option("--format", "form", default="folder", metavar="folder|coco|cellpose", help="How labels are written.")
@click.option("--data", "source", metavar="SOURCE", help="Which data, where the run has several.")
@as_json
def export_split(run_dir: Path, out: Path, form: str, source: str | None, as_json: bool) -> None:
    """Write the training and calibration images of RUN_DIR with labels, and its validation images without.

    So any other tool works on the same task; `add-row` takes its masks back. folder: PART/images/ID.png and
    PART/labels/ID.tif. coco: PART/ID.png and PART.json. cellpose: PART/ID.png and PART/ID_masks.tif.
    """
    from harness.data.export import export_split as write_split
    from harness.orchestration.run_data import load_run_data

    data = load_run_data(run_dir, source)
    notes = write_split(data.dataset, data.facts.splits, out, form)
    counts = {part: len(ids) for part, ids in data.facts.splits.items()}
    if as_json:
        print_json({"folder": str(out), "format": form, "images": counts, "notes": notes})
        return
    for part, count in counts.items():
        click.echo(f"{out / part}: {count} images{' without labels' if part == 'validation' else ''}")
    for note in notes:
        click.echo(f"note: {note}", err=True)
    click.echo(
        f"masks of the validation images come back with: python -m harness add-row {run_dir} --name NAME --masks DIR"
    )
