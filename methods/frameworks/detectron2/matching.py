"""Matching of boxes with annotated instances, and sampling of boxes for a loss, without waiting for a GPU.

The rules are those of detectron2 (`modeling/matcher.py`, `modeling/sampling.py`); tests compare the two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.shared.chunking import chunk_size

MATCH_CHUNK = 16
"""Instances of each image that are matched at once on a GPU. With 8 images of 147,456 anchors a tensor has 75 MB."""


EQUAL = 1e-6
"""IoUs that differ by no more count as equal in the choice of an instance: compiled code may round them differently."""


class IoUThresholds(NamedTuple):
    """Which boxes are positive and negative by their best IoU with an instance.

    Attributes:
        low: Boxes with an IoU below it are negative.
        high: Boxes with an IoU of at least this are positive. Those between low and high are ignored.
        allow_low_quality_matches: Whether the boxes that overlap an instance most are positive at any IoU (Ren et al.
            2015, section 3.1.2).
    """

    low: float
    high: float
    allow_low_quality_matches: bool

    def labels(self, best_iou: Tensor, low_quality: Tensor | None) -> Tensor:
        """(...) int8 labels: 1 positive, 0 negative, -1 ignored.

        Args:
            best_iou: (...) of each box.
            low_quality: (...) bool, the boxes that overlap an instance most; None where that does not matter.
        """
        positive, ignored = best_iou >= self.high, (best_iou >= self.low) & (best_iou < self.high)
        labels = positive.to(torch.int8) - ignored.to(torch.int8)
        return labels if low_quality is None else torch.where(low_quality, 1, labels)


class SampledIndices(NamedTuple):
    """Boxes sampled for a loss, S for each of B images: positive ones first, then negative ones, then padding.

    Attributes:
        indices: (B, S) int64.
        positive: (B, S) bool.
        valid: (B, S) bool, False in the padding.
    """

    indices: Tensor
    positive: Tensor
    valid: Tensor


def match_chunked(targets: Tensor, anchors: Tensor, thresholds: IoUThresholds) -> tuple[Tensor, Tensor]:
    """Match anchors with the instances of one image on a CPU, without a tensor of all pairs.

    Args:
        targets: (M, 4) boxes of the instances.
        anchors: (A, 4) boxes.
        thresholds: How anchors are labelled.

    Returns:
        (A,) int64 index of the best instance of each anchor, and (A,) int8 labels.
    """
    best_iou, matches = anchors.new_zeros(len(anchors)), torch.zeros(len(anchors), dtype=torch.int64)
    low_quality = torch.zeros(len(anchors), dtype=torch.bool) if thresholds.allow_low_quality_matches else None
    edges = [edge.contiguous() for edge in anchors.unbind(1)]
    for chunk in torch.arange(len(targets)).split(chunk_size(len(anchors), anchors.device)):
        iou = pairwise_iou(targets[chunk].T[:, :, None], edges)
        if low_quality is not None:
            low_quality[torch.nonzero(iou == iou.amax(dim=1, keepdim=True))[:, 1]] = True
        for index, row in zip(chunk.tolist(), iou, strict=True):
            matches.masked_fill_(row > best_iou, index)
            torch.maximum(best_iou, row, out=best_iou)
    return matches, thresholds.labels(best_iou, low_quality)


class MatchState(NamedTuple):
    """What is known of (B, A) anchors after some of the instances.

    Attributes:
        best_iou: (B, A) float32, -1 before the first instance.
        matches: (B, A) int64 index of the instance with that IoU.
        low_quality: (B, A) bool, whether the anchor overlaps one of the instances most.
    """

    best_iou: Tensor
    matches: Tensor
    low_quality: Tensor


def match_all(
    boxes: Tensor,
    valid: Tensor,
    anchors: Tensor,
    thresholds: IoUThresholds,
    step: Callable[[MatchState, Tensor, Tensor, Tensor, Tensor], MatchState] | None = None,
) -> tuple[Tensor, Tensor]:
    """Match anchors with the instances of all images, MATCH_CHUNK instances of each image at a time.

    No tensor has more than B * MATCH_CHUNK * A elements, however many instances there are. Of instances that overlap an
    anchor equally, any of a chunk is taken.

    Args:
        boxes: (B, M, 4) of the instances.
        valid: (B, M) bool, False in the padding.
        anchors: (A, 4) boxes.
        thresholds: How anchors are labelled.
        step: `match_step`, or the same compiled. Its arguments have the same shapes at any M.

    Returns:
        (B, A) int64 index of the best instance of each anchor, and (B, A) int8 labels.
    """
    padding = -boxes.shape[1] % MATCH_CHUNK
    boxes, valid = F.pad(boxes, (0, 0, 0, padding)), F.pad(valid, (0, padding))
    indices = torch.arange(boxes.shape[1], device=boxes.device)
    shape = len(boxes), len(anchors)
    state = MatchState(
        torch.full(shape, -1.0, device=boxes.device),
        torch.zeros(shape, dtype=torch.int64, device=boxes.device),
        torch.zeros(shape, dtype=torch.bool, device=boxes.device),
    )
    chunks = (x.split(MATCH_CHUNK, dim=-1) for x in (valid, indices))
    for chunk, chunk_valid, index in zip(boxes.split(MATCH_CHUNK, dim=1), *chunks, strict=True):
        # contiguous copies, whose strides do not depend on M
        state = (step or match_step)(state, chunk.contiguous(), chunk_valid.contiguous(), index.clone(), anchors)
    low_quality = state.low_quality if thresholds.allow_low_quality_matches else None
    return state.matches, thresholds.labels(state.best_iou, low_quality)


def match_step(state: MatchState, boxes: Tensor, valid: Tensor, index: Tensor, anchors: Tensor) -> MatchState:
    """The state of anchors after (B, K, 4) more instances with (K,) indices; `valid` is False in the padding."""
    iou = torch.where(valid[..., None], pairwise_iou(boxes.permute(2, 0, 1)[..., None], anchors.unbind(1)), -1.0)
    best_iou = iou.amax(dim=1)
    better = best_iou > state.best_iou
    # not iou.max(dim=1): where the compiler of torch 2.11 fuses all, it makes wrong indices of that
    last = len(index) - 1
    order = torch.arange(len(index), dtype=torch.int32, device=iou.device)[:, None]
    matches = torch.where(iou >= best_iou[:, None] - EQUAL, order, last).amin(dim=1)
    low_quality = ((iou == iou.amax(dim=2, keepdim=True)) & valid[..., None]).any(dim=1)
    return MatchState(
        torch.where(better, best_iou, state.best_iou),
        torch.where(better, index[matches.long()], state.matches),
        state.low_quality | low_quality,
    )


def pairwise_iou(boxes: Sequence[Tensor] | Tensor, others: Sequence[Tensor] | Tensor) -> Tensor:
    """IoU of boxes given as left, top, right and bottom edges, whose shapes broadcast; 0 where boxes do not meet."""
    left, top, right, bottom = boxes
    x0, y0, x1, y1 = others
    intersection = (torch.minimum(x1, right) - torch.maximum(x0, left)).clamp_(min=0)
    intersection *= (torch.minimum(y1, bottom) - torch.maximum(y0, top)).clamp_(min=0)
    union = ((right - left) * (bottom - top) + (x1 - x0) * (y1 - y0)).sub_(intersection)
    return torch.where(intersection > 0, intersection.div_(union), 0.0)


def subsample_labels(labels: Tensor, num_samples: int, positive_fraction: float) -> SampledIndices:
    """Sample boxes at random: up to `int(num_samples * positive_fraction)` positive ones, the rest negative.

    The numbers are those of detectron2's `subsample_labels`, for all images at once and with one shape.

    Args:
        labels: (B, N) int8: 1 positive, 0 negative, -1 ignored.
        num_samples: Boxes of each image.
        positive_fraction: In [0, 1].

    Returns:
        S = min(num_samples, N) boxes of each image.
    """
    total = labels.shape[1]
    max_positive, size = min(int(num_samples * positive_fraction), total), min(num_samples, total)
    priority = torch.rand(labels.shape, device=labels.device)
    positive_priority, positives = torch.where(labels == 1, priority, -1.0).topk(max_positive, dim=1)
    negative_priority, negatives = torch.where(labels == 0, priority, -1.0).topk(size, dim=1)
    positive_valid = positive_priority >= 0
    num_negative = num_samples - positive_valid.sum(dim=1, keepdim=True)
    negative_valid = (negative_priority >= 0) & (torch.arange(size, device=labels.device) < num_negative)
    valid = torch.cat([positive_valid, negative_valid], dim=1)
    order = valid.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :size]
    positive = torch.cat([positive_valid, torch.zeros_like(negative_valid)], dim=1)
    indices = torch.cat([positives, negatives], dim=1)
    return SampledIndices(indices.gather(1, order), positive.gather(1, order), valid.gather(1, order))
