"""Options, exit statuses, presets and links in the README are right. test_readme_commands.py runs its commands."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

from harness.cli import EPILOG, VERBS, harness
from harness.config.preset import preset_names

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def options_of(command: click.Command) -> set[str]:
    """Every option of a verb, or of the verbs below it."""
    below = command.commands.values() if isinstance(command, click.Group) else ()
    return {option for parameter in command.params for option in parameter.opts}.union(*map(options_of, below))


def test_options_named_are_there() -> None:
    """Commands are run by test_readme_commands.py; here is what sentences say of options."""
    verbs = [harness.get_command(click.Context(harness), verb) for verb in VERBS]
    known = options_of(harness) | {"--help"}
    known = known.union(*(options_of(verb) for verb in verbs if verb is not None))
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", README))
    assert len(named) > 15
    assert named <= known


def test_exit_statuses_are_those_of_the_help() -> None:
    readme, screen = (re.search(r"Exit status:.*?Completion", text, re.DOTALL) for text in (README, EPILOG))
    assert readme is not None
    assert screen is not None
    assert re.findall(r"\b(\d+) [a-z]", readme[0]) == re.findall(r"\b(\d+) [a-z]", screen[0]) == ["0", "1", "2", "130"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_the_line_for_completion_works(tmp_path: Path) -> None:
    """Uses the script that an installation makes from the entry point in pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, _, function = project["scripts"]["harness"].partition(":")
    script = tmp_path / "harness"
    script.write_text(f"#!{sys.executable}\nfrom {module} import {function}\n{function}()\n")
    script.chmod(0o755)
    (line,) = re.findall(r"`(eval .*?harness\)\")`", README)
    assert line in EPILOG
    asked = f"{line}; COMP_WORDS=(harness chec) COMP_CWORD=1; _harness_completion harness; echo ${{COMPREPLY[@]}}"
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, env=environment, timeout=60)
    assert done.stdout.split() == ["check-submission", "check-method"], done.stderr


def test_presets_named_are_there() -> None:
    assert {"auto", "smoke", "quick", "standard", "paper"} == set(preset_names())
    for name in preset_names():
        assert f"`{name}`" in README


def test_links_within_the_repository_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_ci_and_tox_run_what_the_readme_says() -> None:
    tox = (ROOT / "tox.ini").read_text(encoding="utf-8")
    assert "[testenv:leaderboard]" in tox
    assert "tox -e leaderboard" in README
    assert "bin/tox\n" in README
    assert "bin/tox" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_harness_names_no_detection_framework() -> None:
    """A line that mentions one is in methods/frameworks/."""
    rooms = (ROOT / "harness").rglob("*")
    told = [p for p in rooms if p.suffix in {".py", ".toml", ".html", ".js"} and "detectron" in p.read_text("utf-8")]
    assert not told
