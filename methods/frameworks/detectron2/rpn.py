"""detectron2's proposal network with a training step of its own: all images at once, and no question to the device.

Network, anchors, matching rule, numbers drawn and losses are detectron2's; tests hold both together.
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
from torchvision.ops import nms

from methods.frameworks.detectron2.box_losses import box_regression_loss
from methods.frameworks.detectron2.instance_batch import InstanceBatch
from methods.frameworks.detectron2.matching import Thresholds, drawn, match_chunked, match_per_image

Size = tuple[int, int]


class RPNOutputs(NamedTuple):
    """Of the network at all anchors of B images, level after level: (B, A) logits and (B, A, 4) offsets.

    lengths: anchors of each level.
    """

    logits: Tensor
    offsets: Tensor
    lengths: tuple[int, ...]


class Proposals(NamedTuple):
    """(B, P, 4) boxes of B images, the best first, their (B, P) logits, and which of the P places hold one."""

    boxes: Tensor
    logits: Tensor
    there: Tensor


class RPN(rpn.RPN):
    """detectron2's, by its own configuration.

    match: how a GPU matches cells with anchors.
    """

    match: Callable[[Tensor, Tensor, Tensor, Thresholds], tuple[Tensor, Tensor]] = staticmethod(match_per_image)
    _anchors: tuple[tuple[torch.Size, ...], Tensor] | None = None

    def forward(
        self, images: Any, features: dict[str, Tensor], gt_instances: None = None
    ) -> tuple[list[D2Instances], dict[str, Tensor]]:
        """The proposals of images that are predicted."""
        maps = [features[name] for name in self.in_features]
        found = self.propose(self.answers(maps), self.anchors(maps), images.image_sizes)
        instances = []
        for size, boxes, logits, there in zip(images.image_sizes, *found, strict=True):
            instances.append(D2Instances(size, proposal_boxes=Boxes(boxes[there]), objectness_logits=logits[there]))
        return instances, {}

    def answers(self, maps: list[Tensor]) -> RPNOutputs:
        logits, offsets = self.rpn_head(maps)
        flat = [x.permute(0, 2, 3, 1).flatten(1) for x in logits]
        # a map has the four offsets of a place's first anchor, then of its second
        flat_offsets = [x.permute(0, 2, 3, 1).reshape(len(x), -1, 4) for x in offsets]
        return RPNOutputs(torch.cat(flat, dim=1), torch.cat(flat_offsets, dim=1), tuple(x.shape[1] for x in flat))

    def anchors(self, maps: list[Tensor]) -> Tensor:
        """(A, 4) float32, level after level; made anew where the maps are of other sizes than the last ones."""
        sizes = tuple(m.shape[-2:] for m in maps)
        if self._anchors is None or self._anchors[0] != sizes or self._anchors[1].device != maps[0].device:
            self._anchors = sizes, Boxes.cat(self.anchor_generator(maps)).tensor
        return self._anchors[1]

    def losses_of(self, answers: RPNOutputs, anchors: Tensor, cells: InstanceBatch) -> dict[str, Tensor]:
        """detectron2's two losses, of anchors drawn from all."""
        with torch.no_grad():
            low, high = self.anchor_matcher.thresholds[1:-1]
            rule = Thresholds(low, high, self.anchor_matcher.allow_low_quality_matches)
            matches, labels = self._matched(cells, anchors, rule)
            chosen = drawn(labels, self.batch_size_per_image, self.positive_fraction)
            most = min(int(self.batch_size_per_image * self.positive_fraction), labels.shape[1])
            near, positive = chosen.places[:, :most], chosen.positive[:, :most]
            targets = of_rows(cells.boxes, matches.gather(1, near))
        logits = answers.logits.gather(1, chosen.places).float()
        classified = F.binary_cross_entropy_with_logits(logits, chosen.positive.float(), reduction="none")
        weights = self.box2box_transform.weights
        located = box_regression_loss(of_rows(answers.offsets, near), anchors[near], targets, positive, weights)
        count = self.batch_size_per_image * len(logits)
        losses = {"loss_rpn_cls": (classified * chosen.used).sum() / count, "loss_rpn_loc": located / count}
        return {name: value * self.loss_weight.get(name, 1.0) for name, value in losses.items()}

    def _matched(self, cells: InstanceBatch, anchors: Tensor, rule: Thresholds) -> tuple[Tensor, Tensor]:
        """(B, A) places of the cells that anchors are matched with, and the anchors' labels."""
        if anchors.device.type != "cpu":
            return self.match(cells.boxes, cells.taken, anchors, rule)
        images = zip(cells.boxes, cells.counts, strict=True)
        each = [match_chunked(boxes[:count], anchors, rule) for boxes, count in images]
        return torch.stack([matches for matches, _ in each]), torch.stack([labels for _, labels in each])

    @torch.no_grad()
    def propose(self, answers: RPNOutputs, anchors: Tensor, sizes: Sequence[Size]) -> Proposals:
        """The best boxes of each level, those that another of the level covers left out, and of the rest the best.

        A box that is not finite or has no area is none.
        """
        scores, places = self._best_of_levels(answers)
        logits = torch.cat(scores, dim=1).float()
        index = torch.cat(places, dim=1)
        moved = self.box2box_transform.apply_deltas(
            of_rows(answers.offsets, index).reshape(-1, 4), anchors[index].reshape(-1, 4)
        )
        boxes = moved.reshape(len(logits), -1, 4)
        finite = torch.isfinite(boxes).all(dim=-1) & torch.isfinite(logits)
        boxes = within(torch.where(finite[..., None], boxes, 0.0), sizes)
        logits = logits.masked_fill(~(finite & (boxes[..., 2:] > boxes[..., :2]).all(dim=-1)), -torch.inf)

        most, lengths = self.post_nms_topk[self.training], [x.shape[1] for x in scores]
        found = []
        for image, size in enumerate(sizes):
            if boxes.device.type == "cpu":
                kept = nms_per_level(boxes[image], logits[image], lengths, self.nms_thresh)[:most]
            else:
                kept = batched_nms(boxes[image], logits[image], lengths, self.nms_thresh, size)[:most]
            kept = F.pad(kept, (0, most - len(kept)), value=-1)
            there = (kept >= 0) & (logits[image][kept] > -torch.inf)
            found.append((boxes[image][kept], logits[image][kept], there))
        return Proposals(*(torch.stack(those) for those in zip(*found, strict=True)))

    def _best_of_levels(self, answers: RPNOutputs) -> tuple[list[Tensor], list[Tensor]]:
        """Of each level the (B, k) greatest logits, and the numbers of their anchors among all."""
        scores, places, begin = [], [], 0
        for level in answers.logits.split(list(answers.lengths), dim=1):
            best, where = level.topk(min(level.shape[1], self.pre_nms_topk[self.training]), dim=1)
            scores.append(best)
            places.append(where + begin)
            begin += level.shape[1]
        return scores, places


def nms_per_level(boxes: Tensor, scores: Tensor, lengths: Sequence[int], threshold: float) -> Tensor:
    """Numbers of (K, 4) boxes of one image, best first, that no better one of their level overlaps by more than
    `threshold`. lengths: boxes of each level."""
    begin, those = 0, []
    for some, some_scores in zip(boxes.split(list(lengths)), scores.split(list(lengths)), strict=True):
        those.append(nms(some, some_scores, threshold) + begin)
        begin += len(some)
    together = torch.cat(those)
    return together[scores[together].argsort(descending=True, stable=True)]


def batched_nms(boxes: Tensor, scores: Tensor, lengths: Sequence[int], threshold: float, size: Size) -> Tensor:
    """The same in one call, for a GPU, which each call waits for: the levels are moved apart. size: of the image."""
    level = torch.cat([boxes.new_full((n, 1), float(i)) for i, n in enumerate(lengths)])
    kept: Tensor = nms(boxes + level * (max(size) + 1), scores, threshold)
    return kept


def of_rows(values: Tensor, index: Tensor) -> Tensor:
    """(B, S, C) from (B, N, C) and (B, S) numbers along N."""
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[2]))


def within(boxes: Tensor, sizes: Sequence[Size]) -> Tensor:
    """(B, K, 4) boxes cut off at the edges of their images, given as height and width."""
    if len(set(sizes)) == 1:
        height, width = sizes[0]
        x, y = boxes[..., 0::2].clamp(0, width), boxes[..., 1::2].clamp(0, height)
        return torch.stack([x, y], dim=-1).flatten(2)
    cut = [within(some, [size]) for some, size in zip(boxes.split(1), sizes, strict=True)]
    return torch.cat(cut)
