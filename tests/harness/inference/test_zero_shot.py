"""Predictions without labels and without training: the scale is found, the files are those of any model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from harness.catalog import load_catalog
from harness.cli import harness
from harness.config.preset import load_preset
from harness.contract import Predictions
from harness.data.sources import load
from harness.inference import zero_shot
from harness.inference.sizes import typical_side
from harness.masks.crops import CropMasks
from harness.monitoring.progress import ProgressFile
from harness.orchestration import pretraining
from harness.orchestration.pretraining import networks, pretrain
from harness.training import painted_weights


class Discs:
    """Finds bright discs, and is surest of those that are 20 pixels across."""

    module = SimpleNamespace(eval=lambda: None)

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[Predictions]:
        return [self._found(image) for image in images]

    def _found(self, image: NDArray[np.uint8]) -> Predictions:
        _, labels = cv2.connectedComponents((image > 127).astype(np.uint8))
        masks, numbers = CropMasks.from_label_image(labels)
        sides = 2 * np.sqrt(masks.areas() / np.pi)
        scores = np.exp(-4 * np.square(np.log2(sides / 20))).astype(np.float32)
        return Predictions((image.shape[0], image.shape[1]), masks, scores, np.zeros(len(numbers), np.int64))


@pytest.mark.parametrize("side", [14, 40, 80])
def test_the_size_of_cells_is_found(side: int) -> None:
    image = np.zeros((480, 480), np.uint8)
    for y in range(side, 480 - side, 2 * side):
        for x in range(side, 480 - side, 2 * side):
            cv2.circle(image, (x, y), side // 2, 255, -1)
    assert 0.7 < typical_side(Discs(), [image], 1, "cpu") / side < 1.4  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    cells = load("synthetic:images=3,size=64", cache=False)
    for k in range(3):
        cv2.imwrite(str(folder / f"{cells[k].image_id}.png"), cells[k].image)
    return folder


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """With the weights of StarDist, which loads no framework, after one step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(pretraining, "HELD_OUT", 2)
        patch.setattr(pretraining, "package_versions", dict)
        folder = painted_weights.painted_folder()
        (work,) = networks(load_catalog(), ["stardist"], load_preset("auto"), print, budget="1it", folder=folder)
        card = pretrain(work, "typed", ProgressFile())
        assert card.threshold is not None
        assert card.min_area is not None
        yield


def typed(*words: str | Path) -> Result:
    return CliRunner().invoke(harness, ["predict", "--model", "painted", "--device", "cpu", *map(str, words)])


def test_a_folder_without_labels_is_predicted(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zero_shot, "typical_side", lambda *_: 40.0)
    words = ("--method", "stardist", "--images", images, "--out", tmp_path)
    estimated = typed(*words)
    assert estimated.exit_code == 0, estimated.output
    assert "the user's own: cells look 40 pixels across" in estimated.stderr
    assert "the network sees images at 0.5 of their size" in estimated.stderr
    assert "painted, seed 0:" in estimated.stdout
    assert len(list((tmp_path / "labels").iterdir())) == 3
    known = typed(*words, "--diameter", "20")
    assert "cells are 20 pixels, as you say" in known.stderr
    assert "of their size" not in known.stderr


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--method", "bcnet"), "no weights learned on painted cells for"),
        (("--run", "runs"), "--model painted belongs to no run"),
    ],
)
def test_what_cannot_be_done_is_one_line(words: tuple[str, ...], line: str, images: Path, tmp_path: Path) -> None:
    result = typed("--images", images, "--out", tmp_path, *words)
    assert result.exit_code == 2
    assert line in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_diameter_is_for_weights_that_know_no_cells(images: Path, tmp_path: Path) -> None:
    words = ["predict", "--model", str(tmp_path), "--diameter", "20", "--images", str(images), "--out", str(tmp_path)]
    assert "--diameter goes with --model painted" in CliRunner().invoke(harness, words).stderr


def test_images_that_cannot_be_read_are_passed_over(images: Path, tmp_path: Path) -> None:
    paths = sorted(images.iterdir())
    (tmp_path / "bad.png").write_bytes(b"no image")
    found = zero_shot.some_images([tmp_path / "bad.png", *paths])
    assert len(found) >= 2
    with pytest.raises(Exception, match=r"bad\.png"):
        zero_shot.some_images([tmp_path / "bad.png"])
