"""`export-split` writes the task for another tool, and `add-row` takes its masks back as a row."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from click.testing import CliRunner, Result
from fake_run import METHODS, write_run

from harness.cli import harness
from harness.contract import Predictions
from harness.data.dataset import Dataset
from harness.data.sources import load
from harness.inference.formats.submission import run_length_pairs
from harness.masks.label_image import paint_labels
from harness.masks.rle import to_rle
from harness.reporting.leaderboard import Leaderboard, leaderboard_of_runs
from harness.results.io import read_record
from harness.results.schema import RunRecord

SOURCE = "synthetic:images=12,size=96,density=0.3"
ROW = "trials/cellpose_sam--seed0"


def typed(*words: str | Path) -> Result:
    return CliRunner().invoke(harness, [str(word) for word in words])


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("run") / "run", METHODS[:2], seeds=2, source=SOURCE)


@pytest.fixture
def run_dir(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


@pytest.fixture(scope="module")
def cells() -> Dataset:
    return load(SOURCE)


@pytest.fixture(scope="module")
def splits(made: Path) -> dict[str, list[str]]:
    record = read_record(next(made.glob("trials/*/record.json")))
    assert record.data is not None
    return record.data.splits


def write_labels(folder: Path, cells: Dataset, ids: list[str], ending: str = "_masks.tif") -> Path:
    folder.mkdir()
    for image_id in ids:
        sample = cells.sample(image_id)
        assert sample.instances.masks is not None
        tifffile.imwrite(folder / f"{image_id}{ending}", paint_labels(sample.instances.masks, sample.size))
    return folder


def coco_results(cells: Dataset, ids: list[str], score: float) -> list[dict[str, Any]]:
    rows = []
    for image_id in ids:
        sample = cells.sample(image_id)
        assert sample.instances.masks is not None
        for label, counts in zip(sample.instances.labels, to_rle(sample.instances.masks, *sample.size), strict=True):
            segmentation = {"size": list(sample.size), "counts": counts}
            rows.append(
                {"image_id": image_id, "category_id": int(label) + 1, "score": score, "segmentation": segmentation}
            )
    return rows


def row_of(run_dir: Path) -> RunRecord:
    return read_record(run_dir / ROW / "record.json")


def board(run_dir: Path) -> Leaderboard:
    return leaderboard_of_runs([run_dir])


@pytest.mark.parametrize("form", ["folder", "coco", "cellpose"])
def test_an_exported_split_has_labels_of_training_and_calibration_images_only(
    run_dir: Path, tmp_path: Path, cells: Dataset, splits: dict[str, list[str]], form: str
) -> None:
    out = tmp_path / "task"
    result = typed("export-split", run_dir, "--to", out, "--format", form)
    assert result.exit_code == 0, result.output
    images = {part: sorted((out / part).rglob("*.png")) for part in splits}
    assert {part: [path.stem for path in paths] for part, paths in images.items()} == splits
    for part, paths in images.items():
        for path in paths:
            np.testing.assert_array_equal(cv2.imread(str(path), -1), cells.sample(path.stem).image)
        labels = sorted((out / part).rglob("*.tif"))
        if form == "coco":
            whole = json.loads((out / f"{part}.json").read_text("utf-8"))
            assert len(whole["images"]) == len(paths)
            assert bool(whole["annotations"]) == (part != "validation")
        else:
            assert len(labels) == (0 if part == "validation" else len(paths))


def test_an_exported_split_is_read_as_a_source_with_the_same_cells(
    run_dir: Path, tmp_path: Path, cells: Dataset
) -> None:
    assert typed("export-split", run_dir, "--to", tmp_path / "coco", "--format", "coco").exit_code == 0
    again = load(f"coco:{tmp_path / 'coco' / 'train.json'},{tmp_path / 'coco' / 'train'}", cache=False)
    for image_id in again.ids:
        there, here = cells.sample(image_id).instances.masks, again.sample(image_id).instances.masks
        assert there is not None
        assert here is not None
        np.testing.assert_array_equal(there.boxes, here.boxes)
        np.testing.assert_array_equal(there.pixels, here.pixels)


def test_an_export_leaves_a_folder_that_holds_something_alone(run_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    result = typed("export-split", run_dir, "--to", tmp_path / "full")
    assert result.exit_code == 2
    assert "not an empty folder" in result.output


def test_annotations_as_masks_score_one_and_no_masks_score_zero(
    run_dir: Path, tmp_path: Path, cells: Dataset, splits: dict[str, list[str]]
) -> None:
    labels = write_labels(tmp_path / "labels", cells, splits["validation"])
    result = typed("add-row", run_dir, "--name", "cellpose_sam", "--masks", labels)
    assert result.exit_code == 0, result.output
    record = row_of(run_dir)
    assert record.scores is not None
    assert record.scores.iou_map == pytest.approx(1)
    for path in labels.iterdir():
        tifffile.imwrite(path, np.zeros_like(tifffile.imread(path)))
    result = typed("add-row", run_dir, "--name", "cellpose_sam", "--masks", labels, "--replace")
    assert result.exit_code == 0, result.output
    record = row_of(run_dir)
    assert record.scores is not None
    assert record.scores.iou_map == 0


def test_a_row_is_ranked_and_paired_but_never_cheap_nor_under_the_budget(
    run_dir: Path, tmp_path: Path, cells: Dataset, splits: dict[str, list[str]]
) -> None:
    labels = write_labels(tmp_path / "labels", cells, splits["validation"])
    words = ["--training-time", "12m", "--note", "trained by Ana", "--json"]
    assert typed("add-row", run_dir, "--name", "cellpose_sam", "--masks", labels, *words).exit_code == 0
    row = next(row for row in board(run_dir).rows if row.method == "cellpose_sam")
    assert row.position == 1
    assert row.quality.vs_baseline is not None
    assert not row.worth_it
    assert row.cost.train_seconds == 720
    assert (row.cost.steps, row.cost.memory, row.cost.inference_ms) == (None, None, None)
    assert any("trained by Ana" in note for note in row.provenance.notes)
    assert any("under no budget" in note for note in row.provenance.notes)
    assert any("the user's word" in note for note in row.cost.notes)
    assert row.provenance.records[0].budget == ""
    others = [row for row in board(run_dir).rows if row.method != "cellpose_sam"]
    assert all(row.ranked and not row.provenance.notes for row in others)


def test_table_report_and_score_take_the_row_as_the_others(
    run_dir: Path, tmp_path: Path, cells: Dataset, splits: dict[str, list[str]]
) -> None:
    labels = write_labels(tmp_path / "labels", cells, splits["validation"])
    assert typed("add-row", run_dir, "--name", "cellpose_sam", "--masks", labels).exit_code == 0
    before = row_of(run_dir).scores
    result = typed("score", run_dir)
    assert result.exit_code == 0, result.output
    assert row_of(run_dir).scores == before
    assert typed("table", run_dir, "--wide").exit_code == 0
    result = typed("report", run_dir)
    assert result.exit_code == 0, result.output
    assert "no gallery" not in result.output
    page = (run_dir / "report.html").read_text("utf-8")
    assert page.count('"cellpose_sam"') > 2


def test_masks_with_scores_get_a_rule_from_the_calibration_masks(
    run_dir: Path, tmp_path: Path, cells: Dataset, splits: dict[str, list[str]]
) -> None:
    good = coco_results(cells, splits["validation"], 0.9)
    wrong = [{**row, "score": 0.2, "segmentation": {**row["segmentation"]}} for row in good]
    (tmp_path / "validation.json").write_text(json.dumps([*good, *wrong]))
    words = ["add-row", run_dir, "--name", "cellpose_sam", "--masks", tmp_path / "validation.json"]
    result = typed(*words)
    assert result.exit_code == 2
    assert "--calibration-masks" in result.output
    (tmp_path / "calibration.json").write_text(json.dumps(coco_results(cells, splits["calibration"], 0.9)))
    result = typed(*words, "--calibration-masks", tmp_path / "calibration.json")
    assert result.exit_code == 0, result.output
    record = row_of(run_dir)
    assert record.scores is not None
    assert record.rule is not None
    assert record.outside is not None
    assert record.rule.chosen_on == "calibration"
    assert set(record.outside.sha256) == {"calibration", "validation"}
    assert record.scores.iou_map == pytest.approx(1)
    assert record.scores.ap == pytest.approx(1)
    assert typed("score", run_dir).exit_code == 0
    assert row_of(run_dir).rule == record.rule


def test_a_submission_is_taken_as_it_is(
    run_dir: Path, tmp_path: Path, cells: Dataset, splits: dict[str, list[str]]
) -> None:
    with (tmp_path / "submission.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("id", "predicted"))
        for image_id in splits["validation"]:
            masks = cells.sample(image_id).instances.masks
            assert masks is not None
            rows.writerows((image_id, text) for text in run_length_pairs(masks, 96))
    result = typed("add-row", run_dir, "--name", "cellpose_sam", "--masks", tmp_path / "submission.csv")
    assert result.exit_code == 0, result.output
    record = row_of(run_dir)
    assert record.scores is not None
    assert record.scores.iou_map == pytest.approx(1)
    assert record.scores.ap is None


def test_missing_doubled_unknown_and_wrongly_sized_masks_are_named(
    run_dir: Path, tmp_path: Path, cells: Dataset, splits: dict[str, list[str]]
) -> None:
    labels = write_labels(tmp_path / "labels", cells, splits["validation"])
    first, second, *_ = splits["validation"]
    (labels / f"{first}_masks.tif").rename(labels / "stranger_masks.tif")
    shutil.copy(labels / f"{second}_masks.tif", labels / f"{second}_label.tif")
    third = splits["validation"][2]
    tifffile.imwrite(labels / f"{third}_masks.tif", np.ones((40, 96), np.uint16))
    result = typed("add-row", run_dir, "--name", "cellpose_sam", "--masks", labels)
    assert result.exit_code == 2
    for said in (f"no masks for {first}", f"{second} is there twice", "40x96", "stranger_masks.tif"):
        assert said in result.output
    assert not (run_dir / ROW).exists()


def test_a_swapped_pair_of_files_is_warned_of(
    run_dir: Path, tmp_path: Path, cells: Dataset, splits: dict[str, list[str]]
) -> None:
    labels = write_labels(tmp_path / "labels", cells, splits["validation"])
    a, b = (labels / f"{image_id}_masks.tif" for image_id in splits["validation"][:2])
    a.rename(tmp_path / "held")
    b.rename(a)
    (tmp_path / "held").rename(b)
    result = typed("add-row", run_dir, "--name", "cellpose_sam", "--masks", labels)
    assert result.exit_code == 0, result.output
    first, second = splits["validation"][:2]
    assert f"masks given for {first} fit {second} far better" in result.output
    assert f"masks given for {second} fit {first} far better" in result.output


def test_masks_of_poor_quality_are_not_called_swapped(run_dir: Path, cells: Dataset) -> None:
    from harness.evaluation.prediction_file import read_predictions
    from harness.evaluation.swapped import swapped_images
    from harness.orchestration.prepared_data import LazyTruth

    found: dict[str, Predictions] = {}
    for path in run_dir.glob("trials/*/predictions.json.gz"):
        found.update(read_predictions(path).splits["validation"])
    assert swapped_images(found, LazyTruth(cells, cells.ids)) == []


def test_a_row_never_takes_the_place_of_a_trial_or_of_a_row_unasked(
    run_dir: Path, tmp_path: Path, cells: Dataset, splits: dict[str, list[str]]
) -> None:
    labels = write_labels(tmp_path / "labels", cells, splits["validation"])
    result = typed("add-row", run_dir, "--name", "mask_rcnn", "--masks", labels)
    assert result.exit_code == 2
    assert "is a trial of the run" in result.output
    words = ["add-row", run_dir, "--name", "cellpose_sam", "--masks", labels]
    assert typed(*words).exit_code == 0
    result = typed(*words)
    assert result.exit_code == 2
    assert "--replace" in result.output


def test_there_is_no_model_to_predict_with(
    run_dir: Path, tmp_path: Path, cells: Dataset, splits: dict[str, list[str]]
) -> None:
    labels = write_labels(tmp_path / "labels", cells, splits["validation"])
    assert typed("add-row", run_dir, "--name", "cellpose_sam", "--masks", labels).exit_code == 0
    words = ["--run", run_dir, "--method", "cellpose_sam", "--images", labels, "--out", tmp_path / "out"]
    result = typed("predict", *words)
    assert result.exit_code == 2
    assert "no model" in result.output
