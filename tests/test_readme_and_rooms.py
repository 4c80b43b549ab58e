"""What the README tells people to type exists as it is written there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from harness.cli import harness
from harness.presets import names

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if line.startswith("python -m harness")]


def test_there_are_commands_to_check() -> None:
    assert len(COMMANDS) >= 10


@pytest.mark.parametrize("line", COMMANDS)
def test_every_verb_and_option_is_there(line: str) -> None:
    _, _, _, verb, *rest = shlex.split(line, comments=True)
    context = click.Context(harness)
    command = harness.get_command(context, verb)
    assert command is not None, f"no verb {verb}"
    if isinstance(command, click.Group):
        command = command.get_command(context, rest.pop(0))
        assert command is not None
    known = {option for parameter in command.params for option in parameter.opts}
    assert {token for token in rest if token.startswith("--")} <= known


def test_presets_named_are_there() -> None:
    assert {"smoke", "quick", "standard", "paper"} == set(names())
    for name in names():
        assert f"`{name}`" in README


def test_links_within_the_repository_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (Path(__file__).parents[1] / target).exists(), target


def test_ci_and_tox_run_what_the_readme_says() -> None:
    root = Path(__file__).parents[1]
    tox = (root / "tox.ini").read_text(encoding="utf-8")
    assert "[testenv:leaderboard]" in tox
    assert "tox -e leaderboard" in README
    assert "bin/tox\n" in README
    assert "bin/tox" in (root / ".ci" / "run").read_text(encoding="utf-8")


def test_the_harness_names_no_detection_framework() -> None:
    """A house rule: a line that mentions one lives in methods/engines/."""
    rooms = (Path(__file__).parents[1] / "harness").rglob("*")
    told = [p for p in rooms if p.suffix in {".py", ".toml", ".html", ".js"} and "detectron" in p.read_text("utf-8")]
    assert not told
