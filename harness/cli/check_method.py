"""`python -m harness check-method`: the conformance suite on one method."""

from __future__ import annotations

import os
from pathlib import Path

import click

from harness.catalog import find
from harness.cli.options import adapters, as_json, complete_methods, print_json
from harness.errors import HarnessError


@click.command("check-method")
@click.argument("name", metavar="NAME|FILE.py", shell_complete=complete_methods)
@adapters
@as_json
def check_method(name: str, adapters: tuple[str, ...], as_json: bool) -> None:
    """Test whether a method, or every method in a file, keeps the contract; exit status 1 where one does not.

    Runs on the CPU, on images drawn for the purpose.
    """
    from harness import conformance
    from harness.conformance.subject import Subject

    of_file = name.endswith(".py")
    catalog = find([*adapters, name] if of_file else adapters)
    names = _methods_of(name, [(n, entry.origin) for n, entry in catalog.entries.items()]) if of_file else [name]
    answer = []
    for each in names:
        subject = Subject.from_catalog(catalog, each)
        reason = subject.method.skip() if subject.method.skip else None
        if reason:
            raise HarnessError(f"{each} cannot run here: {reason}")
        if not as_json:
            click.echo(f"{each} ({catalog.origin(each)})")
        results = []
        for result in conformance.run_checks(subject):
            results.append(result)
            if not as_json:
                _say(result)
        answer.append({"method": each, "passed": not any(r.violation for r in results),
                       "checks": [vars(r) for r in results]})  # fmt: skip
    failed = [a["method"] for a in answer if not a["passed"]]
    if as_json:
        print_json(answer)
    else:
        click.echo(f"does not keep the contract: {', '.join(map(str, failed))}" if failed else "keeps the contract")
    if failed:
        raise click.exceptions.Exit(1)


def _methods_of(file: str, origins: list[tuple[str, str]]) -> list[str]:
    """The names of the methods that come from a file."""
    wanted = os.path.realpath(file)
    names = [name for name, origin in origins if Path(origin).is_file() and os.path.realpath(origin) == wanted]
    if not names:
        raise HarnessError(f"{file} holds families of methods only; name one of them, such as PREFIX:NAME")
    return names


def _say(result: object) -> None:
    from harness.conformance import Result

    assert isinstance(result, Result)
    verdict = "FAIL" if result.violation else "skip" if result.expected_failure else "pass"
    click.echo(f"  {verdict}  {result.promise} ({result.expected_failure or f'{result.seconds:.1f} s'})")
    if result.violation:
        click.echo(f"        {result.check}: {result.violation}")
