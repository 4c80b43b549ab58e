"""What the supervision of a training that learns from unlabelled images is given: the model, the images, the budget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harness.contract import Learner, Model, Predictions
from harness.data.unlabelled import UnlabelledImages
from harness.inference.scaled import ScaledModel
from harness.orchestration.prepared_data import PreparedData
from harness.results.status import Interrupted
from harness.training.device import autocast, random_state, restore_random_state
from harness.training.stream import TrainingStream
from harness.training.trainer import Trainer


def add_learner(trainer: Trainer, unlabelled: UnlabelledImages, cells_per_image: Sequence[float], seed: int) -> Learner:
    """Have the trainer learn from unlabelled images too, as the supervision of its stream does it."""
    stream, context = trainer.stream, LearnerContext(trainer, unlabelled, cells_per_image, seed)
    assert isinstance(stream, TrainingStream)
    supervision: Any = stream.labeller
    learner: Learner = supervision.learner(context)
    stream.unlabelled = unlabelled
    stream.unlabelled_size = round(stream.batch_size * learner.unlabelled_ratio)
    trainer.learner = learner
    return learner


def mean_cells(data: PreparedData) -> tuple[float, ...]:
    """Mean number of cells on a labelled training image, by class, without crowd regions."""
    counts = np.zeros(len(data.dataset.classes))
    for sample in data.samples(data.splits.train):
        cells = sample.instances
        labels = cells.labels if cells.crowd is None else cells.labels[~cells.crowd]
        counts += np.bincount(labels, minlength=len(counts))
    return tuple((counts / len(data.splits.train)).tolist())


@dataclass(frozen=True)
class LearnerContext:
    """The `TrainingContext` of a trainer."""

    trainer: Trainer
    unlabelled: UnlabelledImages
    cells_per_image: Sequence[float]
    seed: int

    @property
    def model(self) -> Model:
        found = self.trainer.model
        return found.model if isinstance(found, ScaledModel) else found

    @property
    def step(self) -> int:
        return self.trainer.step

    def used(self) -> float:
        return self.trainer.used()

    def predict(self, image: NDArray[np.uint8]) -> Predictions:
        if self.trainer.progress.stop_requested():
            raise Interrupted("stopped while unlabelled images were predicted; the training so far is kept")
        with self.evaluating():
            return self.trainer.model.predict([image])[0]

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        module, device = self.trainer.model.module, self.trainer.device
        random = random_state(device)
        module.eval()
        try:
            with torch.no_grad(), autocast(device, self.trainer.precision, keep_cast=False):
                yield
        finally:
            module.train()
            restore_random_state(random, device)
