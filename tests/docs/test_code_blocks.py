"""The code blocks of docs/ and of the contributor's guide: Python runs, commands name what there is.

Blocks of the tutorial are left to tests/test_tutorial.py, which follows it to the letter.
"""

from __future__ import annotations

import itertools
import re
import shlex
import tomllib
from configparser import ConfigParser
from pathlib import Path

import click
import pytest

from harness.catalog import load_catalog
from harness.cli import harness

ROOT = Path(__file__).parents[2]
PAGES = sorted({*ROOT.glob("docs/*.md"), ROOT / "CONTRIBUTING.md"} - {ROOT / "docs" / "tutorial.md"})
BLOCK = re.compile(r"^```(python|sh|toml)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
TOOLS = {"conda", "lint-imports", "mypy", "pip", "pre-commit", "ruff", "source"}
"""Programs whose arguments are not checked."""


def blocks(language: str) -> list[tuple[str, str]]:
    """Page and text of every block of a language."""
    found = [(page.name, *match.groups()) for page in PAGES for match in BLOCK.finditer(page.read_text("utf-8"))]
    return [(page, text) for page, kind, text in found if kind == language]


COMMANDS = [(page, line) for page, text in blocks("sh") for line in text.splitlines() if line.strip()]


def test_pages_have_code_to_check() -> None:
    assert len(COMMANDS) > 20
    assert blocks("python")
    assert blocks("toml")


@pytest.mark.parametrize(("page", "text"), blocks("python"))
def test_python_runs(page: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(text, page, "exec", dont_inherit=True), {"__name__": __name__})


@pytest.mark.parametrize(("page", "text"), blocks("toml"))
def test_toml_can_be_read(page: str, text: str) -> None:
    assert tomllib.loads(text)


SETTING = re.compile(r"[A-Z_]+=\S*")
"""A variable for the command behind it."""


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_commands_name_what_there_is(page: str, line: str) -> None:
    program, *words = itertools.dropwhile(SETTING.fullmatch, shlex.split(line, comments=True))
    if program == "tox":
        assert f"testenv:{words[words.index('-e') + 1]}" in tox()
    elif program == "python" and words[:2] == ["-m", "harness"]:
        check_harness(words[2:])
    elif program == "python" and words[:2] == ["-m", "pytest"]:
        assert all((ROOT / word).exists() for word in words[2:] if "/" in word)
    elif program == "python" and words[:2] == ["-m", "venv"]:
        assert len(words) == 3
    elif program == "python" and words[0] == "-m":
        assert (ROOT / words[1].replace(".", "/")).with_suffix(".py").is_file()
    elif program == "python":
        assert (ROOT / words[0]).is_file()
    else:
        assert program in TOOLS, f"nothing is known of the program {program}"
    extras = {name for word in words for group in re.findall(r"\[([\w,]+)\]", word) for name in group.split(",")}
    assert extras <= set(project()["optional-dependencies"])


def check_harness(words: list[str]) -> None:
    """Verb, options, the number of arguments, methods and presets of a command line. Nothing is run."""
    command: click.Command = harness
    context = click.Context(harness)
    while isinstance(command, click.Group):
        verb, *words = words
        below = command.get_command(context, verb)
        assert below is not None, f"no verb {verb}"
        command = below
    # resilient parsing neither prompts nor calls what stands behind an option
    parsed = command.make_context(command.name, list(words), resilient_parsing=True).params
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known
    required = [p for p in command.params if isinstance(p, click.Argument) and p.required]
    assert all(parsed.get(argument.name or "") for argument in required)
    for option in ("--methods", "--preset"):
        if option in words:
            check_names(option, words[words.index(option) + 1])


def check_names(option: str, typed: str) -> None:
    """Methods and presets that ship. A name that a page makes up begins with `my_`."""
    if option == "--preset":
        assert typed.endswith(".toml") or (ROOT / "harness" / "config" / "presets" / f"{typed}.toml").is_file()
        return
    catalog = load_catalog()
    without_options = re.sub(r"\([^)]*\)", "", typed)
    for name in re.split(r"[,+]", without_options):
        if name != "all" and not name.startswith("my_"):
            catalog.method(name)


def tox() -> ConfigParser:
    settings = ConfigParser()
    settings.read(ROOT / "tox.ini", encoding="utf-8")
    return settings


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_tox_builds_the_pages_with_the_packages_of_the_extra() -> None:
    assert tox()["testenv:docs"]["deps"].split() == project()["optional-dependencies"]["docs"]


def test_citation_and_package_agree() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {project()['version']}\n" in citation
    assert f"\nlicense: {project()['license']}\n" in citation
    assert f'name: "{project()["authors"][0]["name"]}"' in citation


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "CHANGELOG.md", ROOT / "docs" / "tutorial.md"], ids=lambda page: page.name
)
def test_links_within_the_repository_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", page.read_text("utf-8")):
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), f"{target}#{anchor}"


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub and Sphinx give to headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_code_cites_headings_of_the_methods_page_that_are_there() -> None:
    known = anchors(ROOT / "docs" / "methods.md")
    for folder in ("harness", "methods", "tests", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            for anchor in re.findall(r"docs/methods\.md#([\w-]+)", path.read_text("utf-8")):
                assert anchor in known, f"{path.relative_to(ROOT)} cites #{anchor}"


def test_the_table_of_rooms_has_every_room() -> None:
    """Sizes may be of an older commit; rooms and their order are those of the import rules."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    layers = {c["containers"][0]: c["layers"] for c in contracts if c["type"] == "layers"}
    expected = [
        f"{package}/{room.strip()}"
        for package in layers
        for layer in reversed(layers[package])
        for room in layer.split("|")
    ]
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    listed = [
        name.removesuffix(".py").rstrip("/") for name in re.findall(r"^\| m?\d+ \| `([\w/.]+)`", page, re.MULTILINE)
    ]
    assert listed == expected
