"""`python -m harness compare`: two methods side by side, image by image, from their records alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import as_json, print_json
from harness.errors import HarnessError, nearest
from harness.reporting.screen import print_table

if TYPE_CHECKING:
    from harness.results.schema import RunRecord
    from harness.results.statistics import Difference
    from harness.results.superiority import Superiority

EXTREMES = 5
"""Images shown at either end."""


@click.command()
@click.argument("first", metavar="RUN[:METHOD]")
@click.argument("second", metavar="RUN[:METHOD]")
@as_json
def compare(first: str, second: str, as_json: bool) -> None:
    """How much better the first is than the second: IoU, image by image, all seeds.

    METHOD may be left out where a run holds one method. With --json every difference, that of first_worse_on too, is
    first minus second.
    """
    a_name, a = records_of(first)
    b_name, b = records_of(second)
    a_name, b_name = side_labels((first, a_name), (second, b_name))
    facts = comparison(a, b)
    if as_json:
        print_json({"first": a_name, "second": b_name, **facts})
    else:
        _print(a_name, b_name, facts)


def side_labels(a: tuple[str, str], b: tuple[str, str]) -> tuple[str, str]:
    """Names of both sides, each given as typed text and method: the methods, where they differ.

    Else the run's folder is put before: its name, with as many of the folders above as tell the two apart, out of what
    was typed and no more.
    """
    if a[1] != b[1]:
        return a[1], b[1]
    first, second = (_folders(_run_and_method(typed)[0]) for typed, _ in (a, b))
    differ = (n for n in range(1, max(len(first), len(second)) + 1) if first[-n:] != second[-n:])
    n = next(differ, 1)
    return f"{'/'.join(first[-n:])}:{a[1]}", f"{'/'.join(second[-n:])}:{b[1]}"


def _folders(run: str) -> tuple[str, ...]:
    """The names along a path, as typed; that of the folder itself where only dots were."""
    path = Path(run)
    return path.parts if path.name not in ("", "..") else (path.resolve().name,)


def records_of(typed: str) -> tuple[str, list[RunRecord]]:
    """The method's name and its scored records. Raises HarnessError with what there is to choose from."""
    from harness.results.folds import merge_folds
    from harness.results.io import read_records

    run, method = _run_and_method(typed)
    records, problems = read_records(Path(run))
    for line in problems:
        click.echo(line, err=True)
    scored = [record for record in merge_folds(records) if record.scores is not None]
    names = sorted({record.method for record in scored})
    if not names:
        raise HarnessError(f"{run} holds no record with scores; `run` makes them")
    if not method and len(names) > 1:
        raise HarnessError(f"{run} holds several methods; type {run}: and one of {', '.join(names)}")
    method = method or names[0]
    if method not in names:
        raise HarnessError(f"{run} has no scores of {method!r}{nearest(method, names)}; it has {', '.join(names)}")
    return method, [record for record in scored if record.method == method]


def _run_and_method(typed: str) -> tuple[str, str]:
    """Cut at the first colon that has a folder before it: both folders and methods may have colons in their names."""
    for at, character in enumerate(typed):
        if character == ":" and Path(typed[:at]).is_dir():
            return typed[:at], typed[at + 1 :]
    return typed, ""


def comparison(a: list[RunRecord], b: list[RunRecord]) -> dict[str, Any]:
    """Everything `compare` says, as plain values.

    Raises HarnessError where data, split, scoring version or seeds do not allow it; other differences are noted.
    """
    from harness.results.comparability import score_differences
    from harness.results.fold_comparisons import comparisons_of

    unlike = sorted({name for found in score_differences([*a, *b]) for name in found})
    for name in ("data", "split", "scoring version"):
        if name in unlike:
            remedy = "`score` brings records up to date" if name == "scoring version" else "run both on the same images"
            raise HarnessError(f"the records differ in their {name} and cannot be compared; {remedy}")
    refuse_repeated_seeds(a)
    refuse_repeated_seeds(b)
    sides = {"first": a, "second": b}
    types = {image: name for record in (*a, *b) if record.scores for image, name in record.scores.cell_types.items()}
    compared = comparisons_of(sides, types)
    whole = compared.pair("first", "second")
    by_type = {}
    for name in sorted(set(types.values())):
        inside = {image for image in whole.by_image if types.get(image) == name}
        if inside:
            by_type[name] = _plain(comparisons_of(sides, {}, inside).pair("first", "second"))
    ranked = sorted(whole.by_image.items(), key=lambda item: item[1])
    return {
        **_plain(whole),
        **_plain_superiority(compared.superiority("first", "second")),
        "notes": [f"the records differ in their {name}" for name in unlike],
        "by_type": by_type,
        "first_worse_on": [(image, value) for image, value in ranked[:EXTREMES] if value < 0],
        "first_better_on": [(image, value) for image, value in ranked[: -EXTREMES - 1 : -1] if value > 0],
    }


def refuse_repeated_seeds(records: list[RunRecord]) -> None:
    """Raise HarnessError where a seed is there twice."""
    seeds: set[int] = set()
    for record in records:
        if record.seed in seeds:
            raise HarnessError(f"{record.method} has two records of seed {record.seed}: which is meant cannot be told")
        seeds.add(record.seed)


def _plain_superiority(found: Superiority) -> dict[str, Any]:
    return {
        "probability_first_beats_second": found.probability,
        "probability_interval_95": [found.interval.low, found.interval.high],
        "pairs_of_trainings": found.pairs,
        "meaningful": found.meaningful,
    }


def _plain(difference: Difference) -> dict[str, Any]:
    from harness.results.statistics import permutation_p

    return {
        "difference": difference.mean,
        "interval_95": [difference.interval.low, difference.interval.high],
        "p_methods": difference.p if difference.scope == "methods" else None,
        "p_networks": permutation_p(difference),
        "different": difference.different,
        "seeds": list(difference.seeds),
        "folds": difference.units,
        "images": difference.images,
    }


def _print(a: str, b: str, facts: dict[str, Any]) -> None:
    rows = [("all", facts), *facts["by_type"].items()]
    columns = ["cell type", "images", "IoU difference", "95 % interval", "p, methods", "p, these networks"]
    print_table(columns, [_row(name, values) for name, values in rows], title=f"{a} minus {b}")
    seeds = facts["seeds"]
    if facts["p_methods"] is None:
        click.echo("p, methods: unknown, since one seed says nothing of other training runs; run both with --seeds 3.")
        click.echo("The interval covers other images only.")
    else:
        told = "can be told apart" if facts["different"] else "cannot be told apart"
        runs = f"{facts['folds']} folds" if facts["folds"] else f"{seeds[0]} and {seeds[1]} seeds"
        click.echo(f"The methods {told} ({runs}).")
        click.echo("The interval and p, methods, cover other images and other training runs.")
    low, high = facts["probability_interval_95"]
    click.echo(
        f"A retraining of {a} beats one of {b} with probability {facts['probability_first_beats_second']:.2f} "
        f"(95 %: {low:.2f} to {high:.2f}; {facts['pairs_of_trainings']} pairs). From 0.75 on, with an interval "
        "above 0.5, a difference is meaningful."
    )
    click.echo("p, these networks: chance of this difference between the trained networks as they are (sign flips).")
    for note in facts["notes"]:
        click.echo(f"Note: {note}.")
    for name, better in (("first_better_on", a), ("first_worse_on", b)):
        if facts[name]:
            shown = ", ".join(f"{image} {abs(value):+.3f}" for image, value in facts[name])
            click.echo(f"{better} is better most on: {shown}")


def _row(name: str, values: dict[str, Any]) -> list[str]:
    low, high = values["interval_95"]
    return [
        name,
        str(values["images"]),
        f"{values['difference']:+.4f}",
        f"{low:+.4f} to {high:+.4f}",
        "unknown" if values["p_methods"] is None else f"{values['p_methods']:.4f}",
        f"{values['p_networks']:.4f}",
    ]
