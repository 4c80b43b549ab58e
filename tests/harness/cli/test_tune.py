"""`tune` and `run --tuned`, with an engine from outside the project that trains in seconds."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli import harness

pytest.importorskip("optuna", reason="needs the extra `tune`")

DATA = "synthetic:images=9,size=64"


def test_settings_are_searched_and_a_run_uses_them(adapter: Path, tmp_path: Path) -> None:
    search, out = tmp_path / "search", tmp_path / "run"
    how = ("--adapter", str(adapter), "--data", DATA, "--quiet")
    few = ("--trials", "2", "--preset", "smoke", "--budget", "4it")
    tuned = CliRunner().invoke(harness, ["tune", "--methods", "stranger", *few, "--out", str(search), *how])
    assert tuned.exit_code == 0, tuned.stderr
    assert f"--methods stranger --tuned {shlex.quote(str(search))}" in tuned.stdout
    assert "2 trials of each of 1 methods, at most 4it of training each; scored on" in tuned.stderr
    assert (search / "presets" / "stranger.toml").is_file()
    assert "# Tuning" in (search / "tuning.md").read_text("utf-8")
    assert not list(search.glob("trials/*/weights.safetensors"))

    words = ["run", "--methods", "stranger,stranger+copy_paste", "--tuned", str(search), "--out", str(out), *how]
    run = CliRunner().invoke(harness, words)
    assert run.exit_code == 0, run.stderr
    assert "note: not tuned, and run with the preset smoke as it is: stranger+copy_paste" in run.stderr
    plain = json.loads(CliRunner().invoke(harness, ["table", str(out), "--json"]).output)
    by_name = {row["method"]: row for row in plain["rows"]}
    assert by_name["stranger"]["tuning_seconds"] > 0
    assert by_name["stranger+copy_paste"]["tuning_seconds"] is None
    assert "stranger was tuned and stranger+copy_paste was not, which favours the former." in plain["verdict"]
    record = json.loads((out / "trials" / "stranger--seed0" / "record.json").read_text("utf-8"))
    assert (record["budget"], record["preset"], record["tuned"]["trials"]) == ("4it", "smoke (tuned)", 2)


def test_a_dry_run_says_what_the_search_takes_and_does_nothing(tmp_path: Path) -> None:
    out = tmp_path / "search"
    typed = ("tune", "--methods", "mask_rcnn,deepmac", "--trials", "3", "--budget", "60s", "--data", DATA)
    done = CliRunner().invoke(harness, [*typed, "--out", str(out), "--dry-run", "--set", "training.batch=2"])
    assert done.exit_code == 0, done.output
    assert "3 trials of each of 2 methods, at most 60s of training each, 6.0 min together" in done.output
    assert "crops of" in done.output
    assert not out.exists()


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        (("run", "--methods", "mask_rcnn", "--tuned", "nowhere"), "error: nowhere holds no tuning.json"),
        (("tune", "--methods", "mask_rcnnn", "--out", "x"), "did you mean 'mask_rcnn'?"),
        (("tune", "--methods", "mask_rcnn", "--out", "x", "--budget", "10min"), "type 10m"),
        (("tune", "--methods", "mask_rcnn", "--out", "x", "--space", "no.toml"), "error: --space: no file no.toml"),
    ],
)
def test_a_typing_mistake_gets_one_line(typed: tuple[str, ...], line: str) -> None:
    done = CliRunner().invoke(harness, list(typed))
    assert done.exit_code == 2
    assert line in done.output
