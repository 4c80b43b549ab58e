"""Extreme data sets get a preset under which a model is built, trains a step and predicts."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from trial_specs import spec_of

from harness.errors import HarnessError
from harness.monitoring.progress import ProgressFile
from harness.orchestration.plan_from_data import read_source
from harness.orchestration.request import RunRequest
from harness.orchestration.trial.work import Trial


def draw(folder: Path, size: tuple[int, int], side: int, cells: int, images: int) -> str:
    """A source of images with bright discs of one size in a grid."""
    rng, edge = np.random.default_rng(0), np.arange(side) - (side - 1) / 2
    disc = edge[:, None] ** 2 + edge**2 <= (side / 2) ** 2
    columns, rows = max(1, size[1] // (side + 1)), max(1, size[0] // (side + 1))
    for name in ("images", "labels"):
        (folder / name).mkdir()
    for number in range(images):
        labels = np.zeros(size, np.uint16)
        for k, place in enumerate(rng.permutation(columns * rows)[:cells].tolist()):
            top, left = (side + 1) * (place // columns), (side + 1) * (place % columns)
            part = labels[top : top + side, left : left + side]
            part[disc[: part.shape[0], : part.shape[1]]] = k + 1
        image = rng.normal(60, 15, size) + 80 * (labels > 0)
        cv2.imwrite(str(folder / "images" / f"{number}.png"), image.clip(0, 255).astype(np.uint8))
        cv2.imwrite(str(folder / "labels" / f"{number}.png"), labels)
    return f"folder:{folder / 'images'},{folder / 'labels'}"


def trial(source: str, folder: Path) -> Trial:
    """One step of `mask_rcnn` under the preset that is fitted to the data."""
    request = RunRequest(sources=(source,), methods="mask_rcnn", device="cpu")
    base = request.base_preset()
    data, _ = read_source(source, None, base, False, True, lambda note: None)
    preset = request.fit_preset(base, data, data.facts)
    assert preset is not None
    spec = spec_of("mask_rcnn", preset, source, data.facts, budget="1it")
    return Trial(spec, folder, ProgressFile())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "side", "cells", "images"),
    [
        pytest.param((64, 64), 3, 60, 6, id="cells of 3 pixels"),
        pytest.param((320, 320), 310, 1, 6, id="one cell that fills its image"),
        pytest.param((3, 300), 3, 20, 6, id="images of 3 rows"),
        pytest.param((16, 16), 5, 2, 3, id="three images of 16 pixels"),
        pytest.param((64, 20_000), 20, 600, 3, id="strips of 64 x 20,000"),
        pytest.param((1_600, 1_600), 20, 5_000, 3, id="5,000 cells an image", marks=pytest.mark.nightly),
        pytest.param((3_200, 3_200), 3_000, 1, 3, id="cells of 3,000 pixels", marks=pytest.mark.nightly),
    ],
)
def test_extreme_data_are_trained_on(size: tuple[int, int], side: int, cells: int, images: int, tmp_path: Path) -> None:
    record = trial(draw(tmp_path, size, side, cells, images), tmp_path).run()
    assert record.status == "ok"
    assert record.total_loss is not None
    assert np.isfinite(record.total_loss)


def test_a_single_image_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="1 annotated images are too few") as caught:
        trial(draw(tmp_path, (64, 64), 20, 2, 1), tmp_path)
    assert "\n" not in str(caught.value)
