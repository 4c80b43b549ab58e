"""cuDNN's timing of algorithms is on for the part with fixed shapes alone, in both passes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from engine_fixtures import SMALL, discs, recipe, task
from torch import Tensor, nn

from harness.contract import Part
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


TORCHVISION = Part("torchvision", "methods.frameworks.torchvision.rcnn:build", {"version": 1, "depth": 18})
FIRST_CONVOLUTION = {"detectron2": "bottom_up.body.bottom_up.stem.conv1", "torchvision": "body.conv1"}
HEAD = {"detectron2": "roi_heads.mask_head.convs.0", "torchvision": "roi_heads.mask_predictor.mask_fcn_logits"}


@pytest.mark.parametrize("engine", ["detectron2", "torchvision"])
def test_backbones_are_timed_in_training_and_heads_are_not(engine: str) -> None:
    base = recipe() if engine == "detectron2" else recipe().with_parts(engine=TORCHVISION)
    model = base.engine.build(base, task(**SMALL))
    seen: dict[str, bool] = {}

    def watch(name: str, layer: Any) -> None:
        def forward(part: nn.Module, inputs: object, output: object) -> None:
            seen[f"{name} forward"] = torch.backends.cudnn.benchmark

        def backward(gradient: Tensor) -> None:
            seen[f"{name} backward"] = torch.backends.cudnn.benchmark

        layer.register_forward_hook(forward)
        layer.weight.register_hook(backward)

    watch("backbone", model.module.backbone.get_submodule(FIRST_CONVOLUTION[engine]))
    watch("head", model.module.get_submodule(HEAD[engine]))
    model.module.train()
    losses = model.losses([discs(5, seed=1), discs(3, seed=2)])
    torch.stack(list(losses.values())).sum().backward()
    assert seen == {
        "backbone forward": True,
        "backbone backward": True,
        "head forward": False,
        "head backward": False,
    }
    seen.clear()
    model.module.eval()
    model.predict([discs(5, seed=1).image])
    assert not any(seen.values())
