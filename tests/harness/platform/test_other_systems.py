"""Reading needs nothing that only Linux and macOS have."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
HIDDEN = """
import os, signal, sys
import filelock, psutil  # each has a version of its own for every system
for name in ("resource", "fcntl", "pwd", "grp", "termios"):
    sys.modules[name] = None
for name in ("O_NOFOLLOW", "O_NONBLOCK", "fork", "wait4", "getsid", "setsid", "killpg", "sched_getaffinity", "getuid"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGHUP", "SIGKILL"):
    if hasattr(signal, name):
        delattr(signal, name)
from harness.cli import harness
harness(sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--help"], "Verbs"),
        (["run", "--help"], "--budget"),
        (["methods"], "mask_rcnn"),
        (["table", "tests/data/run-of-schema-1"], "mask_rcnn"),
        (["doctor"], "CPU"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_it_works_without_what_only_posix_has(words: list[str], expected: str) -> None:
    command = [sys.executable, "-c", HIDDEN, *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    assert expected in done.stdout


def test_a_trial_runs_without_what_only_posix_has(tmp_path: Path) -> None:
    words = ["run", "--methods", "otsu_watershed", "--preset", "smoke", "--budget", "2it", "--quiet", "--device", "cpu"]
    # filelock's own version for Linux opens its files with it
    hidden = HIDDEN.replace('"O_NONBLOCK", ', "")
    command = [sys.executable, "-c", hidden, *words, "--out", str(tmp_path / "run")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "otsu_watershed" in (tmp_path / "run" / "leaderboard.md").read_text(encoding="utf-8")
    left = sorted(path.name for path in (tmp_path / "run" / "trials" / "otsu_watershed--seed0").iterdir())
    assert not {"progress.json", "stop"} & set(left)
