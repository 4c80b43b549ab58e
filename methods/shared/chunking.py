"""Chunk sizes that keep intermediate tensors in the caches of a CPU."""

from __future__ import annotations

import torch

MAX_CHUNK_ELEMENTS = 2**16
"""Elements of one intermediate tensor. Matching anchors in such chunks is twice as fast as in one piece."""


def chunk_size(elements: int, device: torch.device) -> int:
    """Number of rows of `elements` elements each to work on at once: at least one, on a GPU all of them."""
    return max(1, MAX_CHUNK_ELEMENTS // max(elements, 1)) if device.type == "cpu" else 2**31
