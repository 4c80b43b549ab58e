"""MaskFormer behind the contract agrees with the package that it is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

pytest.importorskip("transformers", reason='transformers is not installed: pip install -e ".[maskformer]"')

from harness.conformance.images import draw_sample
from harness.contract import Init, Task
from harness.errors import HarnessError
from harness.stacks import resolve
from methods.maskformer import METHOD, engine
from methods.maskformer.network import build_network, query_outputs


def build(size: str = "small", init: Init | None = None, classes: int = 1, **options: Any) -> engine.MaskFormerModel:
    from harness.catalog import load_catalog

    torch.manual_seed(0)
    inside = ",".join(f"{name}={value}" for name, value in options.items())
    resolved = resolve(load_catalog(), f"maskformer({inside})", size, init or Init())
    names = tuple(map(str, range(classes)))
    task = Task(names, (110.0,) * 3, (40.0,) * 3, 64, 10, (64, 64), cell_diameter=20.0)
    model: engine.MaskFormerModel = resolved.recipe.engine.build(resolved.recipe, task)
    return model


def test_the_network_has_the_papers_size() -> None:
    """Table 1 of the paper: 41M parameters with ResNet-50, 150 classes and 100 queries."""
    kind = METHOD.parts["engine"].options_type
    assert kind is not None
    network = build_network(kind(), 150, 100)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert METHOD.card.published["parameters (ResNet-50, 150 classes, 100 queries)"] == f"{count / 1e6:.0f}M"


def test_outputs_of_the_last_layer_are_the_packages() -> None:
    model = build()
    model.module.eval()
    pixels = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        layers, theirs = query_outputs(model.module, pixels), model.module(pixels)
    assert len(layers) == 3, "one for each layer of the decoder"
    torch.testing.assert_close(layers[-1].classes, theirs.class_queries_logits)
    torch.testing.assert_close(layers[-1].masks, theirs.masks_queries_logits)


def test_the_loss_of_the_last_layer_is_the_packages() -> None:
    model = build(classes=2)
    model.module.eval()
    samples = [draw_sample(n, (64, 64), seed=n, classes=2) for n in (3, 6)]
    pixels = model._pixels([s.image for s in samples], 64)
    masks = [model._targets(s, 64, 32) for s in samples]
    labels = [torch.from_numpy(s.instances.labels) for s in samples]
    with torch.no_grad():
        ours = engine.matched_losses(model.module, query_outputs(model.module, pixels)[-1:], masks, labels)
        theirs = model.module(pixels, mask_labels=masks, class_labels=labels).loss
    assert float(sum(ours.values())) == pytest.approx(float(theirs), rel=1e-6)


def test_losses_are_of_all_layers() -> None:
    model = build()
    sample = draw_sample(4, (64, 64), seed=1)
    masks = [model._targets(sample, 64, 32)]
    labels = [torch.from_numpy(sample.instances.labels)]
    with torch.no_grad():
        outputs = query_outputs(model.module, model._pixels([sample.image], 64))
    whole = engine.matched_losses(model.module, outputs, masks, labels)
    each = [engine.matched_losses(model.module, [layer], masks, labels) for layer in outputs]
    assert set(whole) == {"cross_entropy", "mask", "dice"}
    for name, value in whole.items():
        assert float(value) == pytest.approx(sum(float(one[name]) for one in each), rel=1e-5)


def test_queries_start_apart() -> None:
    queries = build().module.model.transformer_module.queries_embedder.weight
    assert 0.9 < float(queries.detach().std()) < 1.1


@pytest.mark.parametrize(
    ("crop", "max_cells", "diameter", "expected"), [(64, 10, 20.0, 15), (64, 1000, 20.0, 20), (64, 2, 60.0, 10)]
)
def test_queries_follow_from_the_cells(crop: int, max_cells: int, diameter: float, expected: int) -> None:
    task = Task(("cell",), (0.0,) * 3, (1.0,) * 3, crop, max_cells, (64, 64))
    assert engine.queries_for(task, diameter) == expected


def test_crowd_regions_are_no_targets() -> None:
    sample = draw_sample(3, (64, 64), seed=2)
    crowd = np.asarray([False, True, False])
    instances = sample.instances.of_masks(sample.instances.masks, sample.instances.labels, crowd)  # type: ignore[arg-type]
    assert len(build()._targets(sample.with_(instances=instances), 64, 32)) == 2


@pytest.mark.parametrize(("x", "y"), [(20, 20), (56, 8), (40, 40), (130, 70), (0, 84), (88, 30)])
def test_a_cell_that_many_windows_see_is_found_once(monkeypatch: pytest.MonkeyPatch, x: int, y: int) -> None:
    """With a network whose one query marks what is bright."""
    model = build(target_diameter=20)
    image = np.zeros((100, 150), np.uint8)
    image[y : y + 16, x : x + 16] = 255

    def bright(_: object, pixels: torch.Tensor, last_only: bool) -> list[engine.QueryOutputs]:
        masks = torch.nn.functional.avg_pool2d(pixels.mean(dim=1, keepdim=True), 4)
        return [engine.QueryOutputs(torch.tensor([8.0, 0.0]).expand(len(pixels), 1, 2), masks)]

    monkeypatch.setattr(engine, "query_outputs", bright)
    (found,) = model.predict([image])
    assert np.abs(found.masks.boxes - [[x, y, x + 16, y + 16]]).max() <= 2, "one box, but for the resizing"
    assert found.scores[0] > 0.6


def test_targets_are_the_masks_at_the_stride_of_the_predictions() -> None:
    sample = draw_sample(4, (64, 64), seed=1)
    assert sample.instances.masks is not None
    planes = sample.instances.masks.planes(64, 64)
    targets = build()._targets(sample, 64, 32).numpy()
    assert targets.shape == (4, 32, 32)
    assert set(np.unique(targets)) == {0, 1}
    assert np.abs(targets.mean(axis=(1, 2)) - planes.mean(axis=(1, 2))).max() < 0.02
    assert np.array_equal(build()._targets(sample, 64, 64).numpy(), planes)


def test_a_small_image_is_seen_as_a_padded_crop() -> None:
    model = build()
    small = np.full((20, 30), 90, np.uint8)
    crop = model._pixels([small], 64)
    assert crop.shape == (1, 3, 128, 128), "cells of 20 pixels are enlarged to 40"
    assert model._pixels([np.full((64, 64), 90, np.uint8)], 64).shape == crop.shape
    assert float(crop[0, 0, 20, 20]) == pytest.approx(-0.5, abs=1e-3)
    assert float(crop[0, 0, 120, 120]) == 0, "the mean"


def test_weights_bring_their_queries_and_not_their_loss(tmp_path: Path) -> None:
    save_file(build(queries=23, no_object_weight=0.2).module.state_dict(), tmp_path / "w.safetensors")
    model = build(init=Init("checkpoint", str(tmp_path / "w.safetensors")), no_object_weight=0.5)
    assert model.module.model.transformer_module.queries_embedder.weight.shape[0] == 23
    assert float(model.module.criterion.empty_weight[-1]) == 0.5
    assert model.loaded is not None
    assert not [group for group, fates in model.loaded.groups.items() if "new" in fates and "criterion" not in group]


@pytest.mark.parametrize("kind", ["imagenet", "coco"])
def test_weights_it_has_not_are_one_line(kind: str) -> None:
    with pytest.raises(HarnessError, match=rf"maskformer has no {kind} weights; type"):
        build(init=Init(kind))  # type: ignore[arg-type]
