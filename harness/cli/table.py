"""`python -m harness table`: the leaderboard again, from records alone."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import as_json, complete_presets


@click.command()
@click.argument("run_dirs", metavar="RUN_DIR...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(["md", "csv", "latex", "json"]), help="[default: for the screen]")
@click.option(
    "--like",
    metavar="PRESET",
    shell_complete=complete_presets,
    help="Set the rows of a preset, such as paper, beside what was published.",
)
@click.option("--wide", is_flag=True, help="On a screen, all columns, in several tables where one has no room.")
@as_json
def table(run_dirs: tuple[Path, ...], form: str | None, like: str | None, wide: bool, as_json: bool) -> None:
    """Print the leaderboard of one run or of several together; no training, no torch.

    Records that were made under another budget, data set, split or scoring keep their row, are marked, and are
    neither ranked nor averaged with the others.
    """
    from harness.reporting.leaderboard import leaderboard_of_runs
    from harness.reporting.table import show

    chosen = "json" if as_json else form or "screen"
    if like is not None:
        from harness.reporting.published import print_published_comparison

        print_published_comparison(run_dirs, like, chosen)
    else:
        show(leaderboard_of_runs(run_dirs), chosen, wide)  # type: ignore[arg-type]
