"""A ResNet of torchvision keeps its features in the detectron2 engine: stride, colours and statistics go with it."""

from __future__ import annotations

import importlib.util
import pickle
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from engine_fixtures import SMALL, recipe, task
from torch import Tensor, nn

from harness.contract import Part
from harness.training.checkpoint import WEIGHTS, load_weights, save_weights

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def random_statistics(network: nn.Module, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for value, low, high in ((module.running_mean, -0.3, 0.3), (module.running_var, 0.5, 2.0)):
                assert value is not None
                value.copy_(low + (high - low) * torch.rand(value.shape, generator=generator))
            module.weight.data.uniform_(0.3, 0.8, generator=generator)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def network() -> Any:
    torch.manual_seed(0)
    made = torchvision.models.resnet50(weights=None).eval()
    random_statistics(made)
    return made


def features(network: Any, image: np.ndarray) -> list[Tensor]:
    """What torchvision's own forward pass computes, on its own input."""
    x = torchvision.transforms.functional.normalize(torch.from_numpy(image).permute(2, 0, 1) / 255, MEAN, STD)[None]
    maps = []
    with torch.no_grad():
        x = network.maxpool(network.relu(network.bn1(network.conv1(x))))
        for stage in (network.layer1, network.layer2, network.layer3, network.layer4):
            x = stage(x)
            maps.append(x)
    return maps


def converted(network: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file by detectron2's own tool."""
    found = importlib.util.find_spec("tools")
    folders = [] if found is None else list(found.submodule_search_locations or ())
    tools = [Path(f) / "convert-torchvision-to-d2.py" for f in folders]
    tool = next((path for path in tools if path.is_file()), None)
    if tool is None:
        pytest.skip("detectron2 is installed without its tools")
    torch.save(network.state_dict(), folder / "r50.pth")
    monkeypatch.setattr(sys, "argv", [str(tool), str(folder / "r50.pth"), str(folder / "r50.pkl")])
    runpy.run_path(str(tool), run_name="__main__")
    return folder / "r50.pkl"


def built(path: Path, kind: str = "imagenet", **init: Any) -> Any:
    base = recipe(init=kind, path=str(path)).with_parts(
        backbone=Part("resnet", "methods.frameworks.detectron2.resnet:build", {"depth": 50})
    )
    base = base.with_parts(init=base.init.with_options(**init))
    return base.engine.build(base, task(2, **SMALL)).module.eval()


def same_features(module: Any, network: Any, image: np.ndarray) -> None:
    with torch.no_grad():
        ours = module.backbone.bottom_up.body(module.preprocess([image]).tensor)
    for one, wanted in zip(ours, features(network, image), strict=True):
        torch.testing.assert_close(one.contiguous(), wanted, rtol=0, atol=float(1e-5 * wanted.abs().max()))


@pytest.mark.parametrize("layout", ["pth", "pkl"])
def test_features_are_those_of_torchvision(
    layout: str, network: Any, image: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "resnet50.pth"
    if layout == "pkl":
        path = converted(network, tmp_path, monkeypatch)
    else:
        torch.save(network.state_dict(), path)
    module = built(path)
    same_features(module, network, image)
    assert module.channel_order == "RGB"
    assert module.pixel_mean.flatten().tolist() == pytest.approx([255 * v for v in MEAN])
    assert module.pixel_std.flatten().tolist() == pytest.approx([255 * v for v in STD])


def test_basic_blocks_load_too(image: np.ndarray, tmp_path: Path) -> None:
    small = torchvision.models.resnet18(weights=None).eval()
    random_statistics(small)
    torch.save(small.state_dict(), tmp_path / "r18.pth")
    base = recipe(init="imagenet", path=str(tmp_path / "r18.pth"))
    same_features(base.engine.build(base, task(2, **SMALL)).module.eval(), small, image)


def test_the_stored_weights_state_the_layout(network: Any, image: np.ndarray, tmp_path: Path) -> None:
    """A finished run is built again, and continued as a checkpoint, when the file that it began with is gone."""
    source = tmp_path / "resnet50.pth"
    torch.save(network.state_dict(), source)
    save_weights(tmp_path, built(source))
    source.unlink()
    restored = built(tmp_path / WEIGHTS, restored=True)
    load_weights(tmp_path, restored)
    same_features(restored, network, image)
    same_features(built(tmp_path / WEIGHTS, kind="checkpoint"), network, image)


def test_a_file_by_msra_keeps_stride_order_and_statistics(image: np.ndarray, tmp_path: Path) -> None:
    """Against detectron2's own network, config and checkpointer. The names are those that detectron2 writes."""
    from detectron2.checkpoint import DetectionCheckpointer
    from detectron2.layers import ShapeSpec
    from detectron2.model_zoo import get_config
    from detectron2.modeling.backbone.resnet import build_resnet_backbone

    config = get_config("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml")
    source = build_resnet_backbone(config, ShapeSpec(channels=3))
    weights = {n: v.numpy() for n, v in source.state_dict().items()}
    (tmp_path / "msra.pkl").write_bytes(pickle.dumps({"model": weights, "__author__": "MSRA"}))
    reference = build_resnet_backbone(config, ShapeSpec(channels=3)).eval()
    DetectionCheckpointer(reference).load(str(tmp_path / "msra.pkl"))
    module = built(tmp_path / "msra.pkl")
    assert module.channel_order == "BGR"
    mean = torch.tensor([103.53, 116.28, 123.675])[:, None, None]
    x = torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1) - mean
    with torch.no_grad():
        wanted = reference(x[None])
        ours = module.backbone.bottom_up.body(module.preprocess([image]).tensor)
    for name, one in zip(("res2", "res3", "res4", "res5"), ours, strict=True):
        torch.testing.assert_close(one.contiguous(), wanted[name], rtol=0, atol=float(1e-5 * wanted[name].abs().max()))
