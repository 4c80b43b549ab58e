"""How much is worked on together, so that what is made on the way stays in a processor's caches."""

from __future__ import annotations

import torch

ELEMENTS = 2**16
"""Of one intermediate tensor. Twice as fast as all at once on cells by anchors, no slower on windows of masks."""


def chunk_size(elements: int, device: torch.device) -> int:
    """Rows of so many elements each, at least one; on a GPU all."""
    return max(1, ELEMENTS // max(elements, 1)) if device.type == "cpu" else 2**31
