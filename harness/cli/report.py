"""`python -m harness report`: an HTML page, and its figures as files for a paper. No model, no torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import as_json, print_json
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.reporting.page.figures import Figures

PAGE = "report.html"


@click.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help=f"The page. [default: RUN_DIR/{PAGE}]")
@click.option("--png", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Each figure as PNG too.")
@click.option("--pdf", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Each figure as PDF too.")
@click.option("--no-gallery", is_flag=True, help="Leave the images out; the data are not needed then.")
@as_json
def report(
    run_dir: Path, out: Path | None, png: Path | None, pdf: Path | None, no_gallery: bool, as_json: bool
) -> None:
    """Write one HTML page with the leaderboard, figures and gallery of RUN_DIR.

    The page needs no network and nothing beside it. The gallery needs the run's stored predictions and its data.
    """
    from harness.fileio import make_folder, write_text_atomic
    from harness.reporting.generalisation import matrix_of_run
    from harness.reporting.leaderboard import leaderboard_of_runs
    from harness.reporting.page.figures import figures
    from harness.reporting.page.gallery import Gallery, gallery
    from harness.reporting.page.page import page

    board = leaderboard_of_runs([run_dir])
    if not board.rows:
        raise HarnessError(f"{run_dir} holds no record; `run` makes them")
    drawn = figures(board, run_dir)
    pictures: Gallery | None = None
    reason = "it was not asked for (--no-gallery)." if no_gallery else ""
    if not no_gallery:
        try:
            pictures = gallery(board, run_dir)
        except HarnessError as error:
            reason = f"{error}."
    matrix = matrix_of_run(run_dir, board.records)
    target = out or run_dir / PAGE
    make_folder(target.parent)
    write_text_atomic(target, page(board, drawn, pictures, reason, matrix))
    written = {form: _printed(drawn, folder, form) for form, folder in (("png", png), ("pdf", pdf)) if folder}
    if as_json:
        print_json(
            {
                "page": str(target),
                "figures": [chart.slug for chart in drawn.charts],
                "images": len(pictures.pictures) if pictures else 0,
                "no_gallery": reason,
                "notes": [*drawn.notes, *(pictures.notes if pictures else ())],
                **{form: [str(path) for path in paths] for form, paths in written.items()},
            }
        )
        return
    click.echo(target)
    for paths in written.values():
        for path in paths:
            click.echo(path)
    if reason and not no_gallery:
        click.echo(f"no gallery: {reason}", err=True)


def _printed(drawn: Figures, folder: Path, form: str) -> list[Path]:
    from harness.reporting.page.printed import write_figures

    return write_figures(drawn, folder, form)
