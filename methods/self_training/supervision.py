"""The three phases of self-training: teacher, pseudo-labels, student.

Source: docs/methods.md#self-training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.contract import Instances, Predictions, PseudoLabels, Sample, Task, TrainingContext
from harness.masks.crops import CropMasks, crop_offsets
from methods.self_training import SelfTrainingOptions
from methods.self_training.pseudo_labels import matched_counts, predict_with_flips
from methods.shared.supervision import FullMasks


class SelfTraining(FullMasks):
    """Full masks of the labelled images; of the unlabelled ones, what the network finds on them."""

    def __init__(self, options: SelfTrainingOptions) -> None:
        self.options = options

    def learner(self, context: TrainingContext) -> SelfTrainer:
        return SelfTrainer(context, self.options)


class SelfTrainer:
    """Labels the unlabelled images when the teacher's share of the budget is spent."""

    unlabelled_ratio = 0.0

    def __init__(self, context: TrainingContext, options: SelfTrainingOptions) -> None:
        self.context, self.options = context, options
        self.pseudo: PseudoLabels | None = None
        self.has_labelled = False
        self.notes: list[str] = []

    def before_step(self) -> None:
        taught = self.context.used()
        if self.has_labelled or taught < self.options.teacher_share:
            return
        self.has_labelled = True
        found = self._predictions()
        # under a budget of time, the steps that are left are told by the teacher's pace
        left = round(self.context.step * (1 - self.context.used()) / taught)
        self._label(found, max(1, left))

    def losses(self, batch: Sequence[Sample]) -> Mapping[str, Tensor]:
        return self.context.model.losses(batch)

    def after_step(self) -> None:
        return None

    def _predictions(self) -> dict[int, Predictions]:
        """Of the unlabelled images in random order, as many as there is time for."""
        order = np.random.default_rng([self.context.seed, 5]).permutation(len(self.context.unlabelled))
        end = self.context.used() + self.options.predict_share
        found: dict[int, Predictions] = {}
        for number in order.tolist():
            if self.context.used() >= end:
                break
            found[number] = predict_with_flips(
                self.context.predict, self.context.unlabelled[number].image, self.options.flips
            )
        return found

    def _label(self, found: Mapping[int, Predictions], steps_left: int) -> None:
        options, context = self.options, self.context
        instances = matched_counts(found, context.cells_per_image, options.uncertain, options.minimum_score)
        if not instances:
            self.notes.append(f"the teacher found no cell on {len(found)} unlabelled images: no pseudo-labels")
            return
        self.pseudo = PseudoLabels(instances, options.pseudo_share, context.step, context.step + steps_left)
        crowds = [x.crowd for x in instances.values() if x.crowd is not None]
        ignored = sum(int(crowd.sum()) for crowd in crowds)
        cells = sum(map(len, crowds)) - ignored
        self.notes.append(
            f"after step {context.step} the teacher labelled {len(instances)} of {len(context.unlabelled)} unlabelled "
            f"images with {cells} cells and {ignored} regions to be ignored"
        )

    def state(self) -> Mapping[str, Any]:
        if self.pseudo is None:
            return {"has_labelled": self.has_labelled, "notes": self.notes}
        pseudo = self.pseudo
        plain = {number: _to_tensors(instances) for number, instances in pseudo.instances.items()}
        return {
            "has_labelled": True,
            "notes": self.notes,
            "instances": plain,
            "share": pseudo.share,
            "first": pseudo.first,
            "last": pseudo.last,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.has_labelled, self.notes = bool(state["has_labelled"]), list(state["notes"])
        if "instances" in state:
            instances = {number: _from_tensors(plain) for number, plain in state["instances"].items()}
            self.pseudo = PseudoLabels(instances, state["share"], state["first"], state["last"])


def _to_tensors(instances: Instances) -> dict[str, Tensor]:
    assert instances.masks is not None
    assert instances.crowd is not None
    arrays: dict[str, NDArray[Any]] = {
        "boxes": instances.boxes,
        "labels": instances.labels,
        "crowd": instances.crowd,
        "pixels": instances.masks.pixels,
    }
    return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}


def _from_tensors(plain: Mapping[str, Tensor]) -> Instances:
    boxes, labels, crowd, pixels = (plain[name].numpy() for name in ("boxes", "labels", "crowd", "pixels"))
    return Instances.of_masks(CropMasks(boxes, pixels, crop_offsets(boxes)), labels, crowd)


def build(task: Task, options: SelfTrainingOptions) -> SelfTraining:
    """The supervision of self-training."""
    return SelfTraining(options)
