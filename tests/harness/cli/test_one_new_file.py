"""One new file in methods/ is enough: the method is listed, runs and gets a row. No other file changes."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def fingerprints(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_one_new_file_is_a_method_with_a_row(tmp_path: Path) -> None:
    copy = tmp_path / "project"
    for room in ("harness", "methods"):
        shutil.copytree(ROOT / room, copy / room, ignore=shutil.ignore_patterns("__pycache__"))
    before = fingerprints(copy)
    shutil.copy(ROOT / "tests" / "helpers" / "brightness_method.py", copy / "methods" / "brightness_method.py")

    def typed(*arguments: str) -> str:
        inherited = os.environ.get("PYTHONPATH", "")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(copy), inherited]), "OMP_NUM_THREADS": "1"}
        line = [sys.executable, "-m", "harness", *arguments]
        done = subprocess.run(line, cwd=copy, env=environment, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "brightness" in typed("methods")
    assert "Bright is cell" in typed("methods", "brightness")
    how = ("--preset", "smoke", "--data", "synthetic:images=6,size=48", "--quiet", "--out", str(tmp_path / "run"))
    assert "brightness" in typed("run", "--methods", "brightness", *how)
    assert "| brightness" in (tmp_path / "run" / "leaderboard.md").read_text("utf-8")
    after = fingerprints(copy)
    assert {name for name in after if after[name] != before.get(name)} == {"methods/brightness_method.py"}
