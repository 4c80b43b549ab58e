"""The command line as a whole: start-up, names, exit status."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from harness.cli import VERBS, harness

HEAVY = ("torch", "pandas", "cv2", "scipy", "matplotlib")


def fresh(*arguments: str) -> tuple[subprocess.CompletedProcess[str], float]:
    """A new process of the command line, and the CPU seconds it took."""
    resource = pytest.importorskip("resource", reason="the system does not count the processor time of children")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-m", "harness", *arguments], capture_output=True, text=True, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def imported_by(*arguments: str) -> set[str]:
    """Top-level modules that a verb loads."""
    code = f"import sys\nfrom harness.cli import harness\ntry: harness({list(arguments)!r})\nexcept SystemExit: pass\n"
    code += "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stderr.split())


def test_help_is_quick_and_loads_no_verb() -> None:
    done, seconds = fresh("--help")
    assert done.returncode == 0
    assert all(verb in done.stdout for verb in VERBS)
    assert "Exit status" in done.stdout
    assert seconds < 0.3
    code = "import sys; from harness.cli import harness\ntry: harness(['--help'])\nexcept SystemExit: pass\n"
    code += "sys.exit(', '.join(m for m in sys.modules if m.startswith('harness.cli.')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr == "\n"


def test_methods_is_quick_and_loads_no_framework() -> None:
    done, seconds = fresh("methods")
    assert done.returncode == 0
    assert "mask_rcnn" in done.stdout
    assert seconds < 1.0
    assert not imported_by("methods").intersection(HEAVY)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_there_and_its_help_loads_no_framework(verb: str) -> None:
    command = getattr(import_module(f"harness.cli.{verb.replace('-', '_')}"), verb.replace("-", "_"))
    assert isinstance(command, click.Command)
    assert command.name == verb
    result = CliRunner().invoke(harness, [verb, "--help"])
    assert result.exit_code == 0
    assert not imported_by(verb, "--help").intersection(HEAVY)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rnu"], "did you mean 'run'"),
        (["methods", "mask_rccn"], "did you mean 'mask_rcnn'"),
        (["run", "--methods", "copy_pasta"], "did you mean 'copy_paste'"),
        (["run", "--methods", "all", "--preset", "quik"], "did you mean 'quick'"),
        (["run"], "--methods all"),
        (["run", "--methods", "mask_rcnn", "--budget", "10x"], "10x"),
        (["run", "--methods", "mask_rcnn", "--budget", "10min"], "budget '10min' cannot be read; type 10m"),
        (["run", "--methods", "mask_rcnn", "--budget", "5 epochs"], "type 5ep"),
        (
            ["run", "--methods", "mask_rcnn", "--wall-limit", "2 hours"],
            "'2 hours' cannot be read; type 2h",
        ),
        (["run", "--method", "mask_rcnn", "--seeds", "2"], "type: python -m harness run --methods mask_rcnn --seeds 2"),
        (["run", "--method=mask_rcnn"], "type: python -m harness run --methods=mask_rcnn"),
        (["run", "--frobnicate"], "type: python -m harness run --help"),
        (["run", "mask_rcnn", "copy_paste"], "type: python -m harness run --methods mask_rcnn,copy_paste"),
        (["methods", "unet"], "`python -m harness new-method NAME` adds one"),
        (["run", "--methods", "mask_rcnn", "--init", "imagnet"], "did you mean 'imagenet'"),
        (["run", "--methods", "mask_rcnn", "--init", "coco:nowhere.pth"], "no file nowhere.pth"),
        (["run", "--methods", "mask_rcnn", "--init", "checkpoint"], "needs a run or a file"),
        (["run", "--methods", "mask_rcnn", "--init", "scratch:x"], "takes no path"),
        (["run", "--methods", "mask_rcnn", "--init", "copy_paste"], "no kind 'copy_paste'"),
        (["run", "--methods", "mask_rcnn", "--init", "from_run(run=nowhere)"], "no folder nowhere"),
        (["run", "--methods", "mask_rcnn+coco+scratch"], "coco and scratch both change the slot init"),
        (["run", "--methods", "mask_rcnn", "--device", "gpu"], "auto, cpu, cuda"),
        (["run", "--methods", "mask_rcnn", "--wall-limit", "10it"], "no time"),
        (["run", "--methods", "mask_rcnn", "--memory-limit", "much"], "no size"),
        (["run", "--methods", "mask_rcnn", "--adapter", "nowhere.py"], "no adapter file"),
        (["run", "--methods", "mask_rcnn", "--data", "sartorius:nowhere"], "nowhere"),
        (["run", "--methods", "copy_paste+geometric"], "both change the slot augment"),
        (["table", "nowhere"], "no folder"),
        (["table", ".", "--like", "quick"], "no rows"),
        (["check-method", "nowhere.py"], "no adapter file"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(harness, arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.output
    if result.stderr.startswith("error:"):
        assert result.stderr.count("\n") == 1


def test_a_folder_in_kaggles_layout_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "train.csv").touch()
    result = CliRunner().invoke(harness, ["run", "--methods", "mask_rcnn", "--data", str(tmp_path)])
    assert result.exit_code == 2
    assert f"like sartorius:{tmp_path}: type that" in result.stderr


def test_completion_knows_verbs_and_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    from click.shell_completion import ShellComplete

    def offered(words: list[str], last: str) -> set[str]:
        return {item.value for item in ShellComplete(harness, {}, "harness", "_X").get_completions(words, last)}

    assert offered([], "m") == {"methods"}
    assert "container+copy_paste" in offered(["run", "--methods"], "container+copy")
    assert offered(["run", "--preset"], "smo") == {"smoke"}


def test_version() -> None:
    result = CliRunner().invoke(harness, ["--version"])
    assert re.search(r"\d+\.\d+\.\d+", result.output)
