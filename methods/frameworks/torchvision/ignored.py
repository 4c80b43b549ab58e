"""torchvision's two parts that label boxes, changed so that boxes in crowd regions are not background.

A target has the boxes of its crowd regions under "ignored", (R, 4).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork

from methods.shared.ignored_regions import lies_in_region

Target = dict[str, Tensor]


class IgnoringRPN(RegionProposalNetwork):
    """Samples no anchor in a crowd region as background."""

    def assign_targets_to_anchors(
        self, anchors: list[Tensor], targets: list[Target]
    ) -> tuple[list[Tensor], list[Tensor]]:
        labels, matched = super().assign_targets_to_anchors(anchors, targets)
        low = self.proposal_matcher.low_threshold
        return [_ignored(*image, low) for image in zip(labels, anchors, targets, strict=True)], matched


class IgnoringRoIHeads(RoIHeads):
    """Samples no proposal in a crowd region as background."""

    _targets: list[Target]

    def select_training_samples(self, proposals: list[Tensor], targets: list[Target] | None) -> Any:
        # torchvision passes boxes and classes of the targets on, and nothing else
        self._targets = targets or []
        return super().select_training_samples(proposals, targets)

    def assign_targets_to_proposals(
        self, proposals: list[Tensor], gt_boxes: list[Tensor], gt_labels: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        matched, labels = super().assign_targets_to_proposals(proposals, gt_boxes, gt_labels)
        low = self.proposal_matcher.low_threshold
        return matched, [_ignored(*image, low) for image in zip(labels, proposals, self._targets, strict=True)]


def _ignored(labels: Tensor, boxes: Tensor, target: Target, low: float) -> Tensor:
    """(A,) labels with -1 for background in a crowd region."""
    regions = target["ignored"]
    if not len(regions):
        return labels
    found = labels.masked_fill((labels == 0) & lies_in_region(regions[None], boxes, low)[0], -1)
    # torchvision's mean over no box at all is not a number
    return found if bool((found >= 0).any()) else torch.cat([labels[:1], found[1:]])
