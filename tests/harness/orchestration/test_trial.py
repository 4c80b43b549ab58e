"""A whole trial in this process, with a method that trains in a second."""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from harness.catalog import load_catalog
from harness.config.preset import load_preset
from harness.config.trial_spec import TrialSpec
from harness.conformance.images import draw_sample
from harness.contract import Init
from harness.evaluation.prediction_file import PREDICTIONS, read_predictions
from harness.inference.grid import TilingPolicy
from harness.monitoring.progress import Progress, ProgressFile
from harness.orchestration.plan import Contender
from harness.orchestration.plan_from_data import plan_trials
from harness.orchestration.prepared_data import PreparedData
from harness.orchestration.trial.work import Trial
from harness.results.schema import RunRecord
from harness.results.status import Interrupted
from harness.stacks import resolve

ADAPTER = Path(__file__).parents[2] / "helpers" / "brightness_method.py"
QUICK = "learning_rate = 1e-3", "learning_rate = 5e-2"
FEW = "validation = 0.25", "validation = 0.5\ncurve_fractions = [1.0]\ncurve_images = 2"


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> TrialSpec:
    """A trial that is evaluated once during training, at the end, on two of its six validation images."""
    folder = tmp_path_factory.mktemp("trial")
    text = (Path(load_preset.__code__.co_filename).parent / "presets" / "smoke.toml").read_text("utf-8")
    for old, new in (QUICK, FEW):
        assert text.count(old) == 1
        text = text.replace(old, new)
    preset = folder / "few.toml"
    preset.write_text(text)
    contender = Contender(
        resolve(load_catalog([ADAPTER]), "brightness", "small", Init("scratch")), load_preset(str(preset)), "150it"
    )
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
    for seed in range(12):
        sample = draw_sample(3 + seed % 4, size=(96, 96), seed=seed)
        assert sample.instances.masks is not None
        labels = sum(plane * np.uint8(i + 1) for i, plane in enumerate(sample.instances.masks.planes(*sample.size)))
        cv2.imwrite(str(folder / "images" / f"{seed}.png"), sample.image)
        cv2.imwrite(str(folder / "labels" / f"{seed}.png"), np.asarray(labels))
    (trial,) = plan_trials([contender], [0], [f"folder:{folder}/images,{folder}/labels"]).trials
    return trial.spec


@pytest.fixture(scope="module")
def record(spec: TrialSpec, tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    return Trial(spec, tmp_path_factory.mktemp("record"), ProgressFile()).run()


def test_all_points_of_a_learning_curve_are_of_the_same_few_images(record: RunRecord) -> None:
    assert record.scores is not None
    assert len(record.scores.by_image) == 6
    assert [point.fraction for point in record.learning_curve] == [1.0, 1.0]
    last, end = (point.iou_map for point in record.learning_curve)
    assert last == end > 0, "the last evaluation is of the model at the end of the curve"
    assert end != record.scores.iou_map


def test_the_cost_says_what_was_measured_over_the_training_clock(record: RunRecord) -> None:
    cost = record.cost
    assert (cost.energy_joules is None) == (cost.energy_of is None)
    assert cost.energy_joules is None or cost.energy_joules > 0
    assert cost.data_wait_seconds is not None
    assert 0 <= cost.data_wait_seconds <= cost.train_seconds
    assert all("during training" in note or "of its periods" in note for note in cost.notes)


def test_the_cost_says_how_long_was_predicted_and_scored(record: RunRecord) -> None:
    cost = record.cost
    assert cost.evaluation_seconds is not None
    assert cost.inference_ms_per_image is not None
    # two images for the learning curve, then all nine of both splits at the end
    assert cost.evaluation_seconds > 9 * cost.inference_ms_per_image / 1000
    assert cost.flops == 0, "the brightness method multiplies no matrix when it predicts"


@pytest.fixture
def tiny_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if images of 96 x 96 were large: a core of 64 pixels with its margins."""
    monkeypatch.setattr(
        TilingPolicy,
        "of",
        staticmethod(lambda preset, cell: TilingPolicy(1.0, {}, 1, tile=1, whole_pixels=96 * 96 - 1)),
    )
    monkeypatch.setattr("harness.inference.grid.ALIGN", 16)
    monkeypatch.setattr("harness.inference.grid.SMALLEST_CORE", 32)


def test_large_images_are_predicted_in_tiles_and_the_record_says_so(
    spec: TrialSpec, record: RunRecord, tmp_path: Path, tiny_tiles: None
) -> None:
    assert not any("tiles" in note for note in record.cost.notes)
    assert record.cost.flops_at == "one image of 96x96"
    found = Trial(spec, tmp_path, ProgressFile()).run()
    assert "large images were predicted in tiles of 64 pixels, which overlap" in found.cost.notes
    assert found.cost.flops_at == "one tile of 48x48"
    assert found.scores is not None
    assert record.scores is not None
    assert found.scores.iou_map > record.scores.iou_map / 2


def test_a_method_is_told_of_tiles_where_images_are_predicted_in_tiles(
    spec: TrialSpec, tmp_path: Path, tiny_tiles: None
) -> None:
    task = Trial(spec, tmp_path, ProgressFile()).task
    assert task.max_size == (64, 64)
    assert 1 <= task.max_cells <= 6


class StopsInTheFirstEvaluation(ProgressFile):
    """Asks to stop as soon as validation images are predicted; remembers when, and what was reported."""

    def __init__(self) -> None:
        super().__init__()
        self.asked_at: float | None = None
        self.reported: list[Progress] = []

    def report(self, progress: Progress) -> None:
        super().report(progress)
        self.reported.append(progress)
        if progress.phase == "validating" and self.asked_at is None:
            self.asked_at = time.monotonic()
            self.request_stop()


def test_a_request_to_stop_works_during_an_evaluation_and_the_resumed_training_is_unchanged(
    spec: TrialSpec, record: RunRecord, tmp_path: Path
) -> None:
    progress = StopsInTheFirstEvaluation()
    with pytest.raises(Interrupted):
        Trial(spec, tmp_path, progress).run()
    assert progress.asked_at is not None
    assert time.monotonic() - progress.asked_at < 2
    again = Trial(spec, tmp_path, ProgressFile()).run()
    assert (again.final_losses, again.scores) == (record.final_losses, record.scores)
    assert [point.iou_map for point in again.learning_curve] == [point.iou_map for point in record.learning_curve]


def test_an_evaluation_keeps_the_fraction_of_the_budget(spec: TrialSpec, tmp_path: Path) -> None:
    progress = StopsInTheFirstEvaluation()
    with pytest.raises(Interrupted):
        Trial(spec, tmp_path, progress).run()
    look = next(i for i, one in enumerate(progress.reported) if one.phase == "validating")
    assert progress.reported[look].fraction == progress.reported[look - 1].fraction > 0.9


def test_the_record_says_what_precision_was_asked_for_and_used(spec: TrialSpec, tmp_path: Path) -> None:
    one = spec.model_copy(update={"precision": "bfloat16", "budget": "2it"})
    found = Trial(one, tmp_path, ProgressFile()).run()
    assert (found.settings["precision"], found.machine["arithmetic"]) == ("bfloat16", "bfloat16")


def test_the_notes_of_a_model_stand_in_the_record(spec: TrialSpec, tmp_path: Path) -> None:
    trial = Trial(spec.model_copy(update={"budget": "2it"}), tmp_path, ProgressFile())
    trial.model.notes = ["It runs uncompiled."]  # type: ignore[attr-defined]
    assert "It runs uncompiled." in trial.run().cost.notes


@pytest.mark.parametrize(("budget", "limit"), [("90s", 90.0), ("20m", 1200.0), ("2it", 300.0)])
def test_compiling_takes_no_longer_than_the_budget(
    spec: TrialSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget: str, limit: float
) -> None:
    kind = type(Trial(spec, tmp_path, ProgressFile()).model)
    monkeypatch.setattr(kind, "compile_limit", 300.0, raising=False)
    trial = Trial(spec.model_copy(update={"budget": budget}), tmp_path, ProgressFile())
    assert trial.model.compile_limit == limit  # type: ignore[attr-defined]


def test_a_trial_scored_on_calibration_images_never_meets_a_validation_image(
    spec: TrialSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    met: set[str] = set()
    samples, truth = PreparedData.samples, PreparedData.truth
    monkeypatch.setattr(PreparedData, "samples", lambda data, ids: met.update(ids) or samples(data, ids))
    monkeypatch.setattr(PreparedData, "truth", lambda data, ids: met.update(ids) or truth(data, ids))
    trial = Trial(spec.model_copy(update={"score_on": "calibration"}), tmp_path, ProgressFile())
    found = trial.run()
    assert met == set(trial.data.splits.calibration)
    assert found.scores is not None
    assert set(found.scores.by_image) == set(trial.data.splits.calibration)
    assert set(read_predictions(tmp_path / PREDICTIONS).splits) == {"calibration"}
    assert found.settings["score_on"] == "calibration"


def test_a_trial_behind_earlier_ones_is_stopped_early_and_says_how_far_it_came(spec: TrialSpec, tmp_path: Path) -> None:
    evaluation = spec.preset.evaluation.model_copy(update={"curve_fractions": (0.25, 0.5)})
    preset = spec.preset.model_copy(update={"evaluation": evaluation})
    told = spec.model_copy(update={"score_on": "calibration", "preset": preset, "earlier_looks": ((0.9, 0.95),)})
    found = Trial(told, tmp_path, ProgressFile()).run()
    assert (found.status, found.scores) == ("pruned", None)
    assert found.reason == "stopped at 25% of the budget: behind earlier trials"
    assert [point.fraction for point in found.learning_curve] == [pytest.approx(0.25, abs=0.02)]
    assert 0 < found.cost.iterations < 50
    first = Trial(told.model_copy(update={"earlier_looks": ()}), tmp_path / "first", ProgressFile())
    first.folder.mkdir()
    assert first.run().status == "ok"
