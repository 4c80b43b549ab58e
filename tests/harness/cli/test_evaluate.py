"""`evaluate`: the trained models of a run on labelled data that the run has not seen."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from click.testing import CliRunner, Result

from harness.cli import harness
from harness.config.start_facts import StartFacts
from harness.data.sources import load
from harness.evaluation.prediction_file import read_predictions
from harness.masks.label_image import paint_labels
from harness.results.evaluation_record import EvaluationRecord, read_evaluations
from harness.results.io import read_record, record_paths, write_record

ADAPTER = str(Path(__file__).parents[2] / "helpers" / "brightness_method.py")
SOURCE = "synthetic:images=9,size=64"
OTHER = "synthetic:images=5,size=80,seed=3"


def typed(*words: str | Path) -> Result:
    return CliRunner().invoke(harness, [str(word) for word in words])


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    words = ["--adapter", ADAPTER, "--preset", "smoke", "--data", SOURCE, "--budget", "10it", "--device", "cpu"]
    result = typed("run", "--methods", "brightness", *words, "--seeds", "2", "--out", folder)
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def run_dir(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


def evaluate(run_dir: Path, *words: str | Path) -> Result:
    return typed("evaluate", run_dir, "--adapter", ADAPTER, "--device", "cpu", *words)


def records(run_dir: Path) -> list[EvaluationRecord]:
    found, problems = read_evaluations(run_dir)
    assert not problems
    return found


def as_folder(source: str, folder: Path, prefix: str = "", times: int = 1) -> str:
    """A source of one class with the same images and labels, each pixel repeated so many times along each side."""
    dataset = load(source)
    for part in ("images", "labels"):
        (folder / part).mkdir()
    for image_id in dataset.ids:
        sample = dataset.sample(image_id)
        assert sample.instances.masks is not None
        labels = paint_labels(sample.instances.masks, sample.size)
        image, labels = (plane.repeat(times, axis=0).repeat(times, axis=1) for plane in (sample.image, labels))
        cv2.imwrite(str(folder / "images" / f"{prefix}{image_id}.png"), image)
        tifffile.imwrite(folder / "labels" / f"{prefix}{image_id}.tif", labels)
    return f"folder:{folder / 'images'},{folder / 'labels'}"


def test_every_trial_is_scored_on_all_images_with_the_rule_of_its_run(run_dir: Path) -> None:
    result = evaluate(run_dir, "--data", OTHER)
    assert result.exit_code == 0, result.output
    found = records(run_dir)
    assert [record.seed for record in found] == [0, 1]
    for record in found:
        assert list(record.scores.by_image) == list(load(OTHER).ids)
        assert (record.rule_from, record.classes_by) == ("run", "name")
        assert record.trained_on.source == SOURCE
        assert record.tested_on.source == OTHER
    stored = read_predictions(next((run_dir / "evaluations").iterdir()) / "predictions.json.gz")
    assert set(stored.splits["validation"]) == set(load(OTHER).ids)
    assert "synthetic:images=5,size=80,seed=3" in (run_dir / "generalisation.md").read_text("utf-8")


def test_every_fold_is_tested_and_their_average_too(tmp_path: Path) -> None:
    usual = ["--adapter", ADAPTER, "--preset", "smoke", "--data", SOURCE, "--budget", "10it", "--device", "cpu"]
    folder = tmp_path / "run"
    words = [*usual, "--folds", "3", "--protocol", "livecell"]
    assert typed("run", "--methods", "brightness", *words, "--out", folder).exit_code == 0
    assert "LIVECell AFNR" in (folder / "leaderboard.md").read_text("utf-8")
    result = evaluate(folder, "--data", OTHER, "--ensemble", "--protocol", "livecell")
    assert result.exit_code == 0, result.output
    found = {record.method: [] for record in records(folder)}
    for record in records(folder):
        found[record.method].append(record)
    assert {name: len(several) for name, several in found.items()} == {"brightness": 3, "brightness (average of 3)": 1}
    (average,) = found["brightness (average of 3)"]
    assert average.rule.chosen_on == "all folds together"
    assert sorted(average.trained_on.splits["train"]) == sorted(load(SOURCE).ids)
    assert all(set(record.scores.livecell) >= {"ap", "afnr"} for record in records(folder))
    mean = np.mean([record.scores.iou_map for record in found["brightness"]])
    assert f"{mean:.4f}" in (folder / "generalisation.md").read_text("utf-8")


def test_an_average_needs_several_models(run_dir: Path) -> None:
    result = evaluate(run_dir, "--data", OTHER, "--methods", "brightness--seed0", "--ensemble")
    assert result.exit_code == 2
    assert "no method has several models" in result.output


def test_images_that_a_rule_is_chosen_on_are_not_scored(run_dir: Path) -> None:
    result = evaluate(run_dir, "--data", OTHER, "--methods", "brightness--seed0", "--recalibrate", "0.4")
    assert result.exit_code == 0, result.output
    (record,) = records(run_dir)
    assert record.rule_from == "recalibrated"
    calibration = record.tested_on.splits["calibration"]
    assert len(calibration) == 2
    assert set(record.scores.by_image) == set(load(OTHER).ids) - set(calibration)


def test_own_data_are_left_out_and_images_trained_on_too(run_dir: Path, tmp_path: Path) -> None:
    result = evaluate(run_dir, "--data", SOURCE)
    assert result.exit_code == 0
    assert "it was trained on these data" in result.output
    assert records(run_dir) == []
    renamed = as_folder(SOURCE, tmp_path, prefix="renamed-")
    result = evaluate(run_dir, "--data", renamed, "--methods", "brightness")
    assert result.exit_code == 0, result.output
    for record in records(run_dir):
        splits = record.trained_on.splits
        assert set(record.left_out) == {f"renamed-{i}" for i in (*splits["train"], *splits["calibration"])}
        assert set(record.scores.by_image) == {f"renamed-{i}" for i in splits["validation"]}


@pytest.mark.parametrize(
    ("on", "note"), [(OTHER, "scores are too high"), (SOURCE, "whether on any of these images is not checked")]
)
def test_what_the_weights_at_its_start_were_trained_on_is_said(run_dir: Path, on: str, note: str) -> None:
    path = next(path for path in record_paths(run_dir) if path.parent.name == "brightness--seed0")
    start = StartFacts(name="from_run", kind="checkpoint", source=on, data_fingerprint=load(on).fingerprint)
    write_record(path, read_record(path).model_copy(update={"start": start}))
    result = evaluate(run_dir, "--data", OTHER, "--methods", "brightness--seed0")
    assert result.exit_code == 0, result.output
    (record,) = records(run_dir)
    assert any(note in line and on in line for line in record.notes), record.notes


def test_cells_of_another_size_than_those_trained_on_are_told(run_dir: Path, tmp_path: Path) -> None:
    enlarged = as_folder(OTHER, tmp_path, times=3)
    result = evaluate(run_dir, "--data", enlarged, "--methods", "brightness--seed0")
    assert result.exit_code == 0, result.output
    (record,) = records(run_dir)
    (note,) = [line for line in record.notes if "those trained on were" in line]
    assert 0.2 < float(re.findall(r"resize the images by ([\d.]+) ", note)[0]) < 0.5


def test_cells_that_a_network_sees_shrunk_are_not_taken_for_others(tmp_path: Path) -> None:
    words = ["--adapter", ADAPTER, "--preset", "smoke", "--data", SOURCE, "--budget", "10it", "--device", "cpu"]
    result = typed("run", "--methods", "brightness", *words, "--set", "model.scale=0.5", "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert evaluate(tmp_path / "run", "--data", OTHER).exit_code == 0
    (record,) = records(tmp_path / "run")
    assert not [line for line in record.notes if "those trained on were" in line]


def test_classes_of_other_names_count_as_one_class(run_dir: Path, tmp_path: Path) -> None:
    result = evaluate(run_dir, "--data", as_folder(OTHER, tmp_path))
    assert result.exit_code == 0, result.output
    for record in records(run_dir):
        assert record.classes_by == "one class"
        assert record.scores.ap is not None
        assert any("classes do not match by name" in note for note in record.notes)


def test_the_page_has_the_matrix(run_dir: Path) -> None:
    assert evaluate(run_dir, "--data", OTHER).exit_code == 0
    assert typed("report", run_dir, "--no-gallery").exit_code == 0
    page = (run_dir / "report.html").read_text("utf-8")
    assert "Trained on, tested on" in page
    assert OTHER in page
    score = np.mean([record.scores.iou_map for record in records(run_dir)])
    assert f"{score:.4f}" in page


def test_mistakes_are_one_line(run_dir: Path) -> None:
    for words, said in (
        (["--data", OTHER, "--methods", "brigthness"], "has no trained method 'brigthness'; it has: brightness"),
        (["--data", "synthetic:images=1,size=64", "--recalibrate"], "too few for --recalibrate"),
    ):
        result = evaluate(run_dir, *words)
        assert result.exit_code == 2
        assert said in result.output
        assert result.output.count("\n") == 1
