"""Parameters and floating-point operations of a model, counted, not estimated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from harness.contract import Model, Predictions


def parameters(model: Model) -> tuple[int, int]:
    """All parameters and the trainable ones. Buffers (frozen batch statistics) do not count."""
    sizes = [(p.numel(), p.requires_grad) for p in model.module.parameters()]
    return sum(n for n, _ in sizes), sum(n for n, trainable in sizes if trainable)


class FlopCounter:
    """Wraps a model and counts the operations of its first prediction, without an extra one.

    models: what it wraps. flops: None before. size: height and width of what was predicted, a whole image or a tile.
    """

    def __init__(self, model: Model) -> None:
        self.module, self.losses = model.module, model.losses
        self.models = (model,)
        self.flops: int | None = None
        self.size = (0, 0)

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[Predictions]:
        (model,) = self.models
        if self.flops is not None:
            return model.predict(images)
        with FlopCounterMode(display=False) as counter:
            found = model.predict(images)
        self.flops, self.size = int(counter.get_total_flops()), (images[0].shape[0], images[0].shape[1])
        return found


def flops_of_prediction(model: Model, image: NDArray[np.uint8]) -> int:
    """Operations of one prediction of `image`, an addition and a multiplication counted as two.

    Matrix products and convolutions, as torch counts them; pooling, resampling and suppression are left out. In
    R-CNNs the heads' share follows the number of boxes found, so it is a figure of this image.
    """
    model.module.eval()
    counted = FlopCounter(model)
    with torch.no_grad():
        counted.predict([image])
    assert counted.flops is not None
    return counted.flops
