"""A run ends with the same table when its process and its workers are killed at random moments."""

from __future__ import annotations

import contextlib
import random
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest
from fake_worker import WORKER, doubled, plan, rows, run

from harness.orchestration.scheduler import ALL_OK
from harness.platform.processes import KILL_SIGNAL
from harness.results.io import read_records

SEEDS = 3
KILLED = (-KILL_SIGNAL, 1)
"""What Popen.kill leaves as exit status: on Windows, 1."""


def kill_worker(process: subprocess.Popen[bytes]) -> bool:
    killed = False
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(process.pid).children():
            child.kill()
            killed = True
    return killed


def kill_run(process: subprocess.Popen[bytes]) -> bool:
    if process.poll() is not None:
        return False
    process.kill()
    process.wait()
    return process.returncode in KILLED


@pytest.mark.timeout(3600)
def test_random_kills_lose_nothing(tmp_path: Path, rounds: int, figures: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert run(tmp_path / "quiet", plan(["healthy"], SEEDS)) == ALL_OK
    quiet = rows(tmp_path / "quiet")
    monkeypatch.setenv("HARNESS_FAKE_PAUSE", "0.01")

    choose = random.Random(0)
    kills = {"worker": 0, "run": 0, "both": 0}
    finished = starts = lost = twice = 0
    folder = tmp_path / "0"
    done: set[str] = set()
    process: subprocess.Popen[bytes] | None = None
    while True:
        if process is None:
            process = subprocess.Popen([*WORKER, "run", str(folder), "healthy", str(SEEDS)])
            starts += 1
        quiet_from_here = sum(kills.values()) >= rounds
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(None if quiet_from_here else choose.uniform(0.1, 2.0))
        if process.returncode is None:
            target = choose.choice(["worker", "run", "both"])
            hit = [kill_worker(process)] if target != "run" else []
            hit += [kill_run(process)] if target != "worker" else []
            kills[target] += all(hit)
        # Between two kills the folder is good: every record is whole, and good records do not change.
        if folder.is_dir():
            found, problems = read_records(folder)
            assert problems == []
            ok = {row for row in rows(folder) if "'ok'" in row}
            assert done <= ok <= set(quiet)
            assert len(ok) == sum(record.status == "ok" for record in found)
            done = ok
        if process.poll() is None:
            continue
        if process.returncode == ALL_OK:
            lost += len(set(quiet) - set(rows(folder)))
            twice += doubled(folder)
            assert rows(folder) == quiet
            assert (folder / "leaderboard.csv").read_text(encoding="utf-8").splitlines() == quiet
            finished += 1
            folder, done = tmp_path / str(finished), set()
            if quiet_from_here:
                break
        process = None
    of_which = {"of both" if target == "both" else f"of the {target}": count for target, count in kills.items()}
    facts = {**of_which, "starts": starts, "runs ended": finished, "lost": lost, "doubled": twice}
    figures("random SIGKILLs", rounds=sum(kills.values()), **facts)
