"""The phases of self-training: when it labels, what batches draw from, what a checkpoint keeps."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.conformance.images import draw_sample
from harness.contract import Predictions, Sample
from harness.masks.crops import CropMasks
from methods.self_training import SelfTrainingOptions
from methods.self_training.supervision import SelfTrainer


class Context:
    """A training of 100 steps that finds one cell on each image."""

    model: Any = None
    cells_per_image = (1.0,)
    seed = 0

    def __init__(self, step: int = 0, cells: int = 1) -> None:
        self.step, self.cells, self.predicted = step, cells, 0
        self.unlabelled = [draw_sample(0, (20, 20), seed) for seed in range(10)]

    def used(self) -> float:
        return self.step / 100 + self.predicted / 1000

    def predict(self, image: NDArray[np.uint8]) -> Predictions:
        self.predicted += 1
        boxes = [[2, 2, 9, 9]] * self.cells
        masks = CropMasks.from_crops(boxes, [np.ones((7, 7), bool)] * self.cells) if boxes else CropMasks.empty()
        return Predictions((20, 20), masks, np.full(self.cells, 0.8, np.float32), np.zeros(self.cells, np.int64))

    def evaluating(self) -> AbstractContextManager[None]:
        return nullcontext()


def learner(context: Context, **options: Any) -> SelfTrainer:
    return SelfTrainer(context, SelfTrainingOptions(**options))


def test_images_are_labelled_once_when_the_teachers_share_is_spent() -> None:
    context = Context(step=39)
    trainer = learner(context, flips=False)
    trainer.before_step()
    assert (trainer.pseudo, context.predicted) == (None, 0)
    context.step = 40
    trainer.before_step()
    assert trainer.pseudo is not None
    assert sorted(trainer.pseudo.instances) == list(range(10))
    assert len(trainer.notes) == 1
    assert "labelled 10 of 10 unlabelled images with 10 cells and 0 regions to be ignored" in trainer.notes[0]
    first = trainer.pseudo
    context.step = 60
    trainer.before_step()
    assert trainer.pseudo is first


def test_the_share_of_pseudo_labelled_images_falls_to_zero_at_the_end_of_the_budget() -> None:
    context = Context(step=40)
    trainer = learner(context, flips=False, pseudo_share=0.6)
    trainer.before_step()
    assert trainer.pseudo is not None
    # ten predictions took a hundredth of the budget, 59 steps are left
    assert (trainer.pseudo.first, trainer.pseudo.last) == (40, 99)
    assert [round(trainer.pseudo.share_at(step), 3) for step in (40, 99, 120)] == [0.6, 0, 0]
    assert trainer.pseudo.share_at(70) == pytest.approx(0.6 * 29 / 59)


def test_predicting_ends_with_its_share_of_the_budget() -> None:
    context = Context(step=40)
    learner(context, predict_share=0.006).before_step()
    assert context.predicted == 6, "two images, each with its two mirror images"


def test_no_cell_on_any_image_leaves_training_supervised() -> None:
    trainer = learner(Context(step=40, cells=0))
    trainer.before_step()
    assert trainer.pseudo is None
    assert trainer.notes == ["the teacher found no cell on 10 unlabelled images: no pseudo-labels"]


def test_a_checkpoint_keeps_the_labels() -> None:
    context = Context(step=40)
    trainer = learner(context)
    trainer.before_step()
    again = learner(Context(step=50))
    again.restore(trainer.state())
    assert trainer.pseudo is not None
    assert again.pseudo is not None
    assert (again.pseudo.share, again.pseudo.first, again.pseudo.last) == (0.5, 40, trainer.pseudo.last)
    for number, instances in trainer.pseudo.instances.items():
        stored = again.pseudo.instances[number]
        assert np.array_equal(stored.boxes, instances.boxes)
        assert np.array_equal(stored.masks.pixels, instances.masks.pixels)  # type: ignore[union-attr]
    untouched = learner(Context())
    untouched.restore(learner(Context()).state())
    assert (untouched.pseudo, untouched.has_labelled) == (None, False)


def test_losses_are_those_of_the_model() -> None:
    context = Context()
    seen: list[list[Sample]] = []
    context.model = type("Model", (), {"losses": lambda self, batch: seen.append(batch) or {"loss": 1}})()
    assert learner(context).losses(context.unlabelled[:2]) == {"loss": 1}
    assert seen == [context.unlabelled[:2]]
