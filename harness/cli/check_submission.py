"""`python -m harness check-submission`: would Kaggle take the file? No model, no torch."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import as_json, print_json


@click.command(name="check-submission", context_settings={"show_default": True})
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--images", required=True, metavar="DIR", type=click.Path(path_type=Path), help="The images predicted.")
@click.option("--limit", default=100, type=click.IntRange(min=1), help="Most problems listed.")
@as_json
def check_submission(file: Path, images: Path, limit: int, as_json: bool) -> None:
    """Check a submission FILE by Kaggle's rules, against the images in a folder.

    Every image has a row, and no other has; start and length come in pairs, sorted, inside the image; masks of an
    image do not overlap; an empty prediction stands alone. Lists all that is wrong; exit status 1 if anything is.
    """
    from harness.data.image_folder import images_by_id, read
    from harness.inference.formats.check_submission import check_submission as problems_of

    sizes = {name: read(path)[0].shape[:2] for name, path in images_by_id(images)[0].items()}
    problems = problems_of(file, sizes)
    if as_json:
        print_json({"ok": not problems, "problems": problems})
    else:
        for problem in problems[:limit]:
            click.echo(problem)
        if len(problems) > limit:
            click.echo(f"... and {len(problems) - limit:,} more (--limit)")
        if not problems:
            click.echo(f"nothing wrong: {len(sizes):,} images")
    if problems:
        raise click.exceptions.Exit(1)
