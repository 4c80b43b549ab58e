"""detectron2's region proposal network with a training step for all images at once that does not wait for a GPU.

Network, anchors, matching rule, sampling and losses are detectron2's (`modeling/proposal_generator/rpn.py`); tests
compare the two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from detectron2.modeling.proposal_generator import rpn
from detectron2.structures import Boxes
from detectron2.structures import Instances as D2Instances
from torch import Tensor

from methods.frameworks.detectron2.box_losses import box_regression_loss
from methods.frameworks.detectron2.instance_batch import InstanceBatch
from methods.frameworks.detectron2.matching import (
    IoUThresholds,
    MatchState,
    match_all,
    match_chunked,
    match_step,
    subsample_labels,
)
from methods.frameworks.detectron2.sparse_head import sparse_head_outputs
from methods.shared.device_transfer import on_gpu
from methods.shared.ignored_regions import lies_in_region
from methods.shared.nms import nms

Size = tuple[int, int]


class RPNOutputs(NamedTuple):
    """What the network predicts at the A anchors of B images, level after level.

    Attributes:
        logits: (B, A) objectness.
        deltas: (B, A, 4) from anchors to boxes.
        anchors_per_level: They sum to A.
    """

    logits: Tensor
    deltas: Tensor
    anchors_per_level: tuple[int, ...]


class Proposals(NamedTuple):
    """P proposals for each of B images, best first.

    Attributes:
        boxes: (B, P, 4) x0 y0 x1 y1 in pixels of the network's input.
        logits: (B, P) objectness.
        valid: (B, P) bool, False in the padding.
    """

    boxes: Tensor
    logits: Tensor
    valid: Tensor


class RPN(rpn.RPN):
    """detectron2's network, built from its config.

    Attributes:
        match_step: How anchors are matched with a chunk of the instances on a GPU: `matching.match_step`, or compiled.
    """

    match_step: Callable[[MatchState, Tensor, Tensor, Tensor, Tensor], MatchState] = staticmethod(match_step)
    _cached_anchors: tuple[tuple[torch.Size, ...], Tensor] | None = None

    def forward(
        self, images: Any, features: dict[str, Tensor], gt_instances: None = None
    ) -> tuple[list[D2Instances], dict[str, Tensor]]:
        """Proposals of images in prediction; no losses."""
        maps = [features[name] for name in self.in_features]
        proposals = self.select_proposals(self.outputs(maps), self.anchors(maps), images.image_sizes)
        instances = []
        for size, boxes, logits, valid in zip(images.image_sizes, *proposals, strict=True):
            instances.append(D2Instances(size, proposal_boxes=Boxes(boxes[valid]), objectness_logits=logits[valid]))
        return instances, {}

    def outputs(self, maps: list[Tensor]) -> RPNOutputs:
        """The network at all anchors of (B, C, h, w) maps, fine to coarse."""
        if not on_gpu(maps[0]) and torch.is_grad_enabled():
            logits, deltas = sparse_head_outputs(self.rpn_head, maps)
            anchors_per_pixel = self.rpn_head.objectness_logits.out_channels
            lengths = tuple(anchors_per_pixel * x.shape[2] * x.shape[3] for x in maps)
            return RPNOutputs(logits, deltas, lengths)
        logits, deltas = self.rpn_head(maps)
        flat_logits = [x.permute(0, 2, 3, 1).flatten(1) for x in logits]
        # the channels hold the four deltas of a pixel's first anchor, then those of its second
        flat_deltas = [x.permute(0, 2, 3, 1).reshape(len(x), -1, 4) for x in deltas]
        anchors_per_level = tuple(x.shape[1] for x in flat_logits)
        return RPNOutputs(torch.cat(flat_logits, dim=1), torch.cat(flat_deltas, dim=1), anchors_per_level)

    def anchors(self, maps: list[Tensor]) -> Tensor:
        """(A, 4) float32, level after level. They are cached for maps of the same sizes."""
        sizes, cached = tuple(m.shape[-2:] for m in maps), self._cached_anchors
        if cached is None or cached[0] != sizes or cached[1].device != maps[0].device:
            self._cached_anchors = cached = sizes, Boxes.cat(self.anchor_generator(maps)).tensor
        return cached[1]

    def compute_losses(self, outputs: RPNOutputs, anchors: Tensor, instances: InstanceBatch) -> dict[str, Tensor]:
        """detectron2's `loss_rpn_cls` and `loss_rpn_loc` over sampled anchors, none of them in a crowd region."""
        with torch.no_grad():
            low, high = self.anchor_matcher.thresholds[1:-1]
            thresholds = IoUThresholds(low, high, self.anchor_matcher.allow_low_quality_matches)
            matches, labels = self._match_anchors(instances, anchors, thresholds)
            if instances.ignored is not None:
                labels = labels.masked_fill((labels == 0) & lies_in_region(instances.ignored, anchors, low), -1)
            sampled = subsample_labels(labels, self.batch_size_per_image, self.positive_fraction)
            max_positive = min(int(self.batch_size_per_image * self.positive_fraction), labels.shape[1])
            near, positive = sampled.indices[:, :max_positive], sampled.positive[:, :max_positive]
            targets = batched_index_select(instances.boxes, matches.gather(1, near))
        logits = outputs.logits.gather(1, sampled.indices).float()
        classification = F.binary_cross_entropy_with_logits(logits, sampled.positive.float(), reduction="none")
        weights, deltas = self.box2box_transform.weights, batched_index_select(outputs.deltas, near)
        localization = box_regression_loss(deltas, anchors[near], targets, positive, weights)
        normalizer = self.batch_size_per_image * len(logits)
        losses = {
            "loss_rpn_cls": (classification * sampled.valid).sum() / normalizer,
            "loss_rpn_loc": localization / normalizer,
        }
        return {name: value * self.loss_weight.get(name, 1.0) for name, value in losses.items()}

    def _match_anchors(
        self, instances: InstanceBatch, anchors: Tensor, thresholds: IoUThresholds
    ) -> tuple[Tensor, Tensor]:
        """(B, A) indices of the instances that anchors are matched with, and (B, A) labels of the anchors."""
        if on_gpu(anchors):
            return match_all(instances.boxes, instances.valid, anchors, thresholds, self.match_step)
        images = zip(instances.boxes, instances.counts, strict=True)
        each = [match_chunked(boxes[:count], anchors, thresholds) for boxes, count in images]
        return torch.stack([matches for matches, _ in each]), torch.stack([labels for _, labels in each])

    @torch.no_grad()
    def select_proposals(self, outputs: RPNOutputs, anchors: Tensor, sizes: Sequence[Size]) -> Proposals:
        """The best boxes of each level, after non-maximum suppression in each level.

        Boxes that are not finite or have no area are left out.

        Args:
            outputs: Of the network.
            anchors: (A, 4).
            sizes: Height and width of each image in pixels of the network's input.
        """
        scores, indices = self._topk_per_level(outputs)
        logits, index = torch.cat(scores, dim=1).float(), torch.cat(indices, dim=1)
        deltas = batched_index_select(outputs.deltas, index)
        decoded = self.box2box_transform.apply_deltas(deltas.reshape(-1, 4), anchors[index].reshape(-1, 4))
        boxes = decoded.reshape(len(logits), -1, 4)
        finite = torch.isfinite(boxes).all(dim=-1) & torch.isfinite(logits)
        boxes = clip_boxes(torch.where(finite[..., None], boxes, 0.0), sizes)
        logits = logits.masked_fill(~(finite & (boxes[..., 2:] > boxes[..., :2]).all(dim=-1)), -torch.inf)

        max_proposals, lengths = self.post_nms_topk[self.training], [x.shape[1] for x in scores]
        proposals = []
        for image, size in enumerate(sizes):
            if on_gpu(boxes):
                kept = batched_nms(boxes[image], logits[image], lengths, self.nms_thresh, size)[:max_proposals]
            else:
                kept = nms_per_level(boxes[image], logits[image], lengths, self.nms_thresh)[:max_proposals]
            kept = F.pad(kept, (0, max_proposals - len(kept)), value=-1)
            valid = (kept >= 0) & (logits[image][kept] > -torch.inf)
            proposals.append((boxes[image][kept], logits[image][kept], valid))
        return Proposals(*(torch.stack(tensors) for tensors in zip(*proposals, strict=True)))

    def _topk_per_level(self, outputs: RPNOutputs) -> tuple[list[Tensor], list[Tensor]]:
        """For each level the (B, k) greatest logits, and the indices of their anchors among all."""
        scores, indices, begin = [], [], 0
        for level in outputs.logits.split(list(outputs.anchors_per_level), dim=1):
            best, index = level.topk(min(level.shape[1], self.pre_nms_topk[self.training]), dim=1)
            scores.append(best)
            indices.append(index + begin)
            begin += level.shape[1]
        return scores, indices


def nms_per_level(boxes: Tensor, scores: Tensor, lengths: Sequence[int], threshold: float) -> Tensor:
    """Non-maximum suppression in each level of the boxes of one image.

    Args:
        boxes: (K, 4), level after level.
        scores: (K,).
        lengths: Boxes of each level; they sum to K.
        threshold: IoU above which the box with the lower score is removed.

    Returns:
        Indices of the boxes that remain, best first.
    """
    begin, kept = 0, []
    for of_level, level_scores in zip(boxes.split(list(lengths)), scores.split(list(lengths)), strict=True):
        kept.append(nms(of_level, level_scores, threshold) + begin)
        begin += len(of_level)
    indices = torch.cat(kept)
    return indices[scores[indices].argsort(descending=True, stable=True)]


def batched_nms(boxes: Tensor, scores: Tensor, lengths: Sequence[int], threshold: float, size: Size) -> Tensor:
    """The same in one call, because every call waits for a GPU.

    Levels are shifted apart by more than `size`, the height and width of the image, so that they do not overlap.
    """
    level = torch.cat([boxes.new_full((n, 1), float(i)) for i, n in enumerate(lengths)])
    kept: Tensor = nms(boxes + level * (max(size) + 1), scores, threshold)
    return kept


def batched_index_select(values: Tensor, index: Tensor) -> Tensor:
    """(B, S, C) rows of (B, N, C) values by (B, S) indices along N."""
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[2]))


def clip_boxes(boxes: Tensor, sizes: Sequence[Size]) -> Tensor:
    """(B, K, 4) boxes clipped to their images, given as height and width."""
    if len(set(sizes)) == 1:
        height, width = sizes[0]
        x, y = boxes[..., 0::2].clamp(0, width), boxes[..., 1::2].clamp(0, height)
        return torch.stack([x, y], dim=-1).flatten(2)
    return torch.cat([clip_boxes(of_image, [size]) for of_image, size in zip(boxes.split(1), sizes, strict=True)])
