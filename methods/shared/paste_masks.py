"""Turns mask probabilities on boxes into cropped masks of the image, without a plane for each instance."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from harness.masks.crops import CropMasks, crop_offsets

CHUNK_PIXELS = 4_000_000


def resize_boxes(boxes: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """(N, 4) boxes x0 y0 x1 y1 of an image of size `old` (height, width) in the pixels of the image at size `new`."""
    if old == new:
        return boxes
    return boxes * boxes.new_tensor([new[1] / old[1], new[0] / old[0]] * 2)


def paste_crops(
    probabilities: Tensor, boxes: Tensor, size: tuple[int, int], threshold: float = 0.5
) -> tuple[CropMasks, np.ndarray]:
    """Paste masks into an image as detectron2 does (`layers/mask_ops.py`, `paste_masks_in_image`), cropped tightly.

    A pixel is inside where the probability at its centre is at least `threshold`. Probabilities are interpolated
    bilinearly between the centres of the bins, with zeros outside. Boxes of similar size are pasted together in chunks,
    so that memory is bounded and little of it is padding.

    Args:
        probabilities: (R, S, S) in [0, 1].
        boxes: (R, 4), x0 y0 x1 y1 in pixels of the image.
        size: Height and width of the image.
        threshold: In [0, 1].

    Returns:
        The M <= R masks that have a pixel, and the (M,) int64 indices of their boxes.
    """
    height, width = size
    limits = boxes.new_tensor([width, height, width, height])
    clipped = torch.minimum(boxes.clamp(min=0), limits)
    corners = torch.cat([clipped[:, :2].floor(), clipped[:, 2:].ceil()], dim=1)
    spans = (corners[:, 2:] - corners[:, :2]).clamp(min=0)
    corner_list, span_list = corners.long().cpu().numpy(), spans.long().cpu().numpy()
    side = span_list.max(axis=1, initial=0)
    order = np.argsort(side, kind="stable")
    order = order[(span_list[order] > 0).all(axis=1)]
    side = side[order]
    crops: dict[int, np.ndarray] = {}
    begin = 0
    while begin < len(order):
        end = begin + 1
        # boxes are sorted by side, so the last one of a chunk is its largest
        largest = 2 * max(side[begin], 8)
        while end < len(order) and side[end] <= largest and (end - begin + 1) * int(side[end]) ** 2 <= CHUNK_PIXELS:
            end += 1
        chunk = order[begin:end]
        h, w = int(span_list[chunk, 1].max()), int(span_list[chunk, 0].max())
        index = torch.from_numpy(chunk).to(boxes.device)
        b, c = boxes[index], corners[index]
        x = (torch.arange(w, device=boxes.device) + 0.5 + c[:, 0, None] - b[:, 0, None]) / (b[:, 2] - b[:, 0])[:, None]
        y = (torch.arange(h, device=boxes.device) + 0.5 + c[:, 1, None] - b[:, 1, None]) / (b[:, 3] - b[:, 1])[:, None]
        grid = torch.stack([(x * 2 - 1)[:, None, :].expand(-1, h, w), (y * 2 - 1)[:, :, None].expand(-1, h, w)], dim=-1)
        values = F.grid_sample(probabilities[index, None], grid.to(probabilities.dtype), align_corners=False)[:, 0]
        inside = (values >= threshold).to(torch.uint8).cpu().numpy()
        for k, i in enumerate(chunk.tolist()):
            crops[i] = inside[k, : span_list[i, 1], : span_list[i, 0]]
        begin = end
    kept = np.asarray(sorted(crops), np.int64)
    loose = corner_list[kept].astype(np.int32)
    pixels = np.concatenate([crops[i].ravel() for i in kept.tolist()]) if len(kept) else np.zeros(0, np.uint8)
    tight, index_of = CropMasks(loose.reshape(-1, 4), pixels, crop_offsets(loose.reshape(-1, 4))).tight()
    return tight, kept[index_of]
