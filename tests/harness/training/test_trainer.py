"""The training loop resumes bit for bit, splits batches without an effect on results, and stops in time."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.config.budget import Budget
from harness.config.preset import Training
from harness.contract import Predictions, Sample
from harness.data.dataset import Dataset
from harness.data.sources import load
from harness.errors import HarnessError
from harness.masks.crops import CropMasks
from harness.monitoring.energy import energy_used
from harness.monitoring.progress import Progress, ProgressFile
from harness.monitoring.sensor import Sensor, SensorGroup
from harness.results.status import Diverged, Interrupted
from harness.training import prefetch
from harness.training.checkpoint import WEIGHTS, load_weights, save_weights
from harness.training.checkpoint_files import newest_blob
from harness.training.clock import TrainingClock
from harness.training.stream import TrainingStream
from harness.training.trainer import Trainer
from methods.shared import supervision


@pytest.fixture(scope="module")
def cells() -> Dataset:
    return load("synthetic:images=4,size=32", cache=False)


class Brightness:
    """A model small enough to train in a test: guesses an image's mean from its pixels, with noise and a buffer."""

    def __init__(self, break_at: int | None = None) -> None:
        torch.manual_seed(7)
        self.module = nn.Sequential(nn.Flatten(), nn.Linear(32 * 32, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))
        self.calls, self.break_at = 0, break_at

    def losses(self, batch: Sequence[Sample]) -> dict[str, Tensor]:
        self.calls += 1
        pixels = torch.stack([torch.from_numpy(s.image.copy()).float() / 255 for s in batch])
        noise = 0.01 * (np.random.normal() + random.gauss(0, 1))  # every random generator that a method may use
        guess = self.module(pixels + noise * torch.rand_like(pixels))[:, 0]
        loss = (guess - pixels.mean(dim=(1, 2))).square().mean()
        if self.break_at is not None and self.calls >= self.break_at:
            loss = loss * float("nan")
        return {"guess": loss, "size": 1e-3 * self.module[3].weight.square().sum()}

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[Predictions]:
        nothing = (np.zeros(0, np.float32), np.zeros(0, np.int64))
        return [Predictions((i.shape[0], i.shape[1]), CropMasks.empty(), *nothing) for i in images]


class StopAfter(ProgressFile):
    """Asks to stop when so many steps are done."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def report(self, progress: Progress) -> None:
        if progress.step >= self.steps:
            self.request_stop()


def trainer(cells: Dataset, folder: Path, model: Any = None, budget: str = "30it", **more: Any) -> Trainer:
    folder.mkdir(exist_ok=True)
    model = model or Brightness()
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    stream = TrainingStream(cells, [0, 1, 2, 3], [], supervision.build(None), 4, seed=0)  # type: ignore[arg-type]
    plan = Training(crop=32, batch=4, optimiser="adamw", learning_rate=0.01, clip_norm=1.0)
    more.setdefault("progress", ProgressFile())
    return Trainer(model, stream, plan, Budget.parse(budget), "cpu", folder, **more)


def plainly(made: Trainer) -> Trainer:
    """With SGD: AdamW makes a whole step of a gradient that is rounding error."""
    made.training = made.training.model_copy(update={"optimiser": "sgd"})
    return made


def weights(model: Any) -> Tensor:
    return torch.cat([v.flatten().double() for v in model.module.state_dict().values()])


def test_resumed_is_bit_for_bit_uninterrupted(cells: Dataset, tmp_path: Path) -> None:
    quiet = Brightness()
    whole = trainer(cells, tmp_path / "quiet", quiet, evaluate=lambda: 0.5, curve_fractions=(0.5,)).run()
    for stop in (4, 11, 17):
        broken = trainer(
            cells, tmp_path / "broken", progress=StopAfter(stop), evaluate=lambda: 0.5, curve_fractions=(0.5,)
        )
        with pytest.raises(Interrupted):
            broken.run()
    last = Brightness()
    rest = trainer(cells, tmp_path / "broken", last, evaluate=lambda: 0.5, curve_fractions=(0.5,)).run()
    assert rest.losses == whole.losses
    assert rest.rate == whole.rate
    assert [(f, i, v) for f, _, i, v in rest.curve] == [(f, i, v) for f, _, i, v in whole.curve]
    assert torch.equal(weights(last), weights(quiet))
    assert len(rest) == 30


def test_checkpoints_by_the_clock_change_nothing(cells: Dataset, tmp_path: Path) -> None:
    often, never = Brightness(), Brightness()
    trainer(cells, tmp_path / "often", often, checkpoint_seconds=0).run()
    trainer(cells, tmp_path / "never", never).run()
    assert torch.equal(weights(often), weights(never))
    found = newest_blob(tmp_path / "often")
    assert found is not None
    assert found[0] == 30


def test_a_training_that_ended_is_not_trained_again(cells: Dataset, tmp_path: Path) -> None:
    """As when the run is killed between training and its record, also with time of the budget left."""
    first, again = Brightness(), Brightness()
    whole = trainer(cells, tmp_path, first, budget="0.2s").run()
    rest = trainer(cells, tmp_path, again, budget="0.2s").run()
    assert again.calls == 0
    assert rest.to_plain() == whole.to_plain()
    assert torch.equal(weights(again), weights(first))
    (tmp_path / WEIGHTS).write_bytes(b"\x00" * 100)
    with pytest.raises(HarnessError, match="does not fit this method; remove the folder"):
        trainer(cells, tmp_path).run()


def test_warm_up_leaves_no_trace(cells: Dataset, tmp_path: Path) -> None:
    model = Brightness()
    made = trainer(cells, tmp_path, model)
    from harness.training import optimiser

    made.optimiser = optimiser.build(model.module, made.training)
    before, random = weights(model), torch.get_rng_state()
    made._warm_up()
    assert model.calls > 0
    assert torch.equal(weights(model), before)
    assert torch.equal(torch.get_rng_state(), random)


def test_budget_in_seconds_ends_and_counts_only_training(cells: Dataset, tmp_path: Path) -> None:
    def slow() -> float:
        time.sleep(0.3)
        return 0.0

    trace = trainer(cells, tmp_path, budget="0.2s", evaluate=slow, curve_fractions=(0.3, 0.6)).run()
    assert len(trace.curve) == 2
    assert 0.2 <= trace.used_seconds < 0.45


class Watts(Sensor):
    """A sensor of a device that always draws 100 W."""

    def stop(self, seconds: float) -> dict[str, float]:
        return {"joules, GPU": 100 * seconds, "seconds of joules, GPU": seconds}


def test_energy_is_that_of_the_clock_also_when_resumed(cells: Dataset, tmp_path: Path) -> None:
    def slow() -> float:
        time.sleep(0.1)
        return 0.0

    looks: dict[str, Any] = {"evaluate": slow, "curve_fractions": (0.1, 0.4, 0.8)}
    for stop in (4, 11):
        with pytest.raises(Interrupted):
            trainer(cells, tmp_path, progress=StopAfter(stop), sensors=SensorGroup([Watts()]), **looks).run()
    trace = trainer(cells, tmp_path, sensors=SensorGroup([Watts()]), **looks).run()
    assert len(trace.curve) == 3
    joules, of = energy_used(trace.measured, trace.used_seconds)
    assert of == "GPU"
    # little time passes between the last step and the clock's stop; one evaluation would add ten joules
    assert joules == pytest.approx(100 * trace.used_seconds, abs=5)


def test_energy_of_a_training_that_was_measured_in_part_is_blank(cells: Dataset, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        trainer(cells, tmp_path, progress=StopAfter(15)).run()
    trace = trainer(cells, tmp_path, sensors=SensorGroup([Watts()])).run()
    assert trace.measured["joules, GPU"] > 0
    assert energy_used(trace.measured, trace.used_seconds) == (None, None)


def test_micro_batches_give_the_gradient_of_the_whole(cells: Dataset, tmp_path: Path) -> None:

    class Linear(Brightness):
        def __init__(self) -> None:
            super().__init__()
            self.module = nn.Sequential(nn.Flatten(), nn.Linear(32 * 32, 1))

        def losses(self, batch: Sequence[Sample]) -> dict[str, Tensor]:
            pixels = torch.stack([torch.from_numpy(s.image.copy()).float() / 255 for s in batch])
            return {"guess": (self.module(pixels)[:, 0] - pixels.mean(dim=(1, 2))).square().mean()}

    whole, parts = Linear(), Linear()
    one, four = [
        # in float32: bfloat16 rounds a batch of one differently from one of four
        plainly(trainer(cells, tmp_path / str(n), model, budget="5it", micro_batches=n, precision="float32")).run()
        for n, model in ((1, whole), (4, parts))
    ]
    assert np.allclose(one.losses["guess"], four.losses["guess"], rtol=1e-5)
    assert torch.allclose(weights(whole), weights(parts), atol=1e-6)


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_the_forward_pass_computes_in_the_precision_that_was_asked_for(
    cells: Dataset, tmp_path: Path, precision: Any, dtype: torch.dtype
) -> None:
    model = Brightness()
    seen: set[torch.dtype] = set()
    model.module[1].register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))
    trainer(cells, tmp_path, model, budget="2it", precision=precision).run()
    assert seen == {dtype}


def test_a_loss_that_is_not_finite_ends_it(cells: Dataset, tmp_path: Path) -> None:
    with pytest.raises(Diverged, match="guess is nan at step 5"):
        trainer(cells, tmp_path, Brightness(break_at=6)).run()  # a pass of warm-up comes before


def test_a_method_that_learns_nothing_is_not_trained(cells: Dataset, tmp_path: Path) -> None:
    class Fixed(Brightness):
        def __init__(self) -> None:
            super().__init__()
            self.module = nn.Module()  # type: ignore[assignment]

    assert len(trainer(cells, tmp_path, Fixed()).run()) == 0
    assert (tmp_path / WEIGHTS).is_file()


class Counts(Brightness):
    """Learns nothing: counts the training images that it is shown."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__()
        self.module = nn.Module()  # type: ignore[assignment]
        self.module.register_buffer("images", torch.tensor(0))
        self.seconds = seconds

    def fit(self, samples: Iterable[Sample]) -> None:
        for _ in samples:
            self.module.images += 1
            time.sleep(self.seconds)


def test_a_method_that_learns_nothing_sees_each_training_image_once_and_does_no_step(
    cells: Dataset, tmp_path: Path
) -> None:
    model = Counts(seconds=0.02)
    trace = trainer(cells, tmp_path, model).run()
    assert (len(trace), int(model.module.images)) == (0, len(cells))
    assert 0.02 * len(cells) <= trace.used_seconds < 1, "the time it takes is training time"
    stored = Counts()
    load_weights(tmp_path, stored.module)
    assert int(stored.module.images) == len(cells)


@pytest.mark.parametrize(("budget", "images"), [("0.5it", 2), ("0.05s", 1), ("0.5ep", 2)])
def test_a_method_that_learns_nothing_keeps_the_budget(
    cells: Dataset, tmp_path: Path, budget: str, images: int
) -> None:
    model = Counts(seconds=0.1 if budget.endswith("s") else 0)
    trainer(cells, tmp_path, model, budget).run()
    assert int(model.module.images) == images


def test_a_method_that_learns_nothing_stops_when_asked(cells: Dataset, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        trainer(cells, tmp_path, Counts(), progress=StopAfter(0)).run()


def test_a_checkpoint_of_another_network_is_refused(cells: Dataset, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        trainer(cells, tmp_path, progress=StopAfter(3)).run()
    other = Brightness()
    other.module[3] = nn.Linear(8, 2)
    with pytest.raises(HarnessError, match="does not fit this method"):
        trainer(cells, tmp_path, other).run()


def test_weights_travel_in_a_file(tmp_path: Path) -> None:
    first, second = Brightness(), Brightness()
    with torch.no_grad():
        second.module[1].weight.zero_()
    save_weights(tmp_path, first.module)
    load_weights(tmp_path, second.module)
    assert torch.equal(weights(first), weights(second))
    with pytest.raises(HarnessError, match="run it again"):
        load_weights(tmp_path / "none", second.module)
    (tmp_path / "weights.safetensors").write_bytes(b"\x00" * 100)
    with pytest.raises(HarnessError, match="does not fit"):
        load_weights(tmp_path, second.module)


def test_the_makers_of_batches_start_before_the_clock(
    cells: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    start, made = TrainingClock.start, prefetch.prefetched
    monkeypatch.setattr(TrainingClock, "start", lambda clock: (order.append("clock"), start(clock)))
    monkeypatch.setattr("harness.training.trainer.prefetched", lambda *a: (order.append("batches"), made(*a))[1])
    trainer(cells, tmp_path, budget="2it").run()
    assert order[:2] == ["batches", "clock"]


def test_an_interrupted_evaluation_does_not_change_the_resumed_training(cells: Dataset, tmp_path: Path) -> None:
    def draw() -> float:
        torch.rand(3), np.random.rand(3), random.random()
        return 0.5

    def interrupted() -> float:
        draw()
        raise Interrupted("stopped during an evaluation")

    quiet, last = Brightness(), Brightness()
    whole = trainer(cells, tmp_path / "quiet", quiet, evaluate=draw, curve_fractions=(0.5,)).run()
    with pytest.raises(Interrupted, match="during an evaluation"):
        trainer(cells, tmp_path / "broken", evaluate=interrupted, curve_fractions=(0.5,)).run()
    rest = trainer(cells, tmp_path / "broken", last, evaluate=draw, curve_fractions=(0.5,)).run()
    assert rest.losses == whole.losses
    assert len(rest.curve) == 1
    assert torch.equal(weights(last), weights(quiet))


class Evaluation:
    """An evaluation of ten images with a fake clock, during a training of 100 s."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
        self.seconds, self.now, self.begun = seconds, 0.0, 0
        self.trainer: Trainer | None = None
        monkeypatch.setattr("harness.training.trainer.time.monotonic", lambda: self.now)
        monkeypatch.setattr("harness.training.trainer.MIN_EVALUATION_SECONDS", 0.0)
        monkeypatch.setattr(TrainingClock, "seconds", property(lambda clock: self.trained()))

    def trained(self) -> float:
        return 100.0 * self.trainer.step / 30 if self.trainer else 0.0

    def __call__(self) -> float:
        assert self.trainer is not None
        self.begun += 1
        for _ in range(10):
            self.now += self.seconds / 10
            self.trainer.check_evaluation_time()
        return 0.5

    def of(self, made: Trainer) -> Trainer:
        self.trainer = made
        made.evaluate, made.curve_fractions = self, FIVE
        return made


FIVE = (0.1, 0.3, 0.5, 0.7, 0.9)


@pytest.mark.parametrize(("seconds", "points"), [(1.0, 5), (3.0, 3), (6.0, 1), (11.0, 0)])
def test_evaluations_take_a_tenth_of_the_training_at_most(
    cells: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, points: int
) -> None:
    evaluation = Evaluation(monkeypatch, seconds)
    trace = evaluation.of(trainer(cells, tmp_path)).run()
    assert len(trace.curve) == points
    assert trace.measured.get("evaluation, left out", 0) == len(FIVE) - points
    assert trace.measured["evaluation, seconds"] == pytest.approx(evaluation.now)
    # one image too many: the time is checked after each image
    assert evaluation.now <= 10.0 + seconds / 10 + 1e-6
    assert len(trace) == 30


def test_an_evaluation_that_cannot_fit_is_not_begun_again(
    cells: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluation = Evaluation(monkeypatch, 11.0)
    evaluation.of(trainer(cells, tmp_path)).run()
    assert evaluation.begun == 1


def test_points_that_were_left_out_stay_so_when_resumed(
    cells: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluation = Evaluation(monkeypatch, 6.0)
    with pytest.raises(Interrupted):
        evaluation.of(trainer(cells, tmp_path, progress=StopAfter(18))).run()
    trace = evaluation.of(trainer(cells, tmp_path)).run()
    assert len(trace.curve) == 1
    assert trace.measured["evaluation, left out"] == 4
