"""timm networks as backbones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from engine_fixtures import SMALL, recipe, task
from safetensors.torch import save_file

from harness.contract import Init, Method, Part
from harness.errors import HarnessError
from methods import timm_backbone
from methods.shared.weights import match_by_order
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


@pytest.mark.parametrize("method", timm_backbone.METHODS, ids=lambda method: method.name)
def test_named_methods_have_timms_network_and_the_parameters_of_their_cards(task_of: Any, method: Method) -> None:
    part = method.parts["backbone"]
    net = part.build(task_of(), init=Init()).eval()
    whole = timm.create_model(part.options["model"]).eval()
    published = method.card.published
    assert f"{_count(whole):,}" == published["parameters with a 1000-way classifier"]
    assert f"{_count(net):,}" == published["parameters of the backbone"]
    assert (net.strides, net.pad_to) == ((4, 8, 16, 32), 32)
    # timm's feature network names its stages otherwise: the weights are handed over in order
    theirs = match_by_order(net.network, whole.state_dict())
    assert theirs is not None
    net.network.load_state_dict(theirs)
    image = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        wanted = whole.forward_intermediates(image, intermediates_only=True)
        for one, other in zip(net(image), wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def _count(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


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


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_with_timms_names_gives_timms_features(task_of: Any, tmp_path: Path, suffix: str) -> None:
    whole = timm.create_model("tf_efficientnet_lite0").eval()
    path = tmp_path / f"weights{suffix}"
    save_file(whole.state_dict(), path) if suffix == ".safetensors" else torch.save(whole.state_dict(), path)
    assert_same_features("tf_efficientnet_lite0", path, whole, task_of)


def test_a_file_under_other_names_loads_by_order_and_shape(task_of: Any, tmp_path: Path) -> None:
    whole = timm.create_model("tf_efficientnet_lite0").eval()
    renamed = {f"layer_{i}": value for i, value in enumerate(whole.state_dict().values())}
    counters = {f"layer_{i}" for i, name in enumerate(whole.state_dict()) if name.endswith("num_batches_tracked")}
    without = {name: value for name, value in renamed.items() if name not in counters}
    torch.save(without, tmp_path / "renamed.pth")
    assert_same_features("tf_efficientnet_lite0", tmp_path / "renamed.pth", whole, task_of)


def test_another_order_or_known_names_elsewhere_do_not_load(task_of: Any, tmp_path: Path) -> None:
    whole = timm.create_model(MODEL)
    weights = {n: v for n, v in whole.state_dict().items() if not n.endswith("num_batches_tracked")}
    assert match_by_order(whole, weights) is not None
    first, second = "bn1.weight", "bn1.bias"  # of one shape
    swapped = {{first: second, second: first}.get(n, n): v for n, v in weights.items()}
    assert match_by_order(whole, swapped) is None
    backwards = {f"layer_{i}": v for i, v in enumerate(reversed(weights.values()))}
    torch.save(backwards, tmp_path / "backwards.pth")
    with pytest.raises(HarnessError, match="does not fit"):
        build(task_of(), TimmOptions(model=MODEL), init=Init("imagenet", str(tmp_path / "backwards.pth")))


def assert_same_features(model: str, path: Path, whole: Any, task_of: Any) -> None:
    """As timm's own intermediate features."""
    net = build(task_of(), TimmOptions(model=model), init=Init("imagenet", str(path))).eval()
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        wanted = [m for m in whole.forward_intermediates(image, intermediates_only=True) if m.shape[-1] <= 24]
        for one, other in zip(net(image), wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_statistics_are_those_of_the_models_own_configuration(task_of: Any) -> None:
    """timm's `default_cfg`: 0.5 for EfficientNet-Lite0, ImageNet's for most others."""
    lite = build(task_of(), TimmOptions(model="tf_efficientnet_lite0"), init=Init())
    assert lite.pixel_mean == lite.pixel_std == (127.5, 127.5, 127.5)
    plain = build(task_of(), TimmOptions(model="resnet10t"), init=Init())
    assert plain.pixel_mean == pytest.approx((123.675, 116.28, 103.53))
    assert plain.pixel_std == pytest.approx((58.395, 57.12, 57.375))


@pytest.mark.parametrize(("kind", "mean", "std"), [("imagenet", 127.5, 127.5), ("scratch", 120.0, 30.0)])
def test_the_engine_normalizes_as_the_weights_were_trained(kind: str, mean: float, std: float) -> None:
    part = Part("lite0", "methods.timm_backbone.backbone:build", {"model": "tf_efficientnet_lite0"})
    base = recipe(init=kind).with_parts(backbone=part)
    base = base.with_parts(init=base.init.with_options(restored=True))
    module = base.engine.build(base, task(1, **SMALL)).module
    assert module.pixel_mean.flatten().tolist() == [mean] * 3
    assert module.pixel_std.flatten().tolist() == [std] * 3


def test_without_a_network_it_says_how_to_give_a_file(
    task_of: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(HarnessError, match="--init imagenet:FILE"):
        build(task_of(), TimmOptions(model="resnet10t"), init=Init("imagenet"))


def _trained(net: Any) -> set[str]:
    return {name for name, parameter in net.network.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("freeze", [None, "norm", "nothing"])
def test_imagenet_weights_freeze_what_the_zoo_freezes(task_of: Any, tmp_path: Path, freeze: str | None) -> None:
    """Batch norm, the stem and the stage at stride 4. From scratch everything is trained."""
    path = tmp_path / "whole.pth"
    torch.save(timm.create_model(MODEL).state_dict(), path)
    options = TimmOptions(model=MODEL, freeze=freeze)
    net = build(task_of(), options, init=Init("imagenet", str(path)))
    kinds = {type(module).__name__ for module in net.modules()}
    assert ("FrozenBatchNorm2d" in kinds) == (freeze != "nothing")
    fresh = build(task_of(), options, init=Init())
    whole = _trained(fresh)
    modules = [name for name, m in fresh.network.named_modules() if isinstance(m, torch.nn.BatchNorm2d)]
    norms = {name for name in whole if name.rpartition(".")[0] in modules}
    first = {name for name in whole if name.startswith(("conv1", "bn1", "layer1"))}
    wanted = {None: whole - norms - first, "norm": whole - norms, "nothing": whole}[freeze]
    assert _trained(net) == wanted
    net.train()(torch.randn(1, 3, 64, 64))[-1].sum().backward()


def test_stored_weights_state_what_was_frozen(task_of: Any, tmp_path: Path) -> None:
    """A run that goes on from a checkpoint, and a finished run that is built again."""
    torch.save(timm.create_model(MODEL).state_dict(), tmp_path / "whole.pth")
    options = TimmOptions(model=MODEL)
    source = build(task_of(), options, init=Init("imagenet", str(tmp_path / "whole.pth")))
    stored = {f"backbone.bottom_up.body.{name}": value for name, value in source.state_dict().items()}
    save_file(stored, tmp_path / "weights.safetensors")
    path = str(tmp_path / "weights.safetensors")
    for init in (Init("checkpoint", path), Init("imagenet", path, restored=True)):
        net = build(task_of(), options, init=init)
        assert set(net.state_dict()) == set(source.state_dict())
        assert _trained(net) == _trained(source)
    fresh = build(task_of(), options, init=Init())
    save_file({f"backbone.body.{name}": value for name, value in fresh.state_dict().items()}, path)
    assert _trained(build(task_of(), options, init=Init("checkpoint", path))) == _trained(fresh)
