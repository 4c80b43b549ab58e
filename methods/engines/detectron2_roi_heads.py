"""detectron2's standard RoI heads with the mask branch replaced by the recipe's mask head and supervision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.modeling.roi_heads import StandardROIHeads
from detectron2.modeling.roi_heads.roi_heads import select_foreground_proposals
from detectron2.structures import Instances as D2Instances
from torch import Tensor

from methods.engines.torch_masks import MatchedLabels
from methods.nets.mask_heads import MaskHead
from methods.nets.roi import RoIPool, with_image_index
from methods.nets.supervision import Supervision


class RoIHeads(StandardROIHeads):
    """Box branch as it comes; the mask branch is a MaskHead taught by a Supervision.

    scale: input pixels for one pixel of the labels.
    """

    def __init__(self, *, mask_head: MaskHead, supervision: Supervision, scale: float, **box_branch: Any) -> None:
        super().__init__(**box_branch)
        self.mask_head = mask_head
        self.supervision = supervision
        self.scale = scale

    def forward(
        self,
        images: Any,
        features: dict[str, Tensor],
        proposals: list[D2Instances],
        targets: list[D2Instances] | None = None,
    ) -> tuple[list[D2Instances], dict[str, Tensor]]:
        if not self.training:
            return self.forward_with_given_boxes(features, self._detect(features, proposals)), {}
        assert targets is not None
        sampled = self.label_and_sample_proposals(proposals, targets)
        losses = self._forward_box(features, sampled)
        losses["loss_mask"] = self._mask_loss(features, sampled, targets)
        return sampled, losses

    def _detect(self, features: dict[str, Tensor], proposals: list[D2Instances]) -> list[D2Instances]:
        """The box branch, some boxes at a time."""
        maps = [features[f] for f in self.box_in_features]
        rois = with_image_index([x.proposal_boxes.tensor for x in proposals])
        seen = [self.box_head(self.box_pooler.pool(maps, some)) for some in rois.split(_at_once(rois))]
        found, _ = self.box_predictor.inference(self.box_predictor(torch.cat(seen)), proposals)
        return found

    def forward_with_given_boxes(self, features: dict[str, Tensor], instances: list[D2Instances]) -> list[D2Instances]:
        """Adds pred_masks, (R, S, S) probabilities of the predicted class, to each image's instances."""
        for i, x in enumerate(instances):
            maps, boxes = [features[f][i : i + 1] for f in self.box_in_features], x.pred_boxes.tensor
            n = _at_once(boxes)
            pieces = [
                self.mask_head(maps, [some]).grid(classes).float().sigmoid()
                for some, classes in zip(boxes.split(n), x.pred_classes.split(n), strict=True)
                if len(some)
            ]
            x.pred_masks = torch.cat(pieces) if pieces else boxes.new_zeros((0, 1, 1))
        return instances

    def _mask_loss(self, features: dict[str, Tensor], sampled: list[D2Instances], targets: list[D2Instances]) -> Tensor:
        head = self.mask_head
        if head.trains_on == "ground_truth":
            chosen, box_field = list(targets), "gt_boxes"
        else:
            chosen, box_field = select_foreground_proposals(sampled, self.num_classes)[0], "proposal_boxes"
        if head.max_train_boxes is not None:
            chosen = [_at_most(x, head.max_train_boxes) for x in chosen]
        maps = [features[f] for f in self.box_in_features]
        if not any(len(x) for x in chosen):
            return torch.stack([m.sum() for m in maps]).sum() * 0.0
        boxes = [x.get(box_field).tensor for x in chosen]
        if head.jitter and head.trains_on == "ground_truth":
            boxes = [_jittered(b, head.jitter) for b in boxes]
        field = head(maps, boxes)
        matched = [x for x in chosen if len(x)]
        labels = MatchedLabels(
            boxes=torch.cat([b for b in boxes if len(b)]) / self.scale,
            counts=[len(x) for x in matched],
            masks=[x.gt_masks for x in matched] if matched[0].has("gt_masks") else None,
            points=torch.cat([x.gt_points for x in matched]) if matched[0].has("gt_points") else None,
            point_labels=torch.cat([x.gt_point_labels for x in matched]) if matched[0].has("gt_points") else None,
        )
        return self.supervision.loss(field, labels, torch.cat([x.gt_classes for x in matched]))


def _at_once(boxes: Tensor) -> int:
    """How many boxes a head sees at once in prediction: on a CPU as many as stay in its caches, on a GPU in memory."""
    return 128 if boxes.device.type == "cpu" else 1024


def _at_most(instances: D2Instances, limit: int) -> D2Instances:
    if len(instances) <= limit:
        return instances
    return instances[torch.randperm(len(instances), device=instances.gt_classes.device)[:limit]]


def _jittered(boxes: Tensor, amount: float) -> Tensor:
    """Each side moved by up to `amount` of the box's own side; a box never turns inside out."""
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    moved = boxes + (torch.rand_like(boxes) * 2 - 1) * min(amount, 0.45) * sides
    return moved.clamp(min=0)


class BoxPool(RoIPool):
    """The box branch's RoI pooling behind detectron2's interface: the same numbers as its own, also under bfloat16."""

    def forward(self, features: Sequence[Tensor], boxes: Sequence[Any]) -> Tensor:
        return super().forward(features, [b.tensor for b in boxes])


def box_branch(config: Any, shapes: dict[str, Any]) -> dict[str, Any]:
    """What StandardROIHeads needs for its box branch, by detectron2's own builders."""
    branch = StandardROIHeads._init_box_head(config, shapes)
    box = config.MODEL.ROI_BOX_HEAD
    strides = [shapes[name].stride for name in branch["box_in_features"]]
    branch["box_pooler"] = BoxPool(box.POOLER_RESOLUTION, strides, box.POOLER_SAMPLING_RATIO)
    branch.update(super(StandardROIHeads, StandardROIHeads).from_config(config))
    return branch


def names_of(strides: Sequence[int], letter: str = "p") -> list[str]:
    """Feature names by stride, as the papers have them: p2 is the pyramid's map at stride 4, c2 the bottom-up's."""
    return [f"{letter}{stride.bit_length() - 1}" for stride in strides]
