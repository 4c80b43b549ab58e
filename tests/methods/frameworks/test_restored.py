"""A trained model is rebuilt without the weights that its training started from."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_fixtures import SMALL, recipe, task

from harness.contract import Part
from harness.training.checkpoint import WEIGHTS, load_weights, save_weights

TORCHVISION = Part("torchvision", "methods.frameworks.torchvision.rcnn:build", {"version": 1, "depth": 50})
TIMM = Part("resnet18", "methods.timm_backbone.backbone:build", {"model": "resnet18"})
SPINENET = Part("spinenet", "methods.spinenet.backbone:build", {"variant": "49S"})
RESNET = Part("resnet", "methods.frameworks.detectron2.resnet:build", {"depth": 50})


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
        ("imagenet", "/gone/weights.pth", {"engine": TORCHVISION}, True),
        ("coco", "/gone/weights.pkl", {"backbone": RESNET}, True),
        ("imagenet", None, {"backbone": RESNET}, True),
        ("imagenet", None, {"backbone": TIMM}, True),
        ("imagenet", "/gone/weights.pth", {"backbone": SPINENET}, False),
    ],
)
def test_nothing_is_read_and_the_network_is_the_pretrained_one(
    init: str, path: str | None, parts: dict[str, Part], frozen: bool
) -> None:
    whole = recipe(init=init, path=path).with_parts(**parts)
    restored = whole.with_parts(init=whole.init.with_options(restored=True))
    module = restored.engine.build(restored, task(2, **SMALL)).module
    kinds = {type(part).__name__ for part in module.modules()}
    assert ("FrozenBatchNorm2d" in kinds) == frozen
    assert all(torch.isfinite(parameter).all() for parameter in module.parameters())


@pytest.mark.parametrize(("first", "frozen"), [("coco", True), ("scratch", False)])
def test_a_run_that_continued_a_checkpoint(first: str, frozen: bool, tmp_path: Path) -> None:
    """The trained weights determine the network. The checkpoint it started from may be deleted."""
    start = recipe(init=first).with_parts(backbone=RESNET)
    start = start.with_parts(init=start.init.with_options(restored=True))
    trained = start.engine.build(start, task(2, **SMALL)).module
    save_weights(tmp_path, trained)
    later = recipe(init="checkpoint", path=str(tmp_path / WEIGHTS)).with_parts(backbone=RESNET)
    restored = later.with_parts(init=later.init.with_options(restored=True))
    module = restored.engine.build(restored, task(2, **SMALL)).module
    load_weights(tmp_path, module)
    assert ("FrozenBatchNorm2d" in {type(part).__name__ for part in module.modules()}) == frozen
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), trained.parameters(), strict=True))
