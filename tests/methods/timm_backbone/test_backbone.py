"""timm networks as backbones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from harness.contract import Init
from harness.errors import HarnessError
from methods.timm_backbone import TimmOptions
from methods.timm_backbone.backbone import build

MODEL = "test_resnet"


@pytest.mark.parametrize("model", ["resnet10t", "convnext_atto"])
def test_maps_at_strides_4_to_32_and_every_parameter_learns(task_of: Any, model: str) -> None:
    net = build(task_of(), TimmOptions(model=model), init=Init())
    maps = net(torch.randn(2, 3, 64, 96))
    assert net.strides == (4, 8, 16, 32)
    assert [tuple(m.shape[1:]) for m in maps] == [
        (c, 64 // s, 96 // s) for c, s in zip(net.channels, net.strides, strict=True)
    ]
    sum(m.sum() for m in maps).backward()
    assert all(p.grad is not None for p in net.parameters())


def test_maps_with_channels_last_are_turned(task_of: Any) -> None:
    """Swin keeps channels last and, unless told otherwise, insists on 224 pixels."""
    net = build(task_of(), TimmOptions(model="swin_tiny_patch4_window7_224"), init=Init()).eval()
    with torch.no_grad():
        assert [m.shape[1] for m in net(torch.randn(1, 3, 64, 96))] == list(net.channels)


def test_networks_that_cannot_serve_say_why(task_of: Any) -> None:
    with pytest.raises(HarnessError, match="did you mean 'resnet34'"):
        build(task_of(), TimmOptions(model="resnett34"), init=Init())
    with pytest.raises(HarnessError, match=r"strides \[16, 16, 16\]"):
        build(task_of(), TimmOptions(model="vit_tiny_patch16_224"), init=Init())
    with pytest.raises(HarnessError, match="images of any size"):
        build(task_of(), TimmOptions(model="levit_128s"), init=Init())


def test_a_file_of_weights_loads_exactly_or_not_at_all(task_of: Any, tmp_path: Path) -> None:
    whole = timm.create_model(MODEL, num_classes=7).eval()
    torch.save(whole.state_dict(), tmp_path / "whole.pth")
    net = build(task_of(), TimmOptions(model=MODEL), init=Init("imagenet", str(tmp_path / "whole.pth"))).eval()
    image = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(net(image)[-1], whole.forward_features(image))
    with pytest.raises(HarnessError, match="does not fit"):
        build(task_of(), TimmOptions(model="resnet10t"), init=Init("imagenet", str(tmp_path / "whole.pth")))
    with pytest.raises(HarnessError, match="no weights file"):
        build(task_of(), TimmOptions(model=MODEL), init=Init("imagenet", str(tmp_path / "none.pth")))


def test_without_a_network_it_says_how_to_give_a_file(
    task_of: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(HarnessError, match="--init imagenet:FILE"):
        build(task_of(), TimmOptions(model="resnet10t"), init=Init("imagenet"))
