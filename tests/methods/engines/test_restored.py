"""A trained model is built again as it was, without the weights it once started from."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import torch
from builders import SMALL, recipe, task

from harness.contract import Part

TORCHVISION = Part("torchvision", "methods.engines.torchvision_rcnn:build", {"version": 1, "depth": 50})
TIMM = Part("resnet18", "methods.nets.timm_backbone:build", {"model": "resnet18"})
SPINENET = Part("spinenet", "methods.nets.spinenet:build", {"variant": "49S"})
RESNET = Part("resnet", "methods.engines.detectron2_resnet:build", {"depth": 50})


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a download was tried")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.parametrize(
    ("init", "path", "parts", "frozen"),
    [
        ("coco", None, {"engine": TORCHVISION}, True),
        ("imagenet", "/gone/weights.pth", {"engine": TORCHVISION}, False),
        ("coco", "/gone/weights.pkl", {"backbone": RESNET}, True),
        ("imagenet", None, {"backbone": RESNET}, True),
        ("checkpoint", "/gone/weights.safetensors", {"backbone": RESNET}, True),
        ("imagenet", None, {"backbone": TIMM}, False),
        ("imagenet", "/gone/weights.pth", {"backbone": SPINENET}, False),
    ],
)
def test_nothing_is_read_and_the_network_is_the_pretrained_one(
    init: str, path: str | None, parts: dict[str, Part], frozen: bool
) -> None:
    whole = recipe(init=init, path=path).filled(**parts)
    restored = whole.filled(init=whole.init.with_options(restored=True))
    module = restored.engine.build(restored, task(2, **SMALL)).module
    kinds = {type(part).__name__ for part in module.modules()}
    assert ("FrozenBatchNorm2d" in kinds) == frozen
    assert all(torch.isfinite(parameter).all() for parameter in module.parameters())
