"""The weights that come with the harness are those that their card tells of, and they find cells."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.catalog import load_catalog
from harness.config.preset import AUTO, load_preset
from harness.contract import Init
from harness.data.sources import load
from harness.evaluation.ground_truth import GroundTruth
from harness.evaluation.scorer import score
from harness.inference.predictor import predict_all
from harness.inference.zero_shot import CLASSES, zero_shot
from harness.stacks import resolve
from harness.training import painted_weights
from harness.training.painted_file import read_card, read_making
from harness.training.painted_weights import Network, check_whole, find_start
from methods.painted import PaintedOptions

LARGEST_FILE = 16_000_000
LOST_IN_8_BITS = 0.01
"""IoU on held-out painted images."""


@pytest.fixture
def path() -> Path:
    preset = load_preset(AUTO)
    recipe = resolve(load_catalog(), "mask_rcnn", preset.size, Init()).recipe
    return painted_weights.shipped_folder() / Network.of(recipe, preset.model).file_name()


def test_they_are_those_of_their_card(path: Path) -> None:
    check_whole(path)
    card, making = read_card(path), read_making(path)
    assert path.stat().st_size <= LARGEST_FILE
    assert (card.method, card.licence, card.without) == ("mask_rcnn", "Apache-2.0", ())
    assert card.score is not None
    assert card.score_unrounded is not None
    assert card.score > card.score_unrounded - LOST_IN_8_BITS
    assert making is not None
    assert making.seconds > 0
    assert making.git_commit


def test_a_run_that_starts_from_them_has_their_anchors(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    preset = load_preset(AUTO)
    recipe = resolve(load_catalog(), "mask_rcnn", preset.size, Init()).recipe
    found = find_start(recipe, PaintedOptions(), 0, preset.model)
    assert Path(str(found.path)) == path
    assert found.anchors == {"anchor_scale": read_card(path).anchor_scale, "anchor_ratios": [0.5, 1.0, 2.0]}


def test_they_find_cells_of_another_painter(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    dataset = load("synthetic:images=6,size=128", cache=False)
    samples = [dataset[k] for k in range(len(dataset))]
    found = zero_shot([sample.image for sample in samples], load_catalog(), "cpu", diameter=22)
    predictions = predict_all(found.model, samples, 1, "cpu", 0.05).found
    truth = {sample.image_id: GroundTruth.of(sample) for sample in samples}
    scores = score(predictions, truth, found.trial.rule, CLASSES, one_class=True)
    assert scores.f1_50 is not None
    assert scores.f1_50 > 0.5
