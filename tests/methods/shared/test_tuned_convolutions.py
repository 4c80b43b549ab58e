"""cuDNN's timing of algorithms is on for the part with fixed shapes alone, in both passes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from methods.shared.tuned_convolutions import tune_backward, tuned_convolutions


class Noted(torch.autograd.Function):
    """The identity, which notes whether timing is on when it runs forward and backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, name: str, seen: dict[str, bool]) -> Tensor:
        ctx.name, ctx.seen = name, seen
        seen[f"{name} forward"] = torch.backends.cudnn.benchmark
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Any, None, None]:
        ctx.seen[f"{ctx.name} backward"] = torch.backends.cudnn.benchmark
        return gradients[0], None, None


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = False


def step() -> dict[str, bool]:
    seen: dict[str, bool] = {}
    x = torch.ones(3, requires_grad=True)
    with tuned_convolutions():
        maps = {"p2": Noted.apply(x, "backbone", seen), "p3": x * 2}
    tune_backward(maps)
    head = Noted.apply(maps["p2"] + maps["p3"], "head", seen)
    head.sum().backward()
    return seen


def test_the_fixed_part_is_timed_and_the_head_is_not() -> None:
    for _ in range(2):
        assert step() == {
            "backbone forward": True,
            "backbone backward": True,
            "head forward": False,
            "head backward": False,
        }
        assert not torch.backends.cudnn.benchmark


def test_nothing_is_timed_under_deterministic_algorithms() -> None:
    torch.use_deterministic_algorithms(True, warn_only=True)
    assert not any(step().values())


def test_what_is_predicted_after_a_failed_backward_pass_is_not_timed() -> None:
    x = torch.ones(3, requires_grad=True)
    with tuned_convolutions():
        y = x * 2
    with pytest.raises(ValueError, match="head"), tuned_convolutions():
        raise ValueError("head")
    assert not torch.backends.cudnn.benchmark
    assert y.requires_grad
