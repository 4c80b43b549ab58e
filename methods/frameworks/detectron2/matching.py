"""Which cell a box is matched with, and which boxes a loss looks at: nothing here asks a GPU how many there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from methods.shared.chunking import chunk_size


class Thresholds(NamedTuple):
    """An IoU of at least `high` makes a box positive, one below `low` negative; between them it is left out.

    allow_low_quality_matches: whether the boxes that a cell overlaps most are positive in any case (Ren et al. 2015,
    section 3.1.2).
    """

    low: float
    high: float
    allow_low_quality_matches: bool

    def labels(self, best: Tensor, favoured: Tensor | None) -> Tensor:
        """(...) int8 of 1, 0 and -1 (left out) from the best IoU of each box."""
        labels = (best >= self.high).to(torch.int8) - ((best >= self.low) & (best < self.high)).to(torch.int8)
        return labels if favoured is None else torch.where(favoured, 1, labels)


class SampledBoxes(NamedTuple):
    """Boxes drawn for a loss: (B, S) places, which of them are positive, and which are used at all.

    Positive ones come first; those that are not used, where too few were found, last.
    """

    places: Tensor
    positive: Tensor
    used: Tensor


def match_chunked(cells: Tensor, anchors: Tensor, thresholds: Thresholds) -> tuple[Tensor, Tensor]:
    """(A,) int64 places of the best among the (M, 4) cells of one image, and int8 labels, of A anchors on a CPU.

    It never holds all pairs of a cell and an anchor.
    """
    best, matches = anchors.new_zeros(len(anchors)), torch.zeros(len(anchors), dtype=torch.int64)
    favoured = torch.zeros(len(anchors), dtype=torch.bool) if thresholds.allow_low_quality_matches else None
    edges = [edge.contiguous() for edge in anchors.unbind(1)]
    for some in torch.arange(len(cells)).split(chunk_size(len(anchors), anchors.device)):
        iou = overlap(cells[some].T[:, :, None], edges)
        if favoured is not None:
            favoured[torch.nonzero(iou == iou.amax(dim=1, keepdim=True))[:, 1]] = True
        for cell, row in zip(some.tolist(), iou, strict=True):
            matches.masked_fill_(row > best, cell)
            torch.maximum(best, row, out=best)
    return matches, thresholds.labels(best, favoured)


def match_all(boxes: Tensor, taken: Tensor, anchors: Tensor, thresholds: Thresholds) -> tuple[Tensor, Tensor]:
    """(B, A) places and labels for the (B, M, 4) cells of all images, of which `taken` are there.

    Compiled, it holds no pair of a cell and an anchor in memory. Of cells that overlap an anchor equally, any is taken.
    """
    cells = boxes.permute(2, 0, 1)[..., None]
    iou = torch.where(taken[..., None], overlap(cells, anchors.unbind(1)), -1.0)
    best, matches = iou.max(dim=1)
    favoured = None
    if thresholds.allow_low_quality_matches:
        favoured = ((iou == iou.amax(dim=2, keepdim=True)) & taken[..., None]).any(dim=1)
    return matches, thresholds.labels(best, favoured)


def match_per_image(boxes: Tensor, taken: Tensor, anchors: Tensor, thresholds: Thresholds) -> tuple[Tensor, Tensor]:
    """The same, with the pairs of one image in memory."""
    images = [match_all(b, t, anchors, thresholds) for b, t in zip(boxes.split(1), taken.split(1), strict=True)]
    return torch.cat([matches for matches, _ in images]), torch.cat([labels for _, labels in images])


def overlap(cells: Sequence[Tensor] | Tensor, boxes: Sequence[Tensor] | Tensor) -> Tensor:
    """IoU of boxes given as their left, top, right and bottom edges, which broadcast; 0 where they do not meet."""
    left, top, right, bottom = cells
    x0, y0, x1, y1 = boxes
    common = (torch.minimum(x1, right) - torch.maximum(x0, left)).clamp_(min=0)
    common *= (torch.minimum(y1, bottom) - torch.maximum(y0, top)).clamp_(min=0)
    union = ((right - left) * (bottom - top) + (x1 - x0) * (y1 - y0)).sub_(common)
    return torch.where(common > 0, common.div_(union), 0.0)


def drawn(labels: Tensor, number: int, fraction: float) -> SampledBoxes:
    """Up to `number` places of each row of (B, N) labels at random: up to int(number * fraction) of those labelled 1,
    the rest of those labelled 0.

    What detectron2's subsample_labels draws, for all images at once and in one shape, min(number, N).
    """
    total = labels.shape[1]
    lots = torch.rand(labels.shape, device=labels.device)
    first, ones = torch.where(labels == 1, lots, -1.0).topk(min(int(number * fraction), total), dim=1)
    then, zeros = torch.where(labels == 0, lots, -1.0).topk(min(number, total), dim=1)
    found = first >= 0
    room = number - found.sum(dim=1, keepdim=True)
    fill = (then >= 0) & (torch.arange(then.shape[1], device=labels.device) < room)
    used = torch.cat([found, fill], dim=1)
    order = used.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, : min(number, total)]
    positive = torch.cat([found, torch.zeros_like(fill)], dim=1)
    places = torch.cat([ones, zeros], dim=1)
    return SampledBoxes(places.gather(1, order), positive.gather(1, order), used.gather(1, order))
