"""`package`: a trained model leaves its run, is moved, and predicts the same; fitted to all images; averaged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from click.testing import CliRunner, Result
from safetensors.numpy import load_file

from harness.cli import harness
from harness.data.sources import load
from harness.evaluation.calibration import choose_rule
from harness.inference.model_package import read_package
from harness.orchestration.packaging import find_trials, unseen_predictions
from harness.orchestration.prepared_data import LazyTruth
from harness.reporting.leaderboard import leaderboard_of_runs
from harness.results.io import read_record, read_records

ADAPTER = str(Path(__file__).parents[2] / "helpers" / "brightness_method.py")
SOURCE = "synthetic:images=9,size=64"


def typed(*words: str | Path) -> Result:
    return CliRunner().invoke(harness, [str(word) for word in words])


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def made(folder: Path, *words: str) -> Path:
    usual = ["--adapter", ADAPTER, "--preset", "smoke", "--data", SOURCE, "--budget", "10it", "--device", "cpu"]
    result = typed("run", "--methods", "brightness", *usual, *words, "--out", folder)
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(scope="module")
def split_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("split") / "run", "--seeds", "2", "--protocol", "livecell")


@pytest.fixture(scope="module")
def folds_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("folds") / "run", "--folds", "3")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    other = load("synthetic:images=3,size=80,seed=3")
    for image_id in other.ids:
        cv2.imwrite(str(folder / f"{image_id}.png"), other.sample(image_id).image)
    return folder


def packaged(run_dir: Path, folder: Path, *words: str) -> Result:
    named = ["--method", "brightness", "--to", folder, "--adapter", ADAPTER, "--device", "cpu"]
    return typed("package", run_dir, *named, *words)


def labels(images: Path, out: Path, *words: str | Path) -> list[np.ndarray]:
    result = typed(
        "predict",
        *words,
        "--images",
        images,
        "--out",
        out,
        "--formats",
        "labels",
        "--adapter",
        ADAPTER,
        "--device",
        "cpu",
    )
    assert result.exit_code == 0, result.output
    return [tifffile.imread(path) for path in sorted((out / "labels").iterdir())]


def test_a_moved_package_predicts_the_same_bit_for_bit(split_run: Path, images: Path, tmp_path: Path) -> None:
    assert packaged(split_run, tmp_path / "model", "--licence", "CC BY 4.0").exit_code == 0
    moved = Path(shutil.move(tmp_path / "model", tmp_path / "elsewhere"))
    assert sorted(path.name for path in moved.iterdir()) == ["card.md", "model.json", "weights.safetensors"]
    before = labels(images, tmp_path / "run", "--run", split_run, "--method", "brightness")
    after = labels(images, tmp_path / "package", "--model", moved)
    assert len(before) == 3
    assert all(a.max() for a in before)
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_the_folder_says_what_a_stranger_must_know_and_no_private_path(split_run: Path, tmp_path: Path) -> None:
    assert packaged(split_run, tmp_path / "model", "--licence", "CC BY 4.0").exit_code == 0
    package = read_package(tmp_path / "model")
    record = read_record(split_run / "trials" / "brightness--seed0" / "record.json")
    assert record.scores is not None
    assert package.scores["iou"] == record.scores.iou_map
    low, high = package.scores["iou_interval"]
    assert low <= record.scores.iou_map <= high
    assert package.data == record.data
    assert set(package.cell_diameters) == {"p5", "median", "p95"}
    assert package.adapters == ("brightness_method",)
    card = (tmp_path / "model" / "card.md").read_text("utf-8")
    for text in (
        "CC BY 4.0",
        SOURCE,
        f"{record.scores.iou_map:.4f}",
        "--adapter brightness_method.py",
        "mean",
        "torch ",
    ):
        assert text in card
    text = (tmp_path / "model" / "model.json").read_text("utf-8")
    assert str(split_run.parent) not in text + card
    assert str(Path(ADAPTER).parent) not in text + card


def test_fit_all_trains_on_every_image_under_the_rule_of_all_folds(folds_run: Path, tmp_path: Path) -> None:
    before = (folds_run / "leaderboard.md").read_text("utf-8")
    result = packaged(folds_run, tmp_path / "model", "--fit-all")
    assert result.exit_code == 0, result.output
    package = read_package(tmp_path / "model")
    data = load(SOURCE)
    assert package.data.splits == {"train": sorted(data.ids), "calibration": [], "validation": []}
    assert package.fit_all
    found = find_trials(folds_run, "brightness")
    rule = choose_rule(unseen_predictions(found.trials, "validation"), LazyTruth(data, data.ids), data.classes)
    assert package.rule.score_thresholds == rule.score_thresholds
    assert package.rule.chosen_on == "all folds together"
    assert "has no score of its own" in (tmp_path / "model" / "card.md").read_text("utf-8")
    assert (folds_run / "leaderboard.md").read_text("utf-8") == before
    assert len(read_records(folds_run)[0]) == 4, "three folds and their common record"
    again = packaged(folds_run, tmp_path / "again", "--fit-all")
    assert again.exit_code == 0
    assert "10it" not in again.output, "what is trained is not trained again"
    weights = [load_file(tmp_path / name / "weights.safetensors") for name in ("model", "again")]
    assert all(np.array_equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_an_ensemble_of_equal_members_predicts_as_one(split_run: Path, images: Path, tmp_path: Path) -> None:
    """Members that are all the same network: their average is that network."""
    copy = Path(shutil.copytree(split_run, tmp_path / "run"))
    for name in ("weights.safetensors", "task.json", "predictions.json.gz"):
        shutil.copy(copy / "trials" / "brightness--seed0" / name, copy / "trials" / "brightness--seed1" / name)
    assert packaged(copy, tmp_path / "both", "--ensemble").exit_code == 0
    assert packaged(copy, tmp_path / "one").exit_code == 0
    assert [one.weights for one in read_package(tmp_path / "both").members] == [
        "weights-1.safetensors",
        "weights-2.safetensors",
    ]
    both = labels(images, tmp_path / "out-both", "--model", tmp_path / "both")
    one = labels(images, tmp_path / "out-one", "--model", tmp_path / "one")
    assert all(np.array_equal(a > 0, b > 0) for a, b in zip(both, one, strict=True))


def test_the_average_of_seeds_is_a_row_that_is_not_ranked(split_run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(split_run, tmp_path / "run"))
    result = packaged(copy, tmp_path / "model", "--ensemble")
    assert result.exit_code == 0, result.output
    ranked, average = leaderboard_of_runs([copy]).rows
    assert (ranked.method, average.method, average.ranked) == ("brightness", "brightness (average of 2)", False)
    assert any("budget: 2 x 10it" in note for note in average.provenance.notes)
    assert average.quality.iou == read_package(tmp_path / "model").scores["iou"]
    assert set(average.quality.livecell) == set(ranked.quality.livecell) >= {"ap", "afnr"}
    assert average.cost.inference_ms == pytest.approx(2 * (ranked.cost.inference_ms or 0))
    assert "brightness (average of 2)" in (copy / "leaderboard.md").read_text("utf-8")
    again = typed("score", copy)
    assert again.exit_code == 0, again.output
    assert leaderboard_of_runs([copy]).rows[1].quality.iou == average.quality.iou
    assert packaged(copy, tmp_path / "one").exit_code == 0, "the average is no model of its own"
    words = ["--method", "brightness (average of 2)", "--images", tmp_path, "--out", tmp_path / "out"]
    assert "`package --ensemble` makes one model of them" in typed("predict", "--run", copy, *words).output


def test_folds_are_kept_and_averaged(folds_run: Path, images: Path, tmp_path: Path) -> None:
    result = packaged(folds_run, tmp_path / "model", "--ensemble")
    assert result.exit_code == 0
    assert "what the average adds is not known here" in result.output
    assert len(read_package(tmp_path / "model").members) == 3
    assert "3 networks, whose masks and scores are averaged" in (tmp_path / "model" / "card.md").read_text("utf-8")
    assert all(found.max() for found in labels(images, tmp_path / "out", "--model", tmp_path / "model"))


def test_nothing_of_a_package_is_executed(split_run: Path, images: Path, tmp_path: Path) -> None:
    assert packaged(split_run, tmp_path / "model").exit_code == 0
    path = tmp_path / "model" / "model.json"
    plain = json.loads(path.read_text("utf-8"))
    words = ["predict", "--model", tmp_path / "model", "--images", images, "--out", tmp_path / "out"]
    without = typed(*words)
    assert without.exit_code == 2
    assert "name its file with --adapter brightness_method.py" in without.output
    for factory, said in (
        ("os:system", "comes from the module 'os'"),
        ("harness.fileio:make_folder", "belongs to no method that is here"),
        ("brightness_method:build_other", "belongs to no method that is here"),
    ):
        plain["trial"]["recipe"]["engine"]["factory"] = factory
        path.write_text(json.dumps(plain))
        result = typed(*words, "--adapter", ADAPTER)
        assert (result.exit_code, result.output.count("\n")) == (2, 1)
        assert said in result.output
    plain["members"][0]["weights"] = "../weights.safetensors"
    path.write_text(json.dumps(plain))
    assert "members.0.weights" in typed(*words, "--adapter", ADAPTER).output


def test_a_damaged_package_is_said(split_run: Path, images: Path, tmp_path: Path) -> None:
    assert packaged(split_run, tmp_path / "model").exit_code == 0
    words = [
        "predict",
        "--model",
        tmp_path / "model",
        "--images",
        images,
        "--out",
        tmp_path / "out",
        "--adapter",
        ADAPTER,
    ]
    with (tmp_path / "model" / "weights.safetensors").open("ab") as file:
        file.write(b" ")
    assert "missing or changed since it was packaged" in typed(*words).output
    (tmp_path / "model" / "model.json").unlink()
    assert "holds no model.json" in typed(*words).output


def test_mistakes_are_one_line(split_run: Path, folds_run: Path, images: Path, tmp_path: Path) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").touch()
    for run_dir, words, said in (
        (folds_run, [], "none of the 3 models stands for all; type --fit-all"),
        (split_run, ["--fit-all", "--ensemble"], "leave one out"),
        (split_run, ["--method", "brigthness"], "did you mean 'brightness'?"),
        (split_run, ["--ensemble", "--seed", "1"], "--ensemble needs several trained models"),
        (split_run, ["--to", str(tmp_path / "used")], "holds something already"),
    ):
        result = packaged(run_dir, tmp_path / "model", *words)
        assert (result.exit_code, result.output.count("\n")) == (2, 1), result.output
        assert said in result.output
    out = ["--images", images, "--out", tmp_path / "out"]
    assert "or --model FOLDER for a packaged model" in typed("predict", *out).output
    assert "leave the others out" in typed("predict", "--model", split_run, "--method", "brightness", *out).output


def test_a_fold_that_is_missing_is_said(folds_run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folds_run, tmp_path / "run"))
    shutil.rmtree(copy / "trials" / "brightness--seed0--fold2of3")
    result = packaged(copy, tmp_path / "model", "--fit-all")
    assert result.exit_code == 2
    assert "2 of 3 folds ended well" in result.output
    assert packaged(copy, tmp_path / "one", "--method", "brightness--seed0--fold1of3").exit_code == 0
