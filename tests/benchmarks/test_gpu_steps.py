"""The steps for a GPU name existing files. If one fails, the others still run, and all leave their logs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import collect
import pytest
from plan import SECONDS, Planner, Step
from run_steps import Outcome, run_part

from harness.cli.run import run as run_command
from harness.config.preset import load_preset

ROOT = Path(__file__).parents[2]


def steps(rehearsal: bool = False) -> list[Step]:
    return Planner(Path("out"), Path("scratch"), "sartorius:images", rehearsal).steps()


def option(step: Step, name: str) -> str | None:
    return step.command[step.command.index(name) + 1] if name in step.command else None


def test_every_option_of_a_run_is_one_of_the_harness() -> None:
    runs = [step for step in steps() if step.run_dir is not None]
    assert len(runs) > 4
    known = {name for parameter in run_command.params for name in parameter.opts}
    for step in runs:
        assert {word for word in step.command[4:] if word.startswith("--")} <= known, step.name
        load_preset(str(option(step, "--preset")))


def test_every_test_and_benchmark_is_there() -> None:
    """The tests that pytest would collect, so that a renamed file or test is noticed without a GPU."""
    wanted = sorted({word for step in steps() for word in step.command if word.partition("::")[0].endswith(".py")})
    assert wanted
    for word in wanted:
        file, _, name = word.partition("::")
        text = (ROOT / file).read_text(encoding="utf-8")
        assert f"def {name or 'test_'}" in text, word


def test_all_is_timed_and_named_once() -> None:
    names = [step.name for step in steps()]
    assert len(set(names)) == len(names)
    for step in steps():
        assert step.name.startswith(step.part)
        assert step.seconds <= SECONDS[step.part]


def test_a_rehearsal_has_the_same_steps_and_needs_no_gpu() -> None:
    assert [step.name for step in steps(rehearsal=True)] == [step.name for step in steps()]
    for step in steps(rehearsal=True):
        assert not any("cuda" in word for word in step.command[3:]), step.name
        assert "cuda" not in step.environment.values()


def planned(name: str, code: str, seconds: float = 60.0, run_dir: Path | None = None) -> Step:
    return Step(name, "a", seconds, (sys.executable, "-c", code), run_dir=run_dir)


@pytest.mark.skipif(sys.platform == "win32", reason="the script that measures a GPU is one of bash")
def test_a_crash_and_a_hang_leave_the_other_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("run_steps.LEAST_SECONDS", 0.5)
    out, run_dir = tmp_path / "out", tmp_path / "run"
    out.mkdir()
    leaves = f"import pathlib; p = pathlib.Path({str(run_dir)!r}); p.mkdir(); (p / 'record.json').write_text('1')"
    outcomes: list[Outcome] = []
    run_part(
        [
            planned("crash", "import os; print('before', flush=True); os.abort()"),
            planned("hang", "print('begun', flush=True); import time; time.sleep(600)", seconds=2),
            planned("run", leaves + "; (p / 'weights.safetensors').write_text('1')", run_dir=run_dir),
            planned("good", "print('done')"),
        ],
        out,
        300.0,
        outcomes,
        rehearsal=True,
    )
    assert [(one.name, one.status) for one in outcomes] == [
        ("crash", "failed"),
        ("hang", "too slow"),
        ("run", "ok"),
        ("good", "ok"),
    ]
    assert (out / "crash.log").read_text("utf-8") == "before\n"
    assert outcomes[1].last_lines == ["begun"]
    assert [file.name for file in (out / "runs" / "run").iterdir()] == ["record.json"]
    assert len(json.loads((out / "steps.json").read_text("utf-8"))["steps"]) == 4


def test_a_step_without_time_is_left_out_and_reported(tmp_path: Path) -> None:
    outcomes: list[Outcome] = []
    run_part([planned("late", "print('done')")], tmp_path, 1.0, outcomes, rehearsal=False)
    assert outcomes[0].status == "left out"


def test_the_page_is_made_of_half_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "out"
    source.mkdir()
    told = [Outcome("a8_training_step", "failed", 1, 3.0, 200.0, ["ValueError: | odd"])]
    plain = {"rehearsal": True, "steps": [vars(one) for one in told]}
    (source / "steps.json").write_text(json.dumps(plain))
    (source / "a8_training_step.json").touch()
    command = [sys.executable, "benchmarks/gpu/collect.py", str(source)]
    refused = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "rehearsal" in refused.stderr
    monkeypatch.setattr(sys, "argv", ["collect.py", str(source), "--results", str(tmp_path / "results")])
    assert collect.main() == 0
    page = (tmp_path / "results" / "speed-gpu.md").read_text("utf-8")
    assert "| a8_training_step: no figures; it failed" in page
    assert "| a8_training_step | failed | 3 | 200 | ValueError: \\| odd |" in page


def test_the_runs_that_came_back_have_their_leaderboards(tmp_path: Path) -> None:
    assert collect.collect_runs(tmp_path / "none", tmp_path / "gpu") == {}
    found = collect.collect_runs(ROOT / "tests" / "data", tmp_path / "gpu")
    assert found
    for name, records in found.items():
        assert "mask_rcnn" in (tmp_path / "gpu" / name / "leaderboard.md").read_text("utf-8")
        assert any("waiting for batches" in row["work"] for row in collect.rows_of_records({name: records}))
