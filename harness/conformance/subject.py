"""A method under test: its recipe at size "small", built and trained as in a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.catalog import Catalog
from harness.config.preset import load_preset
from harness.conformance.images import draw_sample
from harness.contract import Augment, Init, Method, Model, Predictions, Recipe, Sample, Task, init_part
from harness.errors import HarnessError
from harness.stacks import resolve

if TYPE_CHECKING:
    import torch

    from harness.training.stream import TrainingStream

PRESET = "smoke"
"""The preset whose optimiser is used."""

LEARNING_RATES = (1e-3, 2e-3, 3e-3, 3e-4)
"""Learning rates of `overfits_one_batch`, tried in turn until one halves the loss."""

STEPS = 30
"""Training steps of `overfits_one_batch`."""

MAX_CELLS = 20
"""Most cells on an image, as the task says. What a model may find, and so the time to predict, grows with it."""


class Violation(AssertionError):  # noqa: N818 - the word that users read
    """A method breaks the contract."""


def require(condition: bool, violation: str) -> None:
    """Raise Violation(violation) unless the condition holds."""
    if not condition:
        raise Violation(violation)


class _SampleImages:
    """Samples in memory with the interface that a training stream reads."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = samples
        self.ids = tuple(sample.image_id for sample in samples)
        self.cell_types = tuple(sample.cell_type for sample in samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]


def make_task(classes: Sequence[str], settings: Mapping[str, Any], seed: int = 0, max_cells: int = MAX_CELLS) -> Task:
    """The task of a data set with images of harness.conformance.images. settings: a [model] table."""
    return Task(
        classes=tuple(classes),
        pixel_mean=(110.0, 110.0, 110.0),
        pixel_std=(40.0, 40.0, 40.0),
        crop=64,
        max_cells=max_cells,
        max_size=(160, 160),
        seed=seed,
        device="cpu",
        settings=settings,
        cell_diameter=22.0,
    )


@dataclass
class Subject:
    """A method alone, changing the baseline, at size "small".

    name: of the stack, in one spelling. samples: four images with eight cells each.
    """

    name: str
    method: Method
    recipe: Recipe
    samples: tuple[Sample, ...] = field(default_factory=lambda: tuple(draw_sample(8, (80, 90), i) for i in range(4)))

    @staticmethod
    def from_catalog(catalog: Catalog, name: str) -> Subject:
        """The method of that name, trained from scratch: a check downloads nothing."""
        resolved = resolve(catalog, name, "small", Init("scratch"))
        recipe = resolved.recipe
        if recipe.init.find_weights:
            recipe = recipe.with_parts(init=init_part("scratch"))
        return Subject(resolved.name, resolved.methods[-1], recipe)

    @property
    def finds_weights(self) -> bool:
        """Whether the method is an init whose weights are found when a run is planned."""
        return "init" in self.method.parts and bool(self.method.parts["init"].find_weights)

    def task(self, classes: int = 1, seed: int = 0, max_cells: int = MAX_CELLS) -> Task:
        """The task of that many classes, with the settings that the engine names for checks."""
        settings = {} if self.recipe.engine.settings is None else self.recipe.engine.settings.for_checks
        return make_task([f"class {i}" for i in range(classes)], settings, seed, max_cells)

    def build(self, classes: int = 1, seed: int = 0, max_cells: int = MAX_CELLS) -> Model:
        """A new model on the CPU, from scratch, in training mode."""
        from harness.training.device import seed as seed_all

        seed_all(seed, deterministic=False)
        model: Model = self.recipe.engine.build(self.recipe, self.task(classes, seed, max_cells))
        model.module.train()
        return model

    @cached_property
    def learns(self) -> bool:
        """Whether the model has trainable parameters."""
        return is_trainable(self.build())

    @property
    def learns_from_unlabelled(self) -> bool:
        """Whether its supervision has a learner (harness.contract.Learner)."""
        return hasattr(self.recipe.supervision.build(self.task()), "learner")

    def augments(self) -> tuple[Augment, ...]:
        built = self.recipe.augment.build(self.task())
        return tuple(built) if isinstance(built, Sequence) else (built,)

    def stream(self, samples: Sequence[Sample], augmented: bool = True, batch: int | None = None) -> TrainingStream:
        """Batches of the samples with the labels of the recipe's supervision. batch: None for all samples."""
        from harness.training.stream import TrainingStream

        return TrainingStream(
            images=_SampleImages(samples),
            indices=range(len(samples)),
            augments=self.augments() if augmented else (),
            labeller=self.recipe.supervision.build(self.task()),
            batch_size=batch or len(samples),
            seed=0,
        )

    def batch(self) -> list[Sample]:
        """Two augmented crops."""
        return self.stream(self.samples, batch=2).batch(0)

    @cached_property
    def trained(self) -> tuple[Model, list[float]]:
        """A model after STEPS steps on one batch, and the total loss before each step. Built once; do not change it.

        The batch is not augmented, so that all methods train on the same one.
        """
        batch = self.stream([draw_sample(6, seed=seed) for seed in range(2)], augmented=False).batch(0)
        rates = LEARNING_RATES[:1] if "overfits_one_batch" in self.method.expected_failures else LEARNING_RATES
        for rate in rates:
            model = self.build()
            totals = train(model, batch, STEPS, rate)
            if loss_halved(totals):
                break
        return model, totals


def is_trainable(model: Model) -> bool:
    """Whether the model has trainable parameters."""
    return any(p.requires_grad for p in model.module.parameters())


def total_loss(model: Model, batch: Sequence[Sample]) -> torch.Tensor:
    """The sum of a model's losses. Raises Violation if they are not named scalar tensors."""
    from harness.training.model_outputs import validated_total_loss

    try:
        return validated_total_loss(model.losses(batch))
    except HarnessError as error:
        raise Violation(str(error)) from error


def predict(model: Model, images: Sequence[NDArray[np.uint8]]) -> list[Predictions]:
    """Predictions as the harness asks for them: in eval mode, without gradients."""
    import torch

    model.module.eval()
    with torch.no_grad():
        found = model.predict(images)
    require(len(found) == len(images), f"{len(found)} predictions for {len(images)} images")
    return found


def loss_halved(totals: Sequence[float]) -> bool:
    """Whether the median of the last five losses is at most half the first. True for a model without training."""
    return not totals or float(np.median(totals[-5:])) <= totals[0] / 2


def train(model: Model, batch: Sequence[Sample], steps: int, rate: float = LEARNING_RATES[0]) -> list[float]:
    """Train on one batch at a constant learning rate. Returns the total loss before each step.

    A model without trainable parameters is fitted to the batch, if it can be.
    """
    import torch

    from harness.training import optimiser

    if not is_trainable(model):
        if hasattr(model, "fit"):
            model.fit(iter(batch))
        return []
    training = load_preset(PRESET).training.model_copy(update={"learning_rate": rate})
    stepper = optimiser.build(model.module, training)
    model.module.train()
    totals = []
    for _ in range(steps):
        stepper.zero_grad(set_to_none=True)
        total = total_loss(model, batch)
        total.backward()
        if training.clip_norm:
            torch.nn.utils.clip_grad_norm_(model.module.parameters(), training.clip_norm)
        stepper.step()
        totals.append(total.item())
    return totals
