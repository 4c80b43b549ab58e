"""detectron2's standard RoI heads with the mask branch replaced by the recipe's mask head and supervision.

Network, matching rule, numbers drawn and box losses are detectron2's; tests hold both together. A training step works
through all images at once, and asks the device one thing only: which of the boxes it drew are positive.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from detectron2.modeling.roi_heads import StandardROIHeads
from detectron2.structures import Instances as D2Instances
from torch import Tensor

from methods.frameworks.detectron2.box_losses import box_regression_loss
from methods.frameworks.detectron2.instance_batch import InstanceBatch
from methods.frameworks.detectron2.matching import SampledBoxes, Thresholds, drawn, overlap
from methods.frameworks.detectron2.rpn import Proposals, of_rows
from methods.shared.device_transfer import AsyncHostCopy, tensor_to_device
from methods.shared.mask_heads import MaskHead
from methods.shared.roi_pooling import RoIPool, with_image_index
from methods.shared.supervision import Supervision
from methods.shared.torch_masks import MatchedLabels


class SampledProposals(NamedTuple):
    """Boxes drawn for the losses of B images, S places each: (B, S, 4) boxes, the (B, S) places of the cells they are
    matched with, and what is known of each place."""

    boxes: Tensor
    cells: Tensor
    chosen: SampledBoxes


class MaskTrainingBoxes(NamedTuple):
    """What the mask branch trains on, on the host: (R, 4) boxes and the numbers of their cells, image after image."""

    boxes: Tensor
    numbers: Tensor
    counts: list[int]


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
        self, images: Any, features: dict[str, Tensor], proposals: list[D2Instances], targets: None = None
    ) -> tuple[list[D2Instances], dict[str, Tensor]]:
        """What is found in images that are predicted."""
        return self.forward_with_given_boxes(features, self._detect(features, proposals)), {}

    def losses_of(self, features: dict[str, Tensor], proposals: Proposals, cells: InstanceBatch) -> dict[str, Tensor]:
        maps = [features[f] for f in self.box_in_features]
        if maps[0].device.type == "cuda":
            # what cuts boxes there does so in float32: the maps are converted once for all
            maps = [m.float() for m in maps]
        drafted = self.draft(proposals, cells)
        # asked for before the box branch, read after it
        positive = AsyncHostCopy(self._positive(drafted)) if self.mask_head.trains_on == "proposals" else None
        losses = self._box_losses(maps, drafted, cells)
        taught = self._annotated(cells) if positive is None else self._matched(positive.wait(), cells)
        losses["loss_mask"] = self._mask_loss(maps, taught, cells)
        return losses

    @torch.no_grad()
    def draft(self, proposals: Proposals, cells: InstanceBatch) -> SampledProposals:
        """Boxes for the losses, drawn among the proposals and the cells' own boxes."""
        low, high = self.proposal_matcher.thresholds[1], self.proposal_matcher.thresholds[-2]
        boxes = torch.cat([proposals.boxes, cells.boxes], dim=1)
        there = torch.cat([proposals.there, cells.taken], dim=1)
        iou = overlap(cells.boxes.permute(2, 0, 1)[:, :, None], boxes.permute(2, 0, 1)[..., None])
        best, matches = iou.masked_fill_(~cells.taken[:, None], -1.0).max(dim=2)
        labels = Thresholds(low, high, allow_low_quality_matches=False).labels(best, None)
        chosen = drawn(torch.where(there, labels, -1), self.batch_size_per_image, self.positive_fraction)
        return SampledProposals(of_rows(boxes, chosen.places), matches.gather(1, chosen.places), chosen)

    def _box_losses(self, maps: list[Tensor], drafted: SampledProposals, cells: InstanceBatch) -> dict[str, Tensor]:
        predictor, chosen = self.box_predictor, drafted.chosen
        boxes = drafted.boxes.flatten(0, 1)
        scores, offsets = predictor(self.box_head(self.box_pooler(maps, list(drafted.boxes))))
        classes = cells.classes.gather(1, drafted.cells).flatten()
        positive, used = chosen.positive.flatten(), chosen.used.flatten()
        wanted = torch.where(positive, classes, self.num_classes)
        count = used.sum().clamp(min=1)
        classified = (F.cross_entropy(scores.float(), wanted, reduction="none") * used).sum() / count
        of_class = offsets.reshape(len(boxes), -1, 4).gather(1, classes[:, None, None].expand(-1, 1, 4))[:, 0]
        targets = of_rows(cells.boxes, drafted.cells).flatten(0, 1)
        weights = predictor.box2box_transform.weights
        losses = {
            "loss_cls": classified,
            "loss_box_reg": box_regression_loss(of_class, boxes, targets, positive, weights) / count,
        }
        return {name: value * predictor.loss_weight.get(name, 1.0) for name, value in losses.items()}

    def _positive(self, drafted: SampledProposals) -> Tensor:
        """(B, P, 6) float32: of the places that may be positive, whether they are, the place of the cell, the box."""
        most = int(self.batch_size_per_image * self.positive_fraction)
        known = torch.stack([drafted.chosen.positive, drafted.cells], dim=2).float()
        return torch.cat([known, drafted.boxes], dim=2)[:, :most]

    def _matched(self, positive: Tensor, cells: InstanceBatch) -> MaskTrainingBoxes:
        """What came of `_positive`. The boxes were drawn at random, so that the first of them are as any others."""
        counts = [min(int(n), self.mask_head.max_train_boxes or int(n)) for n in positive[..., 0].sum(dim=1)]
        rows = torch.cat([image[:n] for image, n in zip(positive, counts, strict=True)])
        first = torch.tensor(cells.first).repeat_interleave(torch.tensor(counts))
        return MaskTrainingBoxes(rows[:, 2:], first + rows[:, 1].long(), counts)

    def _annotated(self, cells: InstanceBatch) -> MaskTrainingBoxes:
        """The cells' own boxes."""
        head = self.mask_head
        numbers = cells.drawn(head.max_train_boxes)
        together = torch.cat(numbers)
        boxes = cells.boxes_on_host[together]
        return MaskTrainingBoxes(
            _jittered(boxes, head.jitter) if head.jitter else boxes, together, [len(those) for those in numbers]
        )

    def _mask_loss(self, maps: list[Tensor], taught: MaskTrainingBoxes, cells: InstanceBatch) -> Tensor:
        if not len(taught.boxes):
            return torch.stack([m.sum() for m in maps]).sum() * 0.0
        device = maps[0].device
        numbers, boxes = tensor_to_device(taught.numbers, device), tensor_to_device(taught.boxes, device)
        field = self.mask_head(maps, boxes.split(taught.counts))
        labels = MatchedLabels(
            boxes=boxes / self.scale,
            masks=None if cells.masks is None else cells.masks[numbers],
            points=None if cells.points is None else cells.points[numbers],
            point_labels=None if cells.point_labels is None else cells.point_labels[numbers],
            on_host=taught.boxes / self.scale,
        )
        return self.supervision.loss(field, labels, tensor_to_device(cells.labels_on_host[taught.numbers], device))

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


def _at_once(boxes: Tensor) -> int:
    """How many boxes a head sees at once in prediction: on a CPU as many as stay in its caches, on a GPU in memory."""
    return 128 if boxes.device.type == "cpu" else 1024


def _jittered(boxes: Tensor, amount: float) -> Tensor:
    """Each side moved by up to `amount` of the box's own side; a box never turns inside out."""
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    moved = boxes + (torch.rand_like(boxes) * 2 - 1) * min(amount, 0.45) * sides
    return moved.clamp(min=0)


def box_branch(config: Any, shapes: dict[str, Any]) -> dict[str, Any]:
    """What StandardROIHeads needs for its box branch, by detectron2's own builders."""
    branch = StandardROIHeads._init_box_head(config, shapes)
    box = config.MODEL.ROI_BOX_HEAD
    strides = [shapes[name].stride for name in branch["box_in_features"]]
    branch["box_pooler"] = RoIPool(box.POOLER_RESOLUTION, strides, box.POOLER_SAMPLING_RATIO)
    branch.update(super(StandardROIHeads, StandardROIHeads).from_config(config))
    return branch


def names_of(strides: Sequence[int], letter: str = "p") -> list[str]:
    """Feature names by stride, as the papers have them: p2 is the pyramid's map at stride 4, c2 the bottom-up's."""
    return [f"{letter}{stride.bit_length() - 1}" for stride in strides]
