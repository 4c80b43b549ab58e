"""`run`, `table` and `check-method`, with an engine from outside the project that trains in seconds."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from harness.catalog import load_catalog
from harness.cli import harness
from harness.config.preset import load_preset
from harness.conformance.images import draw_sample
from harness.contract import Init
from harness.orchestration.plan import Contender
from harness.orchestration.plan_from_data import plan_trials
from harness.orchestration.prepared_data import prepare_planned_data
from harness.stacks import resolve

DATA = "synthetic:images=9,size=64"


def command(*arguments: str) -> Result:
    """As in a new process: a file that was imported before may have changed."""
    sys.modules.pop("stranger", None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["harness", *arguments])
        return CliRunner().invoke(harness, arguments)


def test_a_file_from_outside_runs_and_gets_its_row(adapter: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    how = ("--adapter", str(adapter), "--data", DATA, "--preset", "smoke", "--out", str(out), "--quiet")
    done = command("run", "--methods", "stranger,stranger+copy_paste", "--seeds", "2", *how)
    assert done.exit_code == 0, done.stderr
    assert "stranger+copy_paste" in done.stdout
    assert str(out / "leaderboard.md") in done.stdout
    rows = list(csv.DictReader(io.StringIO((out / "leaderboard.csv").read_text("utf-8"))))
    assert {row["method"]: row["seeds"] for row in rows} == {"stranger": "2", "stranger+copy_paste": "2"}
    assert {row["slots"] for row in rows} == {"engine", "engine, augment"}

    before = {path: path.read_bytes() for path in out.glob("trials/*/record.json")}
    again = command("run", "--methods", "stranger,stranger+copy_paste", "--seeds", "2", *how)
    assert again.exit_code == 0
    assert again.stderr.count("kept from before") == 4
    assert before == {path: path.read_bytes() for path in out.glob("trials/*/record.json")}

    plain = json.loads(CliRunner().invoke(harness, ["table", str(out), "--json"]).output)
    assert {row["method"] for row in plain["rows"]} == {"stranger", "stranger+copy_paste"}
    assert any("--seeds 2" in line for line in plain["legend"])


def test_an_installed_package_runs_and_gets_its_row(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = tmp_path / "strangers_package-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: strangers-package\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[harness.methods]\nanything = stranger\n")
    out = tmp_path / "run"
    how = ("--data", DATA, "--preset", "smoke", "--out", str(out), "--json")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    done = command("run", "--methods", "stranger", *how)
    assert done.exit_code == 0, done.stderr
    (row,) = json.loads(done.stdout)["rows"]
    assert (row["method"], row["status"]) == ("stranger", "ok")


def test_a_method_that_crashes_is_a_row_and_status_1(adapter: Path, tmp_path: Path) -> None:
    text = adapter.read_text("utf-8")
    adapter.write_text(text.replace("return MyModel(task, width)", "raise RuntimeError('it broke')"))
    out = tmp_path / "run"
    how = ("--adapter", str(adapter), "--data", DATA, "--preset", "smoke", "--out", str(out), "--json")
    done = command("run", "--methods", "stranger", *how)
    assert done.exit_code == 1
    (row,) = json.loads(done.stdout)["rows"]
    assert row["status"] == "crash"
    assert "it broke" in row["reason"]
    assert "it broke" in (out / "leaderboard.md").read_text("utf-8")


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "run"
    how = ["--data", DATA, "--preset", "smoke", "--device", "cpu", "--out", str(out)]
    result = CliRunner().invoke(harness, ["run", "--methods", "otsu_watershed", *how])
    assert (result.exit_code, result.output.count("\n")) == (2, 1), result.output
    assert f"cannot write {out}" in result.output
    assert f"type the same command again with --out {out}: it continues from there" in result.output


def test_a_dry_run_writes_nothing_and_says_what_it_would_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["run", "--methods", "mask_rcnn,copy_paste(p=0.5)", "--data", DATA, "--budget", "2m", "--seeds", "2"]
    result = CliRunner().invoke(harness, [*arguments, "--preset", "smoke", "--dry-run"])
    assert result.exit_code == 0, result.output
    assert result.output.count("copy_paste(p=0.5)") == 2
    assert "in all " in result.output
    plain = CliRunner().invoke(harness, [*arguments, "--preset", "smoke", "--dry-run", "--json"])
    trials = json.loads(plain.stdout)["trials"]
    assert [(t["method"], t["seed"], t["training_seconds"]) for t in trials].count(("mask_rcnn", 1, 120)) == 1
    assert all(t["seconds"] > t["training_seconds"] for t in trials), "start, prediction and scoring count too"
    assert json.loads(plain.stdout)["seconds"] == sum(t["seconds"] for t in trials)
    assert len(trials) == 4
    assert not list(tmp_path.iterdir())


def test_a_worker_finds_data_in_a_folder_given_by_its_whole_path(tmp_path: Path) -> None:
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
    for seed in range(4):
        sample = draw_sample(5, seed=seed)
        labels = sum(plane * np.uint8(i + 1) for i, plane in enumerate(sample.instances.masks.planes(*sample.size)))
        Image.fromarray(sample.image).save(tmp_path / "images" / f"{seed}.png")
        Image.fromarray(labels.astype(np.uint8)).save(tmp_path / "labels" / f"{seed}.png")
    resolved = resolve(load_catalog(), "mask_rcnn", "small", Init("scratch"))
    contenders = [Contender(resolved, load_preset("smoke"), "1it")]
    manifest = plan_trials(contenders, [0], [f"folder:{tmp_path}/images,{tmp_path}/labels"])
    (trial,) = manifest.trials
    assert len(prepare_planned_data(trial.spec).dataset) == 4
    assert str(tmp_path) not in manifest.data[trial.spec.data_fingerprint].source


def test_the_rows_of_a_preset_are_its_methods(tmp_path: Path) -> None:
    smoke = CliRunner().invoke(harness, ["run", "--preset", "paper", "--data", DATA, "--init", "scratch", "--dry-run"])
    assert smoke.exit_code == 0, smoke.output
    assert smoke.output.count("mask_rcnn_") == 6
    assert "10000it" in smoke.output


def test_table_loads_no_framework(tmp_path: Path) -> None:
    (tmp_path / "trials").mkdir()
    code = "import sys\nfrom harness.cli import harness\n"
    code += f"try: harness(['table', {str(tmp_path)!r}])\nexcept SystemExit: pass\n"
    code += "sys.exit(str({'torch', 'cv2', 'detectron2'} & {n.partition('.')[0] for n in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr.strip() == "set()"


def test_check_method_says_pass_and_fail(adapter: Path) -> None:
    good = command("check-method", str(adapter))
    assert good.exit_code == 0, good.stdout
    assert "keeps the contract" in good.stdout
    assert "FAIL" not in good.stdout
    text = adapter.read_text("utf-8")
    adapter.write_text(text.replace("scores = share.sum(axis=0).clip(0, 1)", "scores = (5 + share.sum(axis=0))"))
    bad = command("check-method", str(adapter), "--json")
    assert bad.exit_code == 1
    (answer,) = json.loads(bad.stdout)
    failed = {check["check"]: check["violation"] for check in answer["checks"] if check["violation"]}
    assert "scores outside 0..1" in failed["predictions_are_valid"]


@pytest.mark.parametrize(
    ("methods", "said"),
    [
        ("deepmac(dept=20)", "deepmac has no option 'dept'; did you mean 'depth'?"),
        ("deepmac(depth=21)", "deepmac: depth=21 must be one of 4, 8, 10, 12, 16, 20, 32, 52, 100"),
        ("mask_rcnn,copy_paste(p=1.5)", "copy_paste: p=1.5 must be a number from 0 to 1"),
        ("mask_rcnn(anchor_scale=4)", "mask_rcnn has no option 'anchor_scale'"),
    ],
)
def test_a_mistake_in_a_methods_option_is_one_line_before_any_training(tmp_path: Path, methods: str, said: str) -> None:
    out = tmp_path / "run"
    result = CliRunner().invoke(harness, ["run", "--methods", methods, "--preset", "smoke", "--out", str(out)])
    assert result.exit_code == 2
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not out.exists()


@pytest.mark.parametrize("method", ["mask_rcnn", "torchvision_starter", "container+pointsup"])
def test_a_typo_in_the_model_table_is_one_line_before_any_training(tmp_path: Path, method: str) -> None:
    smoke = Path(load_preset.__code__.co_filename).parent / "presets" / "smoke.toml"
    preset, out = tmp_path / "own.toml", tmp_path / "run"
    preset.write_text(smoke.read_text(encoding="utf-8") + "anchor_scal = 4\n", encoding="utf-8")
    result = CliRunner().invoke(harness, ["run", "--methods", method, "--preset", str(preset), "--out", str(out)])
    assert result.exit_code == 2
    assert "table [model]: no setting 'anchor_scal'; did you mean 'anchor_scale'?" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not out.exists()


@pytest.mark.parametrize("folds", [(), ("--folds", "2")])
def test_folds_may_be_left_out_or_be_two_or_more(folds: tuple[str, ...], tmp_path: Path) -> None:
    how = ("--methods", "mask_rcnn", "--data", DATA, "--preset", "smoke", "--device", "cpu", "--dry-run")
    planned = CliRunner().invoke(harness, ["run", *how, *folds, "--out", str(tmp_path / "run")])
    assert planned.exit_code == 0, planned.output


def test_one_fold_is_refused_in_a_line() -> None:
    done = CliRunner().invoke(harness, ["run", "--methods", "mask_rcnn", "--folds", "1", "--dry-run"])
    assert done.exit_code == 2
    assert "--folds 1 leaves nothing to train on; type 2 or more" in done.output
