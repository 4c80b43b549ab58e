"""TensorBoard's files have each step once, also after an interruption, and training is unchanged."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.cli import harness
from harness.config.budget import Budget
from harness.config.preset import Training
from harness.contract import Predictions, Sample
from harness.data.dataset import Dataset
from harness.data.sources import load
from harness.errors import HarnessError
from harness.evaluation.schema import PostprocessRule
from harness.inference.formats.overlays import outlined
from harness.monitoring.progress import ProgressFile
from harness.results.status import Interrupted
from harness.tracking.tensorboard import PICTURES, EventFiles
from harness.training.stream import TrainingStream
from harness.training.trace import Trace
from harness.training.trainer import Trainer
from methods.shared import supervision

RULE = PostprocessRule(
    score_thresholds={"shsy5y": 0.5, "astro": 0.5, "cort": 0.5},
    min_areas={"shsy5y": 1, "astro": 1, "cort": 1},
    chosen_on="nothing",
)


@pytest.fixture(scope="module")
def trials() -> Dataset:
    return load("synthetic:images=6,size=32", cache=False)


class Guess:
    """Guesses the mean of an image."""

    def __init__(self) -> None:
        torch.manual_seed(7)
        self.module = nn.Sequential(nn.Flatten(), nn.Linear(32 * 32, 1))

    def losses(self, batch: Sequence[Sample]) -> dict[str, Tensor]:
        pixels = torch.stack([torch.from_numpy(s.image.copy()).float() / 255 for s in batch])
        guess = self.module(pixels + 0.01 * torch.rand_like(pixels))[:, 0]
        return {"guess": (guess - pixels.mean(dim=(1, 2))).square().mean(), "still": guess.square().mean()}

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[Predictions]:
        raise NotImplementedError


def trainer(trials: Dataset, folder: Path, budget: str = "12it", **more: Any) -> Trainer:
    folder.mkdir(exist_ok=True)
    model = Guess()
    torch.manual_seed(1)
    stream = TrainingStream(trials, [0, 1, 2, 3], [], supervision.build(None), 2, seed=0)  # type: ignore[arg-type]
    plan = Training(crop=32, batch=2, optimiser="adamw", learning_rate=0.01)
    more.setdefault("progress", ProgressFile())
    return Trainer(model, stream, plan, Budget.parse(budget), "cpu", folder, **more)  # type: ignore[arg-type]


def read(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
    return events.Reload()


def test_every_step_is_written_once_though_an_attempt_was_broken_off(trials: Dataset, tmp_path: Path) -> None:
    class StopAt(ProgressFile):
        def __init__(self, step: int) -> None:
            super().__init__()
            self.step = step

        def report(self, progress: Any) -> None:
            if progress.step >= self.step:
                self.request_stop()

    folder = tmp_path / "events"
    with pytest.raises(Interrupted):
        trainer(trials, tmp_path / "trial", progress=StopAt(4), on_losses=EventFiles(folder, 2).steps).run()
    killed = Trace()
    for step in range(7):  # an attempt that reached step 7 and was killed before it wrote a checkpoint
        killed.add(step + 1.0, 0.0, 0.5, {"guess": 99.0, "still": 99.0})
    time.sleep(1.1)  # TensorBoard reads files in the order of their names, which hold seconds
    EventFiles(folder, 2).steps(killed, 4)
    time.sleep(1.1)
    trace = trainer(trials, tmp_path / "trial", on_losses=EventFiles(folder, 2).steps).run()

    events = read(folder)
    assert set(events.Tags()["scalars"]) == {"loss/guess", "loss/still", "learning_rate", "images_per_second"}
    for tag, values in [("loss/guess", trace.losses["guess"]), ("learning_rate", trace.rate)]:
        assert [event.step for event in events.Scalars(tag)] == list(range(1, 13))
        assert np.allclose([event.value for event in events.Scalars(tag)], values)
    speeds = [event.value for event in events.Scalars("images_per_second")]
    assert np.isclose(speeds[-1], 2 * 11 / (trace.seconds[11] - trace.seconds[0]), rtol=1e-4)


def test_listening_changes_no_weight_and_is_off_the_clock(trials: Dataset, tmp_path: Path) -> None:
    heard: list[int] = []

    def slow(trace: Trace, before: int) -> None:
        heard.extend(range(before, len(trace)))
        time.sleep(0.05)

    quiet = trainer(trials, tmp_path / "quiet")
    quiet.run()
    watched = trainer(trials, tmp_path / "watched", on_losses=slow)
    trace = watched.run()
    assert heard == list(range(12))
    assert trace.used_seconds < 12 * 0.05 / 2
    for one, other in zip(quiet.model.module.parameters(), watched.model.module.parameters(), strict=True):
        assert torch.equal(one, other)


def test_pictures_show_what_the_rule_leaves(trials: Dataset, tmp_path: Path) -> None:
    def found(i: int, score: float) -> Predictions:
        masks = trials[i].instances.masks
        assert masks is not None
        scores = np.full(len(masks), score, np.float32)
        return Predictions(trials[i].size, masks, scores, np.zeros(len(masks), np.int64))

    predictions = {trials.ids[i]: found(i, 0.9 if i == 0 else 0.1) for i in range(6)}
    EventFiles(tmp_path, 2).pictures(40, trials, predictions, RULE)
    events = read(tmp_path)
    assert events.Tags()["images"] == [f"predictions/{image_id}" for image_id in trials.ids[:PICTURES]]
    for i in range(2):
        (event,) = events.Images(f"predictions/{trials.ids[i]}")
        assert event.step == 40
        import cv2

        picture = cv2.imdecode(np.frombuffer(event.encoded_image_string, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        grey = np.repeat(trials[i].image[..., None], 3, axis=2)
        if i == 0:
            assert (picture != grey).any()
        else:
            assert np.array_equal(picture, grey)
            assert not np.array_equal(picture, outlined(trials[i].image, found(i, 0.9)))


def test_without_the_package_one_line_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        "harness.tracking.tensorboard.find_spec", lambda name: None if name == "tensorboard" else real(name)
    )
    with pytest.raises(HarnessError, match="pip install tensorboard"):
        EventFiles(tmp_path, 2)
    words = ["run", "--methods", "mask_rcnn", "--preset", "smoke", "--tensorboard", "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(harness, words)
    assert (result.exit_code, result.output.count("\n")) == (2, 1)
    assert "pip install tensorboard" in result.output
    assert not (tmp_path / "run").exists()
