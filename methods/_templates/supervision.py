"""my_method: another way to teach the mask head.

The slot `supervision` has two halves: `labels`, what an annotator would have drawn, and `loss`, how the mask head
learns from it. Read methods/shared/supervision.py for the whole contract.
"""

from __future__ import annotations

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from harness.contract import Card, Instances, Method, Part, Task
from methods.shared.mask_heads import MaskField
from methods.shared.supervision import MaskTargets, add_penalty

METHOD = Method(
    name="my_method",
    # Fill in the card: `python -m harness methods my_method` prints it.
    card=Card(
        title="my_method",
        paper="unpublished",
        year=2021,
        venue="none",
        changes="supervision: says in one sentence what it does to the recipe",
        labels="full masks",
        departures=(),
    ),
    # Options are JSON values, arguments of build() below. They are written into every record, and a user types
    # my_method(dice=0.5). The template of the slot mask_head shows options with a range and a line of help.
    parts={"supervision": Part("my_method", f"{__name__}:build", {"dice": 1.0})},
)


class MySupervision:
    """Full masks, taught by cross-entropy and the Dice coefficient together.

    needs_masks: False where training must not see masks at all; `labels` then takes them away.
    """

    needs_masks = True

    def __init__(self, dice: float) -> None:
        self.dice = dice

    def labels(self, instances: Instances, rng: np.random.Generator) -> Instances:
        """Called once for each training image, on arrays. Point labels would go into points and point_labels here."""
        return instances

    def loss(self, field: MaskField, targets: MaskTargets, classes: Tensor) -> Tensor:
        """Called in every step with R >= 1 boxes. field: the mask head's answer, as a grid or at any points.

        targets: the labels of the same boxes: masks_on_grid, masks_at, annotated_points.
        """
        logits = field.grid(classes)
        masks = targets.masks_on_grid(logits.shape[-1]).to(logits.dtype)
        cross_entropy = F.binary_cross_entropy_with_logits(logits, masks)
        inside = logits.sigmoid()
        overlap = (2 * (inside * masks).sum((1, 2)) + 1) / (inside.sum((1, 2)) + masks.sum((1, 2)) + 1)
        return add_penalty(cross_entropy + self.dice * (1 - overlap).mean(), field)


def build(task: Task, dice: float = 1.0) -> MySupervision:
    """dice: weight of the Dice loss beside cross-entropy."""
    return MySupervision(dice)
