"""With the same weights, the engine has the losses, gradients, detections and run lengths of stock detectron2."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from detectron2.structures import Boxes
from engine_fixtures import EVERYTHING, SMALL, discs, recipe, task
from torch import Tensor, nn

from harness.config.preset import load_preset
from harness.contract import Sample
from harness.inference.scaled import at_scale
from harness.masks.rle import to_rle
from harness.transforms.resize import scaled_size
from harness.transforms.window import resize

stock = pytest.importorskip("stock_detectron2")


@pytest.fixture
def in_double(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Both networks are built and computed in float64, where equal means equal on every machine.

    In float32 the gradients of the whole network lie 3e-4 apart on a processor with AVX2, 4e-5 on one with AVX512.
    """

    def boxes(self: Boxes, tensor: Any) -> None:
        self.tensor = torch.as_tensor(tensor, dtype=torch.float64).reshape(-1, 4)

    def cross_entropy(logits: Tensor, wanted: Tensor, **more: Any) -> Tensor:
        return plain_cross_entropy(logits, wanted.double(), **more)

    plain_cross_entropy = F.binary_cross_entropy_with_logits
    # what casts to float32 by name, in either
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    monkeypatch.setattr(Boxes, "__init__", boxes)
    monkeypatch.setattr(F, "binary_cross_entropy_with_logits", cross_entropy)
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(usual)


def pair(settings: Mapping[str, Any], size: Literal["small", "full"] = "small") -> tuple[Any, Any, Any]:
    """Our model, detectron2's with the same weights, and the latter's config."""
    # no image is larger than the task says: caps on detections are those of the configuration
    about, base = replace(task(**settings), max_size=(112, 112)), recipe(size)
    torch.manual_seed(1)
    ours = base.engine.build(base, about)
    spread(ours.module)
    config = stock.config(about, size, 2)
    peer = stock.build_model(config)
    peer.load_state_dict(stock.weights_of(ours.module))
    return ours, peer, config


def spread(module: nn.Module) -> None:
    """Make outputs of fresh weights vary over the image. They are so small that all boxes would tie."""
    last = {"proposal_generator.rpn_head.objectness_logits": 1.0, "proposal_generator.rpn_head.anchor_deltas": 0.3}
    last |= {"roi_heads.box_predictor.cls_score": 1.0, "roi_heads.box_predictor.bbox_pred": 0.3}
    last |= {"roi_heads.mask_head.predictor": 1.0}
    for name, size in last.items():
        layer: Any = module.get_submodule(name)
        nn.init.normal_(layer.weight, std=size)


@pytest.mark.parametrize(("size", "preset"), [("small", "quick"), ("full", "standard")])
def test_the_peer_has_every_layer_of_ours_and_no_other(size: Literal["small", "full"], preset: str) -> None:
    """What the benchmarks compare: loading the weights is strict."""
    ours, peer, _ = pair(load_preset(preset).model, size)
    assert sum(p.numel() for p in ours.module.parameters()) == sum(p.numel() for p in peer.parameters())


@pytest.mark.usefixtures("in_double")
@pytest.mark.parametrize("cells", [(12, 7), (1, 25)])
def test_the_losses_and_gradients_are_those_of_stock_detectron2(cells: tuple[int, int], tmp_path: Path) -> None:
    ours, peer, config = pair({**SMALL, **EVERYTHING})
    samples = [discs(count, seed=k) for k, count in enumerate(cells, 1)]
    losses, gradients = backward(ours.losses(samples), ours.module.train())
    with stock.EventStorage():
        their_losses, their_gradients = backward(peer.train()(mapped(config, samples, tmp_path)), peer)

    assert {p.dtype for p in [*ours.module.parameters(), *peer.parameters()]} == {torch.float64}
    assert losses == pytest.approx(their_losses, rel=1e-10)
    assert min(losses.values()) > 0
    gradients = {stock.their_name(name): gradient for name, gradient in gradients.items()}
    assert gradients.keys() == their_gradients.keys()
    for name, gradient in their_gradients.items():
        assert (gradients[name] - gradient).norm() <= 1e-10 * gradient.norm(), name


def test_the_losses_in_bfloat16_are_near() -> None:
    ours, _, _ = pair({**SMALL, **EVERYTHING})
    ours.module.train()
    samples = [discs(12, seed=1), discs(7, seed=2)]
    exact = {name: float(value.detach()) for name, value in ours.losses(samples).items()}
    with torch.autocast("cpu", torch.bfloat16):
        rounded = {name: float(value.detach()) for name, value in ours.losses(samples).items()}
    assert rounded != exact
    assert rounded == pytest.approx(exact, rel=0.1)


def mapped(config: Any, samples: list[Sample], folder: Path) -> list[dict[str, Any]]:
    """The samples as detectron2's mapper gives them, neither cropped nor flipped."""
    mapper = stock.DatasetMapper(config, is_train=True, augmentations=[])
    return [mapper(entry) for entry in stock.dataset_dicts(samples, stock.written(samples, folder))]


def backward(losses: Mapping[str, Tensor], module: nn.Module) -> tuple[dict[str, float], dict[str, Tensor]]:
    torch.stack(list(losses.values())).sum().backward()
    gradients = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
    return {name: float(value.detach()) for name, value in losses.items()}, gradients


@pytest.mark.usefixtures("in_double")
@pytest.mark.parametrize("scale", [1.0, 1.5])
def test_detections_and_run_lengths_are_those_of_stock_detectron2(
    scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, peer, _ = pair(SMALL)
    sample = discs(20, side=112, height=96, seed=3)
    ours.module.eval()
    # as many proposals as stock detectron2 keeps, whose number does not follow the image
    monkeypatch.setattr(ours, "set_caps", lambda sizes: None)
    (found,) = at_scale(ours, scale).predict([sample.image])

    # resized as ours is, so that both see the same pixels
    shown = sample.with_(image=resize(sample.image, *scaled_size(sample.size, scale)))
    planes = torch.from_numpy(stock.bgr(shown).transpose(2, 0, 1).copy()).float()
    with torch.no_grad():
        (given,) = peer.eval()([{"image": planes, "height": sample.size[0], "width": sample.size[1]}])
    theirs = stock.as_predictions(given["instances"], sample.size)
    by_score, theirs_by_score = np.argsort(-found.scores, kind="stable"), np.argsort(-theirs.scores, kind="stable")

    assert len(found) == len(theirs) > 50
    # a prediction keeps its score in float32
    np.testing.assert_allclose(found.scores[by_score], theirs.scores[theirs_by_score], rtol=1e-6)
    np.testing.assert_array_equal(found.labels[by_score], theirs.labels[theirs_by_score])
    texts = to_rle(found.masks.select(by_score), *sample.size)
    # our engine drops masks without a pixel
    coded = [one["segmentation"]["counts"] for one in sorted(stock.stored(given), key=lambda one: -one["score"])]
    assert texts == [text for text in coded if text != text_of_nothing(sample.size)]


def text_of_nothing(size: tuple[int, int]) -> str:
    """The run lengths of an image without a set pixel, as pycocotools writes them."""
    from pycocotools import mask as coco

    return str(coco.encode(np.zeros(size, np.uint8, order="F"))["counts"].decode())
