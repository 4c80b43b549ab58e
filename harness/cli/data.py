"""`python -m harness data`: look at a data source before anything is trained on it."""

from __future__ import annotations

from typing import Any

import click

from harness.cli.options import adapters, as_json, print_json
from harness.reporting.screen import print_table


class Sources(click.Group):
    """A group whose help lists the kinds of data source there are."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from harness.data.registry import find_sources

        with formatter.section("SOURCE is one of"):
            formatter.write_dl([(source.usage, source.help) for source in find_sources()[0].values()], col_max=36)


@click.group(cls=Sources)
def data() -> None:
    """Check a data source, or count what is in it."""


@data.command()
@click.argument("source")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(min=1), help="Most problems listed.")
@click.option("--trust-labels", is_flag=True, help="Labels that look wrong are notes, not problems.")
@adapters
@as_json
@click.pass_context
def check(
    context: click.Context, source: str, limit: int, trust_labels: bool, adapters: tuple[str, ...], as_json: bool
) -> None:
    """Read all of SOURCE and list everything that is wrong; exit status 1 if anything is."""
    from dataclasses import asdict

    from harness.data.sources import check as check_source

    found = check_source(source, limit, trust_labels)
    if as_json:
        print_json({"ok": not found.problems, **asdict(found)})
    else:
        for problem in found.problems:
            click.echo(problem)
        if found.more:
            click.echo(f"... and more; only the first {limit} are listed (--limit)")
        for note in found.notes:
            click.echo(f"note: {note}")
        verdict = "nothing wrong" if not found.problems else "what could be read"
        click.echo(f"{verdict}: {found.images:,} images, {found.cells:,} cells")
    if found.problems:
        context.exit(1)


@data.command()
@click.argument("source")
@click.option("--skip-bad", is_flag=True, help="Leave bad cells and images out, and count them.")
@adapters
@as_json
def stats(source: str, skip_bad: bool, adapters: tuple[str, ...], as_json: bool) -> None:
    """Count what is in SOURCE: images, cells, sizes, overlaps, holes."""
    from harness.data.sources import load
    from harness.data.statistics import describe

    figures = describe(load(source, skip_bad=skip_bad))
    if as_json:
        print_json(figures)
    else:
        _print_figures(figures)


def _print_figures(figures: dict[str, Any]) -> None:
    print_table(
        ("", ""),
        [
            ("source", figures["source"]),
            ("images", f"{figures['images']:,} ({_counts(figures['images_by_type'])})"),
            ("image sizes", _counts(figures["image_sizes"])),
            ("groups", str(figures["groups"] or "none known")),
            ("unlabelled images", f"{figures['unlabelled_images']:,}"),
            ("left out as bad", f"{figures['skipped_bad']:,}"),
            ("cells", f"{figures['cells']:,}"),
            ("cells an image", _range(figures["cells_per_image"], ("min", "median", "max"))),
            ("fingerprint", figures["fingerprint"][:16]),
            *(("note", note) for note in figures["notes"]),
        ],
    )
    points = ("min", "p5", "median", "p95", "max")
    print_table(
        ("class", "cells", "area", "width", "height", "overlapped", "with holes"),
        [
            (
                name,
                f"{of_class['cells']:,}",
                *(_range(of_class[what], points) for what in ("area", "width", "height")),
                _share(of_class["overlapped"], of_class["cells"]),
                _share(of_class["with_holes"], of_class["cells"]),
            )
            for name, of_class in figures["by_class"].items()
        ],
        title="In pixels: min, 5th percentile, median, 95th percentile, max",
    )


def _counts(counts: dict[str, int], most: int = 8) -> str:
    listed = [f"{name}: {count:,}" for name, count in list(counts.items())[:most]]
    return ", ".join(listed + ["..."] * (len(counts) > most))


def _range(spread: dict[str, float], points: tuple[str, ...]) -> str:
    return " / ".join(f"{spread[point]:,.0f}" for point in points)


def _share(count: int, total: int) -> str:
    return f"{count:,} ({count / total:.1%})"
