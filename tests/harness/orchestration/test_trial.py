"""A trial worked through in this process, by a method that trains in a second."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from harness.catalog import find
from harness.cli.run import _plan
from harness.config.preset import load
from harness.conformance.images import draw_sample
from harness.contract import Init
from harness.monitoring.progress import ProgressPipe
from harness.orchestration.plan import Contender
from harness.orchestration.trial import perform
from harness.results.schema import RunRecord
from harness.stacks import resolve

ADAPTER = Path(__file__).parents[2] / "helpers" / "brightness_method.py"
QUICK = "learning_rate = 1e-3", "learning_rate = 5e-2"
FEW = "validation = 0.25", "validation = 0.5\ncurve_fractions = [1.0]\ncurve_images = 2"


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    """Of a method that is looked at when its budget ends, on two of its six validation images."""
    folder = tmp_path_factory.mktemp("trial")
    text = (Path(load.__code__.co_filename).parent / "presets" / "smoke.toml").read_text()
    for old, new in (QUICK, FEW):
        assert text.count(old) == 1
        text = text.replace(old, new)
    preset = folder / "few.toml"
    preset.write_text(text)
    entrant = Contender(resolve(find([ADAPTER]), "brightness", "small", Init("scratch")), load(str(preset)), "150it")
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
    for seed in range(12):
        sample = draw_sample(3 + seed % 4, size=(96, 96), seed=seed)
        assert sample.instances.masks is not None
        labels = sum(plane * np.uint8(i + 1) for i, plane in enumerate(sample.instances.masks.planes(*sample.size)))
        cv2.imwrite(str(folder / "images" / f"{seed}.png"), sample.image)
        cv2.imwrite(str(folder / "labels" / f"{seed}.png"), np.asarray(labels))
    (trial,) = _plan([entrant], [0], [f"folder:{folder}/images,{folder}/labels"], skip_bad=False).trials
    return perform(trial.spec, folder, ProgressPipe())


def test_all_points_of_a_learning_curve_are_of_the_same_few_images(record: RunRecord) -> None:
    assert record.scores is not None
    assert len(record.scores.by_image) == 6
    assert [point.fraction for point in record.learning_curve] == [1.0, 1.0]
    last, end = (point.iou_map for point in record.learning_curve)
    assert last == end > 0, "the last look is of the model that the curve ends with"
    assert end != record.scores.iou_map


def test_the_cost_says_what_was_measured_over_the_training_clock(record: RunRecord) -> None:
    cost = record.cost
    assert (cost.energy_joules is None) == (cost.energy_of is None)
    assert cost.energy_joules is None or cost.energy_joules > 0
    assert cost.data_wait_seconds is not None
    assert 0 <= cost.data_wait_seconds <= cost.train_seconds
    assert all("during training" in note or "time slices" in note for note in cost.notes)


def test_the_cost_says_how_long_was_predicted_and_scored(record: RunRecord) -> None:
    cost = record.cost
    assert cost.evaluation_seconds is not None
    assert cost.inference_ms_per_image is not None
    # two looks at the curve's images, and all nine of both parts at the end
    assert cost.evaluation_seconds > 9 * cost.inference_ms_per_image / 1000
    assert cost.flops == 0, "the brightness method multiplies no matrix when it predicts"
