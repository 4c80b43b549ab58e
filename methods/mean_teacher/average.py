"""An exponential average of a network's weights, which can take the place of the weights for a while."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """average = decay * average + (1 - decay) * weights after each step, with a decay that rises from step to step.

    Source: Tarvainen, Valpola 2017 (arXiv 1703.01780). The decay of step t is the smaller of `decay` and
    (1 + t) / (10 + t), as in TensorFlow's ExponentialMovingAverage. Buffers of whole numbers are copied.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module, self.decay, self.steps = module, decay, 0
        self.values = {name: value.detach().clone() for name, value in module.state_dict().items()}

    def decay_of_next(self) -> float:
        """The decay that the next update will use."""
        return min(self.decay, (1 + self.steps) / (10 + self.steps))

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights after another step into the average."""
        decay, state = self.decay_of_next(), self.module.state_dict()
        self.steps += 1
        whole = [name for name, value in self.values.items() if not value.is_floating_point()]
        for name in whole:
            self.values[name].copy_(state[name])
        names = [name for name in self.values if name not in whole]
        averages = [self.values[name] for name in names]
        torch._foreach_mul_(averages, decay)
        torch._foreach_add_(averages, [state[name] for name in names], alpha=1 - decay)

    @contextmanager
    def in_place_of_weights(self) -> Iterator[None]:
        """A block in which the network has the average as its weights. Nothing is copied."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        swapped: set[int] = set()
        for name, value in self.module.state_dict(keep_vars=True).items():
            # a tensor that has two names is swapped once
            if id(value) not in swapped:
                swapped.add(id(value))
                value.data, self.values[name] = self.values[name], value.data

    def load(self, values: Mapping[str, Tensor], steps: int) -> None:
        """Go on from stored values."""
        self.steps = steps
        for name, value in self.values.items():
            value.copy_(values[name])
