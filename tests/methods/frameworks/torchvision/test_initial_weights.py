"""With pretrained weights, the torchvision engine is what torchvision builds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_fixtures import recipe, task
from torch import Tensor, nn
from torchvision.models import ResNet50_Weights, resnet50
from torchvision.models._api import WeightsEnum
from torchvision.models.detection import (
    MaskRCNN_ResNet50_FPN_V2_Weights,
    MaskRCNN_ResNet50_FPN_Weights,
    maskrcnn_resnet50_fpn,
    maskrcnn_resnet50_fpn_v2,
)
from torchvision.ops import FrozenBatchNorm2d

from harness.catalog import load_catalog
from harness.config.preset import load_preset
from harness.contract import Init, Part
from harness.stacks import resolve
from harness.training.checkpoint import WEIGHTS, load_weights, save_weights

STOCK = {1: maskrcnn_resnet50_fpn, 2: maskrcnn_resnet50_fpn_v2}
COCO = {1: MaskRCNN_ResNet50_FPN_Weights.COCO_V1, 2: MaskRCNN_ResNet50_FPN_V2_Weights.COCO_V1}


def randomized(network: nn.Module) -> dict[str, Tensor]:
    """Its state with random statistics; of small variance, so that the epsilon of a norm matters."""
    generator = torch.Generator().manual_seed(0)
    state = network.state_dict()
    for name, value in state.items():
        if name.endswith("running_var"):
            value.copy_(torch.rand(value.shape, generator=generator) * 1e-3 + 1e-4)
        elif name.endswith("running_mean"):
            value.copy_(torch.randn(value.shape, generator=generator) * 1e-2)
        elif name.endswith(("bn1.weight", "bn2.weight", "bn3.weight")):
            value.fill_(0.01)
    return state


def stock(version: int, kind: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, dict[str, Tensor]]:
    """torchvision's model with random numbers for its weights, and these."""
    torch.manual_seed(0)
    if kind == "imagenet":
        state = randomized(resnet50(weights=None))
        weights: dict[str, Any] = {"weights_backbone": ResNet50_Weights.IMAGENET1K_V1, "num_classes": 3}
    else:
        monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda *_, **__: randomized(resnet50(weights=None)))
        state = randomized(STOCK[version](weights_backbone=ResNet50_Weights.IMAGENET1K_V1))
        weights = {"weights": COCO[version]}
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda *_, **__: state)
    return STOCK[version](**weights), state


def ours(version: int, kind: str, path: Path, **init: Any) -> Any:
    part = Part("torchvision", "methods.frameworks.torchvision.rcnn:build", {"version": version})
    base = recipe(init=kind, path=str(path)).with_parts(engine=part)
    base = base.with_parts(init=base.init.with_options(**init))
    return base.engine.build(base, task(2)).module


def same(module: Any, reference: Any, trained_alike: bool = True) -> None:
    """Normalisation, kinds of norm, what is trained, and the features of one image."""
    module, reference = module.eval(), reference.eval()
    if trained_alike:
        trained = [{n for n, p in m.backbone.named_parameters() if p.requires_grad} for m in (module, reference)]
        assert trained[0] == trained[1]
    kinds = [[type(m) for m in network.modules() if "BatchNorm" in type(m).__name__] for network in (module, reference)]
    assert kinds[0] == kinds[1]
    image = torch.from_numpy(np.random.default_rng(0).random((3, 96, 128), np.float32))
    with torch.no_grad():
        normalized, _ = module.transform([image])
        torch.testing.assert_close(normalized.tensors[0], reference.transform.normalize(image), rtol=0, atol=1e-6)
        for name, wanted in reference.backbone(normalized.tensors).items():
            found = module.backbone(normalized.tensors)[name]
            torch.testing.assert_close(found, wanted, rtol=0, atol=float(1e-5 * wanted.abs().max()))


@pytest.mark.parametrize("version", [1, 2])
def test_with_imagenet_weights(version: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reference, state = stock(version, "imagenet", monkeypatch)
    torch.save(state, tmp_path / "r50.pth")
    module = ours(version, "imagenet", tmp_path / "r50.pth")
    assert {m.eps for m in module.modules() if isinstance(m, FrozenBatchNorm2d)} == ({1e-5} if version == 1 else set())
    module.backbone.fpn.load_state_dict(reference.backbone.fpn.state_dict())
    same(module, reference)


def test_frozen_norms_of_coco_weights_have_no_epsilon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reference, state = stock(1, "coco", monkeypatch)
    torch.save(state, tmp_path / "coco.pth")
    module = ours(1, "coco", tmp_path / "coco.pth")
    assert {m.eps for m in module.modules() if isinstance(m, FrozenBatchNorm2d)} == {0.0}
    same(module, reference, trained_alike=False)
    assert all(p.requires_grad for p in module.parameters()), "the starter trains all of it"


@pytest.mark.parametrize("kind", ["imagenet", "coco"])
@pytest.mark.parametrize("version", [1, 2])
def test_stored_weights_state_their_start(
    version: int, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finished run is built again, and continued as a checkpoint, when the file that it began with is gone."""
    _, state = stock(version, kind, monkeypatch)
    torch.save(state, tmp_path / "source.pth")
    first = ours(version, kind, tmp_path / "source.pth")
    save_weights(tmp_path, first)
    (tmp_path / "source.pth").unlink()
    restored = ours(version, kind, tmp_path / WEIGHTS, restored=True)
    load_weights(tmp_path, restored)
    same(restored, first)
    same(ours(version, "checkpoint", tmp_path / WEIGHTS), first)


@pytest.mark.parametrize(("kind", "frozen", "mean"), [("imagenet", False, 120 / 255), ("coco", True, 0.485)])
def test_weights_of_version_0_1_are_built_as_they_were_trained(
    kind: str, frozen: bool, mean: float, tmp_path: Path
) -> None:
    """ImageNet weights trained as from scratch; frozen norms of COCO weights had an epsilon."""
    old = ours(1, kind, Path("gone"), restored=True) if frozen else ours(1, "scratch", Path("gone"))
    old.transform._buffers.pop("start", None)
    save_weights(tmp_path, old)
    again = ours(1, kind, tmp_path / WEIGHTS, restored=True)
    load_weights(tmp_path, again)
    assert float(again.transform.mean[0]) == pytest.approx(mean)
    assert {m.eps for m in again.modules() if isinstance(m, FrozenBatchNorm2d)} == ({1e-5} if frozen else set())


def test_proposals_in_training_are_torchvisions() -> None:
    """2,000 before and after NMS at the full size with the proposals of the COCO models."""
    defaults = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None).rpn
    assert load_preset("paper").model["proposals"] == load_preset("standard").model["proposals"] == 1000
    resolved = resolve(load_catalog(), "torchvision_starter", "full", Init())
    rpn = resolved.recipe.engine.build(resolved.recipe, task(2, proposals=1000)).module.rpn
    assert rpn._post_nms_top_n["training"] == defaults._post_nms_top_n["training"] == 2000
    assert rpn._pre_nms_top_n["training"] == defaults._pre_nms_top_n["training"] == 2000
