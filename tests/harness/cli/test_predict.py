"""Prediction of a user's own images by a trained run, end to end, with a method that trains in a second."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from click.testing import CliRunner, Result
from pycocotools.coco import COCO

from harness.cli import harness
from harness.contract import Predictions
from harness.data.dataset import Dataset
from harness.data.sources import load
from harness.evaluation.calibration import apply_rule
from harness.evaluation.prediction_file import read_predictions
from harness.inference.formats.label_images import label_image
from harness.results.io import read_record

ADAPTER = str(Path(__file__).parents[2] / "helpers" / "brightness_method.py")
SOURCE = "synthetic:images=12,size=96"


def typed(*words: str | Path) -> Result:
    return CliRunner().invoke(harness, [str(word) for word in words])


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def cells() -> Dataset:
    return load(SOURCE, cache=False)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    words = ["--adapter", ADAPTER, "--preset", "smoke", "--data", SOURCE, "--budget", "30it", "--tensorboard"]
    result = typed("run", "--methods", "brightness", *words, "--seeds", "2", "--out", folder, "--device", "cpu")
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(scope="module")
def expected(run_dir: Path, cells: Dataset) -> dict[str, Predictions]:
    """The run's own predictions of its validation images, after its rule."""
    trial = run_dir / "trials" / "brightness--seed0"
    rule = read_record(trial / "record.json").rule
    assert rule is not None
    stored = read_predictions(trial / "predictions.json.gz").splits["validation"]
    return {image_id: apply_rule(found, rule, cells.classes) for image_id, found in stored.items()}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory, cells: Dataset, expected: dict[str, Predictions]) -> Path:
    """The validation images as PNG, and a black image without cells."""
    folder = tmp_path_factory.mktemp("images")
    for image_id in expected:
        cv2.imwrite(str(folder / f"{image_id}.png"), cells.sample(image_id).image)
    cv2.imwrite(str(folder / "black.png"), np.zeros((40, 60), np.uint8))
    return folder


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, run_dir: Path, images: Path) -> Path:
    folder = tmp_path_factory.mktemp("out")
    words = ["--images", images, "--out", folder, "--submission", folder / "submission.csv", "--adapter", ADAPTER]
    result = typed("predict", "--run", run_dir, "--method", "brightness", *words, "--device", "cpu")
    assert result.exit_code == 0, result.output
    return folder


def test_label_images_are_what_the_run_predicted(out: Path, expected: dict[str, Predictions]) -> None:
    assert sum(map(len, expected.values())) > 10
    for image_id, found in expected.items():
        labels = tifffile.imread(out / "labels" / f"{image_id}.tif")
        assert labels.dtype == np.uint16
        assert np.array_equal(labels, label_image(found))
    assert tifffile.imread(out / "labels" / "black.tif").shape == (40, 60)
    assert not tifffile.imread(out / "labels" / "black.tif").any()


def test_images_that_would_be_one_file_are_named_before_a_model_is_loaded(
    tmp_path: Path, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "A.png").touch()
    if len(list(tmp_path.iterdir())) == 1:
        pytest.skip("this disk does not tell a from A")
    monkeypatch.setattr("harness.data.image_folder.ignores_case", lambda folder: True)
    words = ["--method", "brightness", "--images", tmp_path, "--out", tmp_path / "out", "--device", "cpu"]
    result = typed("predict", "--run", run_dir, *words)
    assert result.exit_code == 2
    assert "A and a are one file on the disk of" in result.output


def test_weights_and_task_of_the_run_are_used(run_dir: Path, images: Path, expected: Any, tmp_path: Path) -> None:
    """Without this, the test above could pass with an untrained model."""
    for name, change in (("weights.safetensors", None), ("task.json", {"pixel_mean": [90.0, 90.0, 90.0]})):
        copy = tmp_path / name
        shutil.copytree(run_dir, copy)
        for trial in (copy / "trials").iterdir():
            if change is None:
                import torch
                from safetensors.torch import save_file

                save_file({"threshold": torch.tensor(0.9)}, str(trial / name))
            else:
                (trial / name).write_text(json.dumps({**json.loads((trial / name).read_text("utf-8")), **change}))
        target = tmp_path / f"{name}-out"
        words = ["--images", images, "--out", target, "--adapter", ADAPTER, "--formats", "labels"]
        assert typed("predict", "--run", copy, "--method", "brightness", *words).exit_code == 0
        image_id = next(iter(expected))
        assert not np.array_equal(
            tifffile.imread(target / "labels" / f"{image_id}.tif") > 0, label_image(expected[image_id]) > 0
        )
        assert [path.name for path in target.iterdir()] == ["labels"]


def test_other_files_in_the_folders_are_reported(run_dir: Path, tmp_path: Path) -> None:
    """Label files among the images, an image too small for the model, and an earlier prediction."""
    (tmp_path / "images").mkdir()
    names = ("a.png", "b.png", "a_cp_masks.png")
    for name in names:
        cv2.imwrite(str(tmp_path / "images" / name), np.full((20, 30), 90, np.uint8))
    words = ["predict", "--run", run_dir, "--method", "brightness", "--adapter", ADAPTER, "--images"]
    words += [tmp_path / "images", "--out", tmp_path / "out"]
    first = typed(*words)
    assert first.exit_code == 0
    assert "note: files named as labels of another image, not predicted: 1 (a_cp_masks.png for one)" in first.output
    assert sorted(path.name for path in (tmp_path / "out" / "labels").iterdir()) == ["a.tif", "b.tif"]
    assert "earlier prediction" not in first.output
    cv2.imwrite(str(tmp_path / "images" / "b.png"), np.zeros((1, 1), np.uint8))
    second = typed(*words)
    assert second.exit_code == 1
    assert "left out: b.png: the model cannot predict an image of 1x1: too small" in second.output
    assert "labels: 1 files of an earlier prediction are there too (b.tif for one)" in second.output


def test_coco_file_loads_as_annotations_as_results_and_as_a_source(
    out: Path, images: Path, expected: dict[str, Predictions], cells: Dataset
) -> None:
    truth = COCO(str(out / "coco.json"))
    names = {image["file_name"].removesuffix(".png"): number for number, image in truth.imgs.items()}
    assert set(names) == {*expected, "black"}
    results = truth.loadRes(truth.dataset["annotations"])
    for image_id, found in expected.items():
        entries = results.loadAnns(results.getAnnIds(imgIds=[names[image_id]]))
        assert np.allclose([entry["score"] for entry in entries], found.scores, atol=0)
        assert [entry["category_id"] - 1 for entry in entries] == found.labels.tolist()
        planes = found.masks.planes(*found.size)
        assert all(np.array_equal(results.annToMask(e), p) for e, p in zip(entries, planes, strict=True))
    assert [category["name"] for category in truth.dataset["categories"]] == list(cells.classes)
    again = load(f"coco:{out / 'coco.json'},{images}", cache=False)
    image_id = next(iter(expected))
    sample = next(again[i] for i in range(len(again)) if again.ids[i].startswith(image_id))
    assert np.array_equal(np.sort(sample.instances.boxes, axis=0), np.sort(expected[image_id].masks.boxes, axis=0))


def test_label_images_are_a_source_too(out: Path, images: Path, expected: dict[str, Predictions]) -> None:
    again = load(f"folder:{images},{out / 'labels'}", cache=False)
    assert again.cells == sum(map(len, expected.values()))


def test_overlays_keep_all_pixels_but_outlines(out: Path, cells: Dataset, expected: dict[str, Predictions]) -> None:
    for image_id, found in expected.items():
        image, labels = cells.sample(image_id).image, label_image(found)
        grey = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image
        picture = cv2.imread(str(out / "overlays" / f"{image_id}.png"))[..., ::-1]
        assert np.array_equal(picture[labels == 0], grey[labels == 0])
        assert (picture != grey).any() == (len(found) > 0)


def test_submission_has_rows_by_image_then_score(out: Path, images: Path, expected: dict[str, Predictions]) -> None:
    with (out / "submission.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["id", "predicted"]
    assert [row[0] for row in rows[1:]] == sorted(row[0] for row in rows[1:])
    assert [row for row in rows if row[0] == "black"] == [["black", ""]]
    for image_id, found in expected.items():
        masks = [row[1].split() for row in rows if row[0] == image_id]
        assert [sum(map(int, runs[1::2])) for runs in masks] == found.masks.areas().tolist()
    checked = typed("check-submission", out / "submission.csv", "--images", images)
    assert (checked.exit_code, checked.output) == (0, f"nothing wrong: {len(expected) + 1} images\n")


def test_check_submission_lists_what_is_wrong(out: Path, images: Path, tmp_path: Path) -> None:
    text = (out / "submission.csv").read_text("utf-8").replace("black,\n", "black,1 2 2 2\nblak,\n")
    (tmp_path / "bad.csv").write_text(text)
    checked = typed("check-submission", tmp_path / "bad.csv", "--images", images)
    assert checked.exit_code == 1
    lines = checked.output.splitlines()
    assert "image black: runs overlap" in lines[0]
    assert "did you mean 'black'?" in lines[1]
    assert len(lines) == 2
    found = json.loads(typed("check-submission", tmp_path / "bad.csv", "--images", images, "--json").output)
    assert (found["ok"], len(found["problems"])) == (False, 2)


def test_json_and_seeds_and_a_bad_image(run_dir: Path, images: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    shutil.copytree(images, folder)
    (folder / "torn.png").write_bytes((images / "black.png").read_bytes()[:-20])
    words = ["--images", folder, "--out", tmp_path / "out", "--adapter", ADAPTER, "--formats", "coco", "--json"]
    result = typed("predict", "--run", run_dir, "--method", "brightness", "--seed", "1", *words)
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert (found["seed"], found["written"]) == (1, [str(tmp_path / "out" / "coco.json")])
    assert {image["id"]: image["cells"] for image in found["images"]}["black"] == 0
    assert len(found["left_out"]) == 1
    assert found["left_out"][0].startswith("torn.png: the PNG file breaks off")
    assert "left out: torn.png" in result.stderr


def test_each_mistake_is_one_line(run_dir: Path, images: Path, tmp_path: Path) -> None:
    def line(*words: str | Path, method: str = "brightness", run: Path = run_dir, images: Path = images) -> str:
        own = ["--run", run, "--method", method, "--images", images, "--out", tmp_path / "out", *words]
        result = typed("predict", *own)
        assert result.exit_code == 2, result.output
        assert result.output.count("\n") == 1, result.output
        return result.output

    assert "no folder" in line(run=tmp_path / "none")
    assert "did you mean 'brightness'?" in line(method="brigtness")
    assert "has no seed 7 of brightness; it has: 0, 1" in line("--seed", "7")
    assert "is not a folder" in line(images=tmp_path / "none")
    assert "--device 'gpu'" in line("--device", "gpu")
    adapter = ("--adapter", ADAPTER)
    assert "no format 'cocoa'; did you mean 'coco'?" in line("--formats", "cocoa", *adapter)
    twins = tmp_path / "twins"
    shutil.copytree(images, twins)
    (twins / "black.bmp").write_bytes(b"")
    assert "black.bmp and black.png would have the same id" in line(images=twins)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "holds no image" in line(images=empty)
    for name in ("task.json", "weights.safetensors"):
        copy = tmp_path / name
        shutil.copytree(run_dir, copy)
        (copy / "trials" / "brightness--seed0" / name).unlink()
        assert f"holds no {name}" in line(*adapter, run=copy)
        (copy / "trials" / "brightness--seed0" / name).write_text("{}")
        assert name in line(*adapter, run=copy)
    (tmp_path / "file").touch()
    full = line(*adapter, "--out", tmp_path / "file" / "out")
    assert f"cannot write {tmp_path / 'file' / 'out'}" in full
    assert "type the same command again" in full
    assert "goes on" not in full


def test_a_recipe_may_only_name_modules_that_are_there(
    run_dir: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run's folder may come from a stranger, so no module that it names is imported. Adapters are named again."""
    copy = tmp_path / "run"
    shutil.copytree(run_dir, copy)
    trial = copy / "trials" / "brightness--seed0" / "trial.json"
    plain = json.loads(trial.read_text("utf-8"))
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')")
    plain["recipe"]["engine"]["factory"] = "evil:build"
    trial.write_text(json.dumps(plain))
    words = ["predict", "--run", copy, "--method", "brightness", "--images", images, "--out", tmp_path / "out"]
    monkeypatch.syspath_prepend(tmp_path)
    result = typed(*words)
    assert result.exit_code == 2
    assert "'evil', which is not here; name its file with --adapter evil.py" in result.stderr
    assert "evil" not in sys.modules


def test_tiles_give_the_labels_of_whole_images(
    run_dir: Path, tmp_path: Path, cells: Dataset, expected: dict[str, Predictions]
) -> None:
    """A stitched image of 5 x 6 validation images, as PNG and as tiled TIFF, predicted whole and in tiles."""
    pictures = [cells.sample(image_id).image for image_id in expected]
    stitched = np.concatenate(
        [np.concatenate([pictures[(5 * i + j) % len(pictures)] for j in range(6)], axis=1) for i in range(5)]
    )
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.png"), stitched)
    tifffile.imwrite(tmp_path / "images" / "b.ome.tif", stitched, tile=(64, 64), compression="zlib")
    words = ["predict", "--run", run_dir, "--method", "brightness", "--images", tmp_path / "images"]
    words += ["--adapter", ADAPTER, "--formats", "labels,geojson", "--device", "cpu"]
    assert typed(*words, "--out", tmp_path / "whole").exit_code == 0
    result = typed(*words, "--out", tmp_path / "tiled", "--tile", "256")
    assert result.exit_code == 0, result.output
    assert "predicted in tiles" in result.output
    whole = tifffile.imread(tmp_path / "whole" / "labels" / "a.tif")
    assert whole.max() > 50
    for name in ("a", "b.ome"):
        tiled = tifffile.imread(tmp_path / "tiled" / "labels" / f"{name}.tif")
        # the numbers of cells follow their scores, of which some are equal
        pairs = np.unique(np.stack([whole.ravel(), tiled.ravel()]), axis=1)
        assert len(pairs.T) == whole.max() + 1 == tiled.max() + 1
    assert not (tmp_path / "tiled" / ".tiles").exists()
    make_pair(tmp_path)
    again = load(f"qupath:{tmp_path / 'geojson'}", cache=False)
    masks = again.sample("a").instances.masks
    assert masks is not None
    assert np.array_equal(np.unique(whole > 0, return_counts=True)[1][1:], [masks.areas().sum()])


def make_pair(folder: Path) -> None:
    """Lay an image and its GeoJSON side by side, as QuPath's users do."""
    (folder / "geojson").mkdir()
    shutil.copy(folder / "images" / "a.png", folder / "geojson")
    shutil.copy(folder / "whole" / "geojson" / "a.geojson", folder / "geojson")


def test_an_image_larger_than_is_decoded_whole_is_predicted(run_dir: Path, tmp_path: Path) -> None:
    """4,096 x 4,096 pixels with a bright square at every corner of every 512."""
    tile = np.zeros((512, 512), np.uint8)
    tile[:8, :8] = tile[-8:, -8:] = tile[:8, -8:] = tile[-8:, :8] = 255
    (tmp_path / "images").mkdir()
    shape = (4096, 4096)
    tifffile.imwrite(
        tmp_path / "images" / "x.tif", (tile for _ in range(8 * 8)), shape=shape, dtype=np.uint8, tile=(512, 512)
    )
    words = ["--images", tmp_path / "images", "--out", tmp_path / "out", "--adapter", ADAPTER, "--formats", "labels"]
    result = typed("predict", "--run", run_dir, "--method", "brightness", *words, "--device", "cpu")
    assert result.exit_code == 0, result.output
    with tifffile.TiffFile(tmp_path / "out" / "labels" / "x.tif") as file:
        labels = file.asarray()
        assert file.pages[0].is_tiled
    assert labels.dtype == np.uint32
    assert labels.max() == (8 + 1) ** 2
    assert np.count_nonzero(labels) == 4 * 64 * 8 * 8
