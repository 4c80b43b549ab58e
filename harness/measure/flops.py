"""Parameters and floating-point operations of a model, counted, not estimated."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from harness.contract import Model


def parameters(model: Model) -> tuple[int, int]:
    """All parameters and the trainable ones. Buffers (frozen batch statistics) do not count."""
    sizes = [(p.numel(), p.requires_grad) for p in model.module.parameters()]
    return sum(n for n, _ in sizes), sum(n for n, trainable in sizes if trainable)


def flops_of_prediction(model: Model, image: NDArray[np.uint8]) -> int:
    """Operations of one prediction of `image`, an addition and a multiplication counted as two.

    Matrix products and convolutions, as torch counts them; pooling, resampling and suppression are left out. In
    R-CNNs the heads' share follows the number of boxes found, so it is a figure of this image.
    """
    model.module.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.predict([image])
    return int(counter.get_total_flops())
