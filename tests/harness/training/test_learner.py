"""A training that learns from unlabelled images: batches, micro-batches, resuming, and none of it without them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harness.config.budget import Budget
from harness.config.preset import Training
from harness.contract import Instances, PointPredictions, PseudoLabels, Sample
from harness.data.dataset import Dataset
from harness.data.sources import load
from harness.data.unlabelled import UnlabelledImages
from harness.monitoring.progress import Progress, ProgressFile
from harness.orchestration.learning import LearnerContext
from harness.results.status import Interrupted
from harness.training.checkpoint import load_weights
from harness.training.device import autocast
from harness.training.stream import TrainingStream
from harness.training.trainer import Trainer
from harness.transforms.flips import RandomFlip
from methods.mean_teacher import MeanTeacherOptions
from methods.mean_teacher.average import WeightAverage
from methods.mean_teacher.supervision import MeanTeacherLearner
from methods.shared import supervision


@pytest.fixture(scope="module")
def cells() -> Dataset:
    return load("synthetic:images=6,size=32", cache=False)


class Model:
    """Guesses the mean of an image and how many cells it has."""

    def __init__(self) -> None:
        torch.manual_seed(7)
        self.module = nn.Sequential(nn.Flatten(), nn.Linear(32 * 32, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))

    def losses(self, batch: Sequence[Sample]) -> dict[str, Tensor]:
        pixels = torch.stack([torch.from_numpy(s.image.copy()).float() / 255 for s in batch])
        guess = self.module(pixels + 0.01 * torch.rand_like(pixels))
        counts = torch.tensor([len(sample.instances) / 10 for sample in batch])
        return {
            "mean": (guess[:, 0] - pixels.mean(dim=(1, 2))).square().mean(),
            "count": (guess[:, 1] - counts).abs().mean(),
        }

    def predict(self, images: Any) -> Any:
        raise AssertionError

    def predict_points(self, images: Sequence[Any], count: int, rng: np.random.Generator) -> Any:
        torch.rand(3)  # a network may draw numbers
        box, points = np.array([[2, 2, 9, 9]], np.float32), rng.random((1, count, 2)).astype(np.float32) * 9
        found = PointPredictions(box, np.ones(1, np.float32), np.zeros(1, np.int64), points, points[..., 0] / 9)
        return [found] * len(images)


class Labels:
    """Labels two images after `at` steps. Its losses are the model's on all images that have labels."""

    unlabelled_ratio = 1.0
    notes = ()

    def __init__(self, model: Model, at: int, images: Mapping[int, Instances]) -> None:
        self.model, self.at, self.images, self.pseudo = model, at, images, None
        self.steps, self.seen = 0, []

    def before_step(self) -> None:
        if self.steps == self.at:
            self.pseudo = PseudoLabels(self.images, 1.0, self.at, self.at + 8)

    def losses(self, batch: Sequence[Sample]) -> dict[str, Tensor]:
        self.seen.append([(sample.image_id, sample.labelled, len(sample.instances)) for sample in batch])
        return self.model.losses([sample for sample in batch if sample.labelled or len(sample.instances)])

    def after_step(self) -> None:
        self.steps += 1

    def state(self) -> Mapping[str, Any]:
        return {"steps": self.steps}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.steps = state["steps"]
        if self.steps >= self.at:
            self.pseudo = PseudoLabels(self.images, 1.0, self.at, self.at + 8)


class StopAfter(ProgressFile):
    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def report(self, progress: Progress) -> None:
        if progress.step >= self.steps:
            self.request_stop()


def trainer(cells: Dataset, folder: Path, budget: str = "12it", **more: Any) -> Trainer:
    folder.mkdir(exist_ok=True)
    model = Model()
    torch.manual_seed(1)
    stream = TrainingStream(cells, [0, 1, 2, 3], [RandomFlip()], supervision.FullMasks(), 2, seed=3)
    stream.unlabelled = UnlabelledImages(((cells, 4), (cells, 5)))
    training = Training(crop=32, batch=2, learning_rate=0.05)
    return Trainer(model, stream, training, Budget.parse(budget), "cpu", folder, **{"progress": ProgressFile(), **more})


def with_labels(made: Trainer, cells: Dataset, at: int = 4) -> Labels:
    labels = Labels(made.model, at, {0: cells[4].instances, 1: cells[5].instances})  # type: ignore[arg-type]
    made.learner = labels  # type: ignore[assignment]
    made.stream.unlabelled_size = 2
    return labels


def weights(folder: Path) -> dict[str, Tensor]:
    module = Model().module
    load_weights(folder, module)
    return module.state_dict()


def equal(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def test_unlabelled_images_come_last_and_have_no_cells(cells: Dataset, tmp_path: Path) -> None:
    made = trainer(cells, tmp_path, "2it")
    labels = with_labels(made, cells)
    made.run()
    for batch in labels.seen:
        assert [labelled for _, labelled, _ in batch] == [True, True, False, False]
        assert [count for _, _, count in batch[2:]] == [0, 0]
        assert {name for name, _, _ in batch[2:]} == {cells.ids[4], cells.ids[5]}
    assert made.stream.iterations_per_epoch == 1, "two labelled and two unlabelled images of four"


def test_new_labels_are_in_the_very_next_batch_and_fade(cells: Dataset, tmp_path: Path) -> None:
    made = trainer(cells, tmp_path)
    labels = with_labels(made, cells)
    made.run()
    # the first was the warm-up
    pseudo = [sum(not labelled for _, labelled, _ in batch[:2]) for batch in labels.seen[1:]]
    assert pseudo[:4] == [0] * 4
    assert pseudo[4] == 2
    assert sum(pseudo[8:12]) < sum(pseudo[4:8])


def test_a_resumed_training_equals_one_that_was_never_stopped(cells: Dataset, tmp_path: Path) -> None:
    whole = trainer(cells, tmp_path / "whole")
    with_labels(whole, cells)
    whole.run()
    stopped = trainer(cells, tmp_path / "stopped", progress=StopAfter(7))
    with_labels(stopped, cells)
    with pytest.raises(Interrupted):
        stopped.run()
    resumed = trainer(cells, tmp_path / "stopped")
    labels = with_labels(resumed, cells)
    resumed.run()
    assert labels.steps == 12
    assert equal(weights(tmp_path / "whole"), weights(tmp_path / "stopped"))


def test_every_part_of_a_batch_has_a_labelled_image(cells: Dataset, tmp_path: Path) -> None:
    made = trainer(cells, tmp_path, "1it", micro_batches=4)
    model: Any = made.model
    model.module[2] = nn.Identity()
    labels = with_labels(made, cells)
    made.run()
    assert all(any(labelled for _, labelled, _ in part) for part in labels.seen)
    assert [len(part) for part in labels.seen] == [2, 2, 2, 2], "warm-up and one step, in two parts each"


@pytest.mark.parametrize(("threshold", "same"), [(1.01, True), (0.5, False)])
def test_a_threshold_above_1_gives_exactly_the_supervised_run(
    threshold: float, same: bool, cells: Dataset, tmp_path: Path
) -> None:
    trainer(cells, tmp_path / "supervised").run()
    made = trainer(cells, tmp_path / "taught")
    context = LearnerContext(made, made.stream.unlabelled, (1.0,), 3)  # type: ignore[arg-type]
    made.learner = MeanTeacherLearner(context, MeanTeacherOptions(threshold=threshold, start=0.1))
    made.stream.unlabelled_size = 2
    trace = made.run()
    assert equal(weights(tmp_path / "supervised"), weights(tmp_path / "taught")) == same
    assert ("unlabelled_count" in trace.losses) != same


def test_an_average_in_place_of_the_weights_is_used_in_bfloat16_too(cells: Dataset, tmp_path: Path) -> None:
    """Autocast keeps the weights that it has cast, also of the network that the average takes the place of."""
    made = trainer(cells, tmp_path, precision="bfloat16")
    module = made.model.module.eval()
    context = LearnerContext(made, made.stream.unlabelled, (1.0,), 3)  # type: ignore[arg-type]
    average, x = WeightAverage(module, 0.9), torch.rand(2, 32, 32)
    with context.evaluating():
        wanted = module(x)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 1
    module.eval()
    with autocast("cpu", "bfloat16"):
        before = module(x)
        with context.evaluating(), average.in_place_of_weights():
            taught = module(x)
        after = module.eval()(x)
    assert torch.equal(taught, wanted)
    assert torch.equal(before, after)
    assert not torch.equal(before, taught)
