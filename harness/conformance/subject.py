"""A method under test: its recipe at the small size, built and fed as a run would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.catalog import Catalog
from harness.config.preset import load
from harness.conformance.images import drawn
from harness.contract import Augment, Init, Method, Model, Predictions, Recipe, Sample, Task
from harness.errors import HarnessError
from harness.stacks import resolve

if TYPE_CHECKING:
    import torch

    from harness.training.stream import TrainingStream

PRESET = "smoke"
"""Whose optimiser a method is checked with."""

SETTINGS = {
    "width": 64,
    "box_head_width": 256,
    "proposals": 300,
    "rois_per_image": 32,
    "anchors_per_image": 64,
}
"""Task.settings of a check: small, but able to learn."""

RATES = (1e-3, 2e-3, 3e-3, 3e-4)
"""Learning rates that are tried in turn until one fits the batch."""

STEPS = 30


class Violation(AssertionError):  # noqa: N818 - the word people read
    """A promise that is not kept."""


def require(kept: bool, otherwise: str) -> None:
    """Raise Violation(otherwise) unless kept."""
    if not kept:
        raise Violation(otherwise)


class _Images:
    """Samples as a training stream wants them."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = samples
        self.ids = tuple(sample.image_id for sample in samples)
        self.cell_types = tuple(sample.cell_type for sample in samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]


def probe_task(classes: Sequence[str], seed: int = 0, settings: Mapping[str, Any] = SETTINGS) -> Task:
    """A task as the images of harness.conformance.images make it."""
    return Task(
        classes=tuple(classes),
        pixel_mean=(110.0, 110.0, 110.0),
        pixel_std=(40.0, 40.0, 40.0),
        crop=64,
        max_cells=300,
        max_size=(160, 160),
        seed=seed,
        device="cpu",
        settings=settings,
    )


@dataclass
class Subject:
    """A method, alone on the baseline, at the small size."""

    name: str
    method: Method
    recipe: Recipe
    samples: tuple[Sample, ...] = field(default_factory=lambda: tuple(drawn(8, (80, 90), seed) for seed in range(4)))

    @staticmethod
    def of(catalog: Catalog, name: str) -> Subject:
        """A method by its name, from scratch: nothing is downloaded for a check."""
        resolved = resolve(catalog, name, "small", Init("scratch"))
        return Subject(resolved.name, resolved.methods[-1], resolved.recipe)

    def task(self, classes: int = 1, seed: int = 0) -> Task:
        return probe_task([f"class {i}" for i in range(classes)], seed)

    def build(self, classes: int = 1, seed: int = 0) -> Model:
        """A new model on the CPU, from scratch, in training mode."""
        from harness.training.device import seed as seed_all

        seed_all(seed, deterministic=False)
        model: Model = self.recipe.engine.build(self.recipe, self.task(classes, seed))
        model.module.train()
        return model

    def augments(self) -> tuple[Augment, ...]:
        built = self.recipe.augment.build(self.task())
        return tuple(built) if isinstance(built, Sequence) else (built,)

    def stream(self, samples: Sequence[Sample], augmented: bool = True, batch: int | None = None) -> TrainingStream:
        """Batches of these samples, labelled as the recipe's annotator would, and augmented if wanted."""
        from harness.training.stream import TrainingStream

        return TrainingStream(
            images=_Images(samples),
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
        """A model after STEPS steps on one batch, and its total loss before each; built once, not to be changed.

        The batch is not augmented, so that it is the same for every method.
        """
        batch = self.stream([drawn(6, seed=seed) for seed in range(2)], augmented=False).batch(0)
        for rate in RATES if "halves_its_loss" not in self.method.expected_failures else RATES[:1]:
            model = self.build()
            totals = steps(model, batch, STEPS, rate)
            if halved(totals):
                break
        return model, totals


def learns(model: Model) -> bool:
    """Whether there is anything to train."""
    return any(p.requires_grad for p in model.module.parameters())


def total_loss(model: Model, batch: Sequence[Sample]) -> torch.Tensor:
    """The sum of a model's losses. Raises Violation where they are no losses."""
    from harness.training.model_outputs import validated_total_loss

    try:
        return validated_total_loss(model.losses(batch))
    except HarnessError as error:
        raise Violation(str(error)) from error


def predicted(model: Model, images: Sequence[NDArray[np.uint8]]) -> list[Predictions]:
    """What a model predicts, asked as the harness asks: in eval mode, without gradients."""
    import torch

    model.module.eval()
    with torch.no_grad():
        found = model.predict(images)
    require(len(found) == len(images), f"{len(found)} predictions for {len(images)} images")
    return found


def halved(totals: Sequence[float]) -> bool:
    """Whether the median of the last five losses is at most half the first; true where nothing was to be learnt."""
    return not totals or float(np.median(totals[-5:])) <= totals[0] / 2


def steps(model: Model, batch: Sequence[Sample], number: int, rate: float = RATES[0]) -> list[float]:
    """Train on one batch at a constant rate; the total loss before each step."""
    import torch

    from harness.training import optimiser

    if not learns(model):
        return []
    training = load(PRESET).training.model_copy(update={"learning_rate": rate})
    stepper = optimiser.build(model.module, training)
    model.module.train()
    totals = []
    for _ in range(number):
        stepper.zero_grad(set_to_none=True)
        total = total_loss(model, batch)
        total.backward()
        if training.clip_norm:
            torch.nn.utils.clip_grad_norm_(model.module.parameters(), training.clip_norm)
        stepper.step()
        totals.append(total.item())
    return totals
