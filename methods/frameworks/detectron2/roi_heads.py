"""detectron2's standard RoI heads with the recipe's mask head and supervision in place of the mask branch.

Network, matching rule, sampling and box losses are detectron2's (`modeling/roi_heads/`); tests compare the two. A
training step works on all images at once, and asks the device for one thing only: which sampled boxes are positive.
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
from methods.frameworks.detectron2.matching import IoUThresholds, SampledIndices, pairwise_iou, subsample_labels
from methods.frameworks.detectron2.rpn import Proposals, batched_index_select
from methods.shared.device_transfer import AsyncHostCopy, on_gpu, tensor_to_device
from methods.shared.ignored_regions import lies_in_region
from methods.shared.mask_heads import MaskHead
from methods.shared.roi_pooling import RoIPooler, boxes_to_rois
from methods.shared.supervision import Supervision
from methods.shared.torch_masks import MatchedTargets


class SampledProposals(NamedTuple):
    """Boxes sampled for the losses, S for each of B images.

    Attributes:
        boxes: (B, S, 4) x0 y0 x1 y1 in pixels of the network's input.
        matches: (B, S) int64 index of the instance of the image that each box is matched with.
        sampled: Which of them are positive, and which are padding.
    """

    boxes: Tensor
    matches: Tensor
    sampled: SampledIndices


class MaskTrainingBoxes(NamedTuple):
    """The R boxes that the mask head is trained on, on the host, image after image.

    Attributes:
        boxes: (R, 4) x0 y0 x1 y1 in pixels of the network's input.
        instances: (R,) int64 index of the matched instance among all of the batch.
        counts: Boxes of each image; they sum to R.
    """

    boxes: Tensor
    instances: Tensor
    counts: list[int]


class RoIHeads(StandardROIHeads):
    """detectron2's box branch, and a mask branch of a MaskHead and a Supervision.

    Args:
        mask_head: Of the recipe.
        supervision: Of the recipe.
        box_branch: Arguments of StandardROIHeads.
    """

    def __init__(self, *, mask_head: MaskHead, supervision: Supervision, **box_branch: Any) -> None:
        super().__init__(**box_branch)
        self.mask_head = mask_head
        self.supervision = supervision

    def forward(
        self, images: Any, features: dict[str, Tensor], proposals: list[D2Instances], targets: None = None
    ) -> tuple[list[D2Instances], dict[str, Tensor]]:
        """Detections with masks in prediction; no losses."""
        return self.forward_with_given_boxes(features, self._forward_box(features, proposals)), {}

    def compute_losses(
        self, features: dict[str, Tensor], proposals: Proposals, instances: InstanceBatch
    ) -> dict[str, Tensor]:
        """`loss_cls`, `loss_box_reg` and `loss_mask`."""
        maps = [features[f] for f in self.box_in_features]
        if on_gpu(maps[0]):
            # RoIAlign works in float32 there, so the maps are converted once for all heads
            maps = [m.float() for m in maps]
        sampled = self.sample_proposals(proposals, instances)
        # started before the box branch and read after it
        positive = AsyncHostCopy(self._pack_positives(sampled)) if self.mask_head.trains_on == "proposals" else None
        losses = self._box_losses(maps, sampled, instances)
        if positive is None:
            mask_boxes = self._ground_truth_boxes(instances)
        else:
            mask_boxes = self._unpack_positives(positive.wait(), instances)
        losses["loss_mask"] = self._mask_loss(maps, mask_boxes, instances)
        return losses

    @torch.no_grad()
    def sample_proposals(self, proposals: Proposals, instances: InstanceBatch) -> SampledProposals:
        """Sample boxes for the losses from the proposals and the annotated boxes (`label_and_sample_proposals`).

        A box in a crowd region is sampled only where it is matched with an instance.
        """
        low, high = self.proposal_matcher.thresholds[1], self.proposal_matcher.thresholds[-2]
        boxes = torch.cat([proposals.boxes, instances.boxes], dim=1)
        valid = torch.cat([proposals.valid, instances.valid], dim=1)
        iou = pairwise_iou(instances.boxes.permute(2, 0, 1)[:, :, None], boxes.permute(2, 0, 1)[..., None])
        best_iou, matches = iou.masked_fill_(~instances.valid[:, None], -1.0).max(dim=2)
        labels = IoUThresholds(low, high, allow_low_quality_matches=False).labels(best_iou, None)
        labels = torch.where(valid, labels, -1)
        if instances.ignored is not None:
            labels = labels.masked_fill((labels == 0) & lies_in_region(instances.ignored, boxes, high), -1)
        sampled = subsample_labels(labels, self.batch_size_per_image, self.positive_fraction)
        indices = sampled.indices
        return SampledProposals(batched_index_select(boxes, indices), matches.gather(1, indices), sampled)

    def _box_losses(
        self, maps: list[Tensor], proposals: SampledProposals, instances: InstanceBatch
    ) -> dict[str, Tensor]:
        predictor, sampled = self.box_predictor, proposals.sampled
        boxes = proposals.boxes.flatten(0, 1)
        scores, deltas = predictor(self.box_head(self.box_pooler(maps, list(proposals.boxes))))
        classes = instances.classes.gather(1, proposals.matches).flatten()
        positive, valid = sampled.positive.flatten(), sampled.valid.flatten()
        target_classes = torch.where(positive, classes, self.num_classes)
        count = valid.sum().clamp(min=1)
        classification = (F.cross_entropy(scores.float(), target_classes, reduction="none") * valid).sum() / count
        of_class = deltas.reshape(len(boxes), -1, 4).gather(1, classes[:, None, None].expand(-1, 1, 4))[:, 0]
        targets = batched_index_select(instances.boxes, proposals.matches).flatten(0, 1)
        weights = predictor.box2box_transform.weights
        losses = {
            "loss_cls": classification,
            "loss_box_reg": box_regression_loss(of_class, boxes, targets, positive, weights) / count,
        }
        return {name: value * predictor.loss_weight.get(name, 1.0) for name, value in losses.items()}

    def _pack_positives(self, proposals: SampledProposals) -> Tensor:
        """(B, P, 6) float32, for one copy to the host: whether the box is positive, its match, the box.

        P is the largest number of positive boxes of an image. Positive boxes come first.
        """
        max_positive = int(self.batch_size_per_image * self.positive_fraction)
        known = torch.stack([proposals.sampled.positive, proposals.matches], dim=2).float()
        return torch.cat([known, proposals.boxes], dim=2)[:, :max_positive]

    def _unpack_positives(self, packed: Tensor, instances: InstanceBatch) -> MaskTrainingBoxes:
        """The positive boxes of `_pack_positives`. They were sampled at random, so a limit may keep the first ones."""
        counts = [min(int(n), self.mask_head.max_train_boxes or int(n)) for n in packed[..., 0].sum(dim=1)]
        rows = torch.cat([image[:n] for image, n in zip(packed, counts, strict=True)])
        first = torch.tensor(instances.first_indices).repeat_interleave(torch.tensor(counts))
        return MaskTrainingBoxes(rows[:, 2:], first + rows[:, 1].long(), counts)

    def _ground_truth_boxes(self, instances: InstanceBatch) -> MaskTrainingBoxes:
        """The annotated boxes."""
        head = self.mask_head
        per_image = instances.sample_indices(head.max_train_boxes)
        indices = torch.cat(per_image)
        boxes = instances.host_boxes[indices]
        if head.jitter:
            boxes = _jitter_boxes(boxes, head.jitter)
        return MaskTrainingBoxes(boxes, indices, [len(of_image) for of_image in per_image])

    def _mask_loss(self, maps: list[Tensor], mask_boxes: MaskTrainingBoxes, instances: InstanceBatch) -> Tensor:
        if not len(mask_boxes.boxes):
            return torch.stack([m.sum() for m in maps]).sum() * 0.0
        device = maps[0].device
        index, boxes = tensor_to_device(mask_boxes.instances, device), tensor_to_device(mask_boxes.boxes, device)
        field = self.mask_head(maps, boxes.split(mask_boxes.counts))
        targets = MatchedTargets(
            boxes=boxes / instances.scale,
            masks=None if instances.masks is None else instances.masks[index],
            points=None if instances.points is None else instances.points[index],
            point_labels=None if instances.point_labels is None else instances.point_labels[index],
            host_boxes=mask_boxes.boxes / instances.scale,
            neighbourhood=instances.neighbourhood(mask_boxes.instances),
        )
        classes = tensor_to_device(instances.host_classes[mask_boxes.instances], device)
        return self.supervision.loss(field, targets, classes)

    def _forward_box(self, features: dict[str, Tensor], proposals: list[D2Instances]) -> list[D2Instances]:
        """Detections of the box branch, which works on a chunk of the boxes at a time."""
        maps = [features[f] for f in self.box_in_features]
        rois = boxes_to_rois([x.proposal_boxes.tensor for x in proposals])
        chunks = rois.split(_boxes_per_chunk(rois))
        box_features = torch.cat([self.box_head(self.box_pooler.pool_rois(maps, chunk)) for chunk in chunks])
        detections, _ = self.box_predictor.inference(self.box_predictor(box_features), proposals)
        return detections

    def forward_with_given_boxes(self, features: dict[str, Tensor], instances: list[D2Instances]) -> list[D2Instances]:
        """Add pred_masks, (R, S, S) probabilities of the predicted class, to the instances of each image."""
        for i, x in enumerate(instances):
            maps, boxes = [features[f][i : i + 1] for f in self.box_in_features], x.pred_boxes.tensor
            n = _boxes_per_chunk(boxes)
            masks = [
                self.mask_head(maps, [chunk]).grid(classes).float().sigmoid()
                for chunk, classes in zip(boxes.split(n), x.pred_classes.split(n), strict=True)
                if len(chunk)
            ]
            x.pred_masks = torch.cat(masks) if masks else boxes.new_zeros((0, 1, 1))
        return instances


def _boxes_per_chunk(boxes: Tensor) -> int:
    """How many boxes a head works on at once in prediction: what fits the caches of a CPU or the memory of a GPU."""
    return 1024 if on_gpu(boxes) else 128


def _jitter_boxes(boxes: Tensor, amount: float) -> Tensor:
    """Move each side of (R, 4) boxes by up to `amount` of the side's length, at most 0.45, so that none is inverted."""
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    moved = boxes + (torch.rand_like(boxes) * 2 - 1) * min(amount, 0.45) * sides
    return moved.clamp(min=0)


def box_branch_arguments(config: Any, shapes: dict[str, Any]) -> dict[str, Any]:
    """Arguments of StandardROIHeads for its box branch, made by detectron2's own builders from its config."""
    arguments = StandardROIHeads._init_box_head(config, shapes)
    box = config.MODEL.ROI_BOX_HEAD
    strides = [shapes[name].stride for name in arguments["box_in_features"]]
    arguments["box_pooler"] = RoIPooler(box.POOLER_RESOLUTION, strides, box.POOLER_SAMPLING_RATIO)
    arguments.update(super(StandardROIHeads, StandardROIHeads).from_config(config))
    return arguments


def feature_names(strides: Sequence[int], letter: str = "p") -> list[str]:
    """Names of maps by stride as in the papers: p2 is the pyramid's map at stride 4, c2 that of the bottom-up."""
    return [f"{letter}{stride.bit_length() - 1}" for stride in strides]
