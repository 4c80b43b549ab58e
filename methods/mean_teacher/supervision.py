"""Losses of unlabelled images, with labels of the average of the weights.

Source: docs/methods.md#mean-teacher.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from harness.contract import Instances, PointPredictions, PseudoLabels, Sample, Task, TrainingContext
from harness.errors import HarnessError
from methods.mean_teacher import MeanTeacherOptions
from methods.mean_teacher.average import WeightAverage
from methods.mean_teacher.views import strong_view
from methods.shared.mask_heads import MaskField
from methods.shared.supervision import FullMasks, MaskTargets, add_penalty, point_loss

BOX_LOSSES = ("loss_rpn_loc", "loss_box_reg")
"""Losses that move boxes."""

PREFIX = "unlabelled_"
"""Of the names of the losses of unlabelled images."""


class MeanTeacher(FullMasks):
    """Full masks of the labelled images; of the unlabelled ones, points at which the teacher is sure."""

    def __init__(self, options: MeanTeacherOptions) -> None:
        self.options = options

    def loss(self, field: MaskField, targets: MaskTargets, classes: Tensor) -> Tensor:
        if targets.has_masks:
            return super().loss(field, targets, classes)
        points, labels = targets.annotated_points()
        return add_penalty(point_loss(field, targets.boxes, points, labels, classes), field)

    def learner(self, context: TrainingContext) -> MeanTeacherLearner:
        return MeanTeacherLearner(context, self.options)


class MeanTeacherLearner:
    """Adds the losses of unlabelled images, and keeps the average of the weights."""

    pseudo: PseudoLabels | None = None
    notes: Sequence[str] = ()

    def __init__(self, context: TrainingContext, options: MeanTeacherOptions) -> None:
        """Raises HarnessError where the engine's model does not predict points."""
        if not hasattr(context.model, "predict_points"):
            raise HarnessError("mean_teacher needs an engine that predicts points (Model.predict_points)")
        self.context, self.options = context, options
        self.unlabelled_ratio = options.unlabelled
        self.teacher = WeightAverage(context.model.module, options.decay)
        self._weight = 0.0

    def before_step(self) -> None:
        options = self.options
        self._weight = options.weight * min(1.0, max(0.0, (self.context.used() - options.start) / options.ramp))

    def losses(self, batch: Sequence[Sample]) -> Mapping[str, Tensor]:
        losses = dict(self.context.model.losses([sample for sample in batch if sample.labelled]))
        pseudo = self.label([sample for sample in batch if not sample.labelled]) if self._weight else []
        if not pseudo:
            return losses
        for name, value in self.context.model.losses(pseudo).items():
            share = self.options.box_weight if name in BOX_LOSSES else 1.0
            if share:
                losses[PREFIX + name] = value * (share * self._weight)
        return losses

    def after_step(self) -> None:
        self.teacher.update()

    def label(self, weak: Sequence[Sample]) -> list[Sample]:
        """Strong views of the images on which the teacher finds a cell, with what it finds."""
        rng = np.random.default_rng([self.context.seed, 6, self.context.step])
        with self.context.evaluating(), self.teacher.in_place_of_weights():
            model: Any = self.context.model
            found: list[PointPredictions] = model.predict_points(
                [sample.image for sample in weak], self.options.points, rng
            )
        labelled = []
        for sample, predictions in zip(weak, found, strict=True):
            instances = self.pseudo_instances(predictions, sample.size)
            if instances is not None:
                labelled.append(sample.with_(image=strong_view(sample.image, rng), instances=instances))
        return labelled

    def pseudo_instances(self, found: PointPredictions, size: tuple[int, int]) -> Instances | None:
        """Cells and crowd regions by score; None without a cell. size: height and width of the image."""
        options = self.options
        used = found.scores >= options.ignore
        cells = found.scores[used] >= options.threshold
        if not cells.any():
            return None
        chance = found.probabilities[used]
        labels = np.where(chance >= options.sure, 1, np.where(chance <= 1 - options.sure, 0, -1)).astype(np.int8)
        corners = found.boxes[used]
        low = np.minimum(np.floor(corners[:, :2]).clip(0), np.array(size[::-1]) - 1)
        high = np.maximum(np.minimum(np.ceil(corners[:, 2:]), size[::-1]), low + 1)
        return Instances(
            np.concatenate([low, high], axis=1).astype(np.int32),
            found.labels[used],
            None,
            found.points[used],
            labels,
            ~cells,
        )

    def state(self) -> Mapping[str, Any]:
        return {"average": self.teacher.values, "steps": self.teacher.steps}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.teacher.load(state["average"], state["steps"])


def build(task: Task, options: MeanTeacherOptions) -> MeanTeacher:
    """The supervision of the mean teacher."""
    return MeanTeacher(options)
