"""detectron2's proposal network, with anchors matched to cells in a way that a CPU's caches hold."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from detectron2.modeling.matcher import Matcher
from detectron2.modeling.proposal_generator import rpn
from detectron2.structures import Boxes
from detectron2.structures import Instances as D2Instances
from torch import Tensor

from methods.engines.in_caches import rows_at_once


class RPN(rpn.RPN):
    """detectron2's. On a CPU it never holds all pairs of cells and anchors at once."""

    @torch.no_grad()
    def label_and_sample_anchors(
        self, anchors: list[Boxes], gt_instances: Sequence[D2Instances]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """For each image the (R,) labels, -1, 0 or 1, of all anchors, and the (R, 4) boxes they are matched to."""
        if anchors[0].device.type != "cpu" or self.anchor_boundary_thresh >= 0:
            labelled: tuple[list[Tensor], list[Tensor]] = super().label_and_sample_anchors(anchors, gt_instances)
            return labelled
        everywhere = Boxes.cat(anchors).tensor
        labels, boxes = [], []
        for instances in gt_instances:
            cells = instances.gt_boxes.tensor
            matches, label = matched(cells, everywhere, self.anchor_matcher)
            labels.append(self._subsample_labels(label))
            boxes.append(cells[matches] if len(cells) else torch.zeros_like(everywhere))
        return labels, boxes


def matched(cells: Tensor, anchors: Tensor, matcher: Matcher) -> tuple[Tensor, Tensor]:
    """What `matcher` makes of the IoU of (M, 4) cells with (N, 4) anchors: (N,) int64 cells and (N,) int8 labels."""
    best, matches = anchors.new_zeros(len(anchors)), torch.zeros(len(anchors), dtype=torch.int64)
    # the anchors that some cell overlaps most
    favoured = []
    x0, y0, x1, y1 = (edge.contiguous() for edge in anchors.unbind(1))
    area = (x1 - x0) * (y1 - y0)
    for some in torch.arange(len(cells)).split(rows_at_once(len(anchors), anchors.device)):
        left, top, right, bottom = cells[some].T[:, :, None]
        overlap = (torch.minimum(x1, right) - torch.maximum(x0, left)).clamp_(min=0)
        overlap *= (torch.minimum(y1, bottom) - torch.maximum(y0, top)).clamp_(min=0)
        union = ((right - left) * (bottom - top) + area).sub_(overlap)
        iou = torch.where(overlap > 0, overlap.div_(union), 0.0)
        if matcher.allow_low_quality_matches:
            favoured.append(torch.nonzero(iou == iou.amax(dim=1, keepdim=True))[:, 1])
        for cell, row in zip(some.tolist(), iou, strict=True):
            matches.masked_fill_(row > best, cell)
            torch.maximum(best, row, out=best)
    labels = torch.ones(len(anchors), dtype=torch.int8)
    for label, low, high in zip(matcher.labels, matcher.thresholds[:-1], matcher.thresholds[1:], strict=True):
        labels[(best >= low) & (best < high)] = label
    if favoured:
        labels[torch.cat(favoured)] = 1
    return matches, labels
