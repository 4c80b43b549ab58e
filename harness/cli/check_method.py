"""`python -m harness check-method`: the conformance suite on one method."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.catalog import Catalog, load_catalog
from harness.cli.options import adapters, as_json, complete_methods, print_json
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.conformance import Result


@click.command("check-method")
@click.argument("name", metavar="NAME|FILE.py", shell_complete=complete_methods)
@adapters
@as_json
def check_method(name: str, adapters: tuple[str, ...], as_json: bool) -> None:
    """Test whether a method, or every method in a file, keeps the contract. The exit status is 1 if one does not.

    Runs on the CPU, on small images that are drawn for it.
    """
    is_file = name.endswith(".py")
    catalog = load_catalog([*adapters, name] if is_file else adapters)
    results = {method: _run(catalog, method, as_json) for method in (_names_in(name, catalog) if is_file else [name])}
    failed = [method for method, checks in results.items() if any(check.violation for check in checks)]
    if as_json:
        print_json(
            [
                {"method": method, "passed": method not in failed, "checks": [vars(check) for check in checks]}
                for method, checks in results.items()
            ]
        )
    else:
        click.echo(f"does not keep the contract: {', '.join(failed)}" if failed else "keeps the contract")
    if failed:
        raise click.exceptions.Exit(1)


def _run(catalog: Catalog, name: str, quiet: bool) -> list[Result]:
    """Run all checks on one method, each printed when it ends unless quiet."""
    from harness.conformance import run_checks
    from harness.conformance.subject import Subject

    subject = Subject.from_catalog(catalog, name)
    reason = subject.method.unavailable()
    if reason:
        raise HarnessError(f"{name} cannot run here: {reason}")
    if not quiet:
        click.echo(f"{name} ({catalog.origin(name)})")
    results = []
    for result in run_checks(subject):
        results.append(result)
        if not quiet:
            _print(result)
    return results


def _names_in(file: str, catalog: Catalog) -> list[str]:
    """The names of the methods that a file defines."""
    wanted = os.path.realpath(file)
    origins = {name: entry.origin for name, entry in catalog.entries.items()}
    names = [name for name, origin in origins.items() if Path(origin).is_file() and os.path.realpath(origin) == wanted]
    if not names:
        raise HarnessError(f"{file} defines families of methods only; type one of them, as PREFIX:NAME")
    return names


def _print(result: Result) -> None:
    verdict = "FAIL" if result.violation else "skip" if result.expected_failure else "pass"
    click.echo(f"  {verdict}  {result.requirement} ({result.expected_failure or f'{result.seconds:.1f} s'})")
    if result.violation:
        click.echo(f"        {result.check}: {result.violation}")
