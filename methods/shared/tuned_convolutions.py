"""cuDNN's choice of algorithms by timing, for the part of a network whose shapes are the same in every step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.autograd import Variable
from torch.utils._pytree import tree_leaves


@contextmanager
def tuned_convolutions() -> Iterator[None]:
    """Let cuDNN time its algorithms for the convolutions inside (`torch.backends.cudnn.benchmark`).

    Worth it only where shapes repeat, since each new shape is timed anew. Does nothing under deterministic algorithms.
    """
    _set(True)
    try:
        yield
    finally:
        _set(False)


def tune_backward(results: object) -> None:
    """Do the same in the backward pass, from where it reaches these results to its end.

    Args:
        results: tensors in any nesting, computed under `tuned_convolutions`. The backward pass of what was computed
            from them, whose shapes may differ from step to step, comes before and is not timed.
    """
    for tensor in tree_leaves(results):
        if isinstance(tensor, Tensor) and tensor.requires_grad:
            tensor.register_hook(_begin)


def tune_in_training(module: nn.Module) -> None:
    """Do the same in each forward and backward pass of `module` in training, for networks that call it themselves."""

    def begin(part: nn.Module, inputs: object) -> None:
        _set(part.training)

    def end(part: nn.Module, inputs: object, results: object) -> None:
        _set(False)
        if part.training:
            tune_backward(results)

    module.register_forward_pre_hook(begin)
    module.register_forward_hook(end, always_call=True)


def _begin(gradient: Tensor) -> None:
    if not torch.backends.cudnn.benchmark:
        _set(True)
        # called once, when this backward pass has ended
        Variable._execution_engine.queue_callback(_end)


def _end() -> None:
    _set(False)


def _set(on: bool) -> None:
    torch.backends.cudnn.benchmark = on and not torch.are_deterministic_algorithms_enabled()
