"""Networks that start from the weights of an earlier run, with other classes, and what they say of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_fixtures import SMALL, recipe, task

from harness.contract import Part
from harness.errors import NoWeightsError
from harness.training.checkpoint import WEIGHTS, save_weights

R50 = {"backbone": Part("resnet", "methods.frameworks.detectron2.resnet:build", {"depth": 50})}
STARTER = {"engine": Part("torchvision", "methods.frameworks.torchvision.rcnn:build", {"version": 1, "depth": 18})}
STARDIST = {"engine": Part("stardist", "methods.stardist.engine:build", {"width": 8, "features": 16})}
CONTAINER = {"widths": [32, 32, 32, 32], "depths": [1, 1, 1, 1]}
CELL, THREE = ("cell",), ("cort", "shsy5y", "astro")


def built(parts: dict[str, Part], names: tuple[str, ...], **init: Any) -> Any:
    whole = recipe(init=init.pop("kind", "scratch"), path=init.pop("path", None)).with_parts(**parts)
    whole = whole.with_parts(init=whole.init.with_options(**init))
    torch.manual_seed(len(names))
    return whole.engine.build(whole, replace(task(1, **SMALL), classes=names))


@pytest.mark.parametrize(
    ("parts", "head", "tiled"),
    [
        (R50, "roi_heads.box_predictor.cls_score.bias", [0, 0, 0, 1]),
        (STARTER, "roi_heads.box_predictor.cls_score.bias", [0, 1, 1, 1]),
    ],
    ids=["R50-FPN", "torchvision"],
)
def test_one_class_onto_three_and_three_onto_others(
    parts: dict[str, Part], head: str, tiled: list[int], tmp_path: Path
) -> None:
    source = built(parts, CELL)
    source.module.state_dict()[head].copy_(torch.tensor([0.0, 1.0]))
    save_weights(tmp_path, source.module)
    start = {"kind": "checkpoint", "path": str(tmp_path / WEIGHTS)}
    model = built(parts, THREE, classes=CELL, **start)
    found, wanted = model.module.state_dict(), source.module.state_dict()
    assert found[head].tolist() == tiled
    assert all(torch.equal(found[n], v) for n, v in wanted.items() if found[n].shape == v.shape)
    assert model.loaded.classes == dict.fromkeys(THREE, "tiled from cell")
    assert set(model.loaded.groups["roi_heads.box_head"]) == {"kept"}
    assert set(model.loaded.groups["roi_heads.box_predictor"]) == {"tiled"}
    assert model.loaded.channel_order == "RGB"
    assert model.loaded.pixel_mean == pytest.approx((120.0,) * 3)

    save_weights(tmp_path, model.module)
    some = built(parts, ("astro", "other", "cort"), classes=THREE, **start)
    assert some.loaded.classes == {"astro": "kept", "other": "new", "cort": "kept"}
    assert set(some.loaded.groups["roi_heads.box_predictor"]) == {"partly kept"}
    with pytest.raises(NoWeightsError, match="does not fit this network") as refused:
        built(STARDIST, THREE, classes=THREE, **start)
    assert str(tmp_path) not in str(refused.value), "it goes into the record"


def test_a_network_of_one_class_has_no_head_of_classes_to_give(tmp_path: Path) -> None:
    save_weights(tmp_path, built(STARDIST, CELL).module)
    model = built(STARDIST, THREE, kind="checkpoint", path=str(tmp_path / WEIGHTS), classes=CELL)
    assert model.loaded.groups["classes"] == {"new": 2}
    assert model.loaded.groups["down"] == {"kept": 12}


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        ("coco", {"backbone": Part("container", "methods.container.backbone:build", CONTAINER)}),
        ("imagenet", {"backbone": Part("container", "methods.container.backbone:build", CONTAINER)}),
        ("imagenet", STARTER),
        ("coco", STARDIST),
    ],
)
def test_networks_without_published_weights_say_so(kind: str, parts: dict[str, Part]) -> None:
    with pytest.raises(NoWeightsError):
        built(parts, CELL, kind=kind)


def test_other_anchors_are_new_and_the_rest_is_kept(tmp_path: Path) -> None:
    """`--preset auto` takes longer anchors where cells are long."""
    save_weights(tmp_path, built({}, CELL).module)
    start = recipe(init="checkpoint", path=str(tmp_path / WEIGHTS))
    wider = replace(task(1, **SMALL, anchor_ratios=[0.33, 0.5, 1.0, 2.0, 3.0]), classes=CELL)
    model = start.engine.build(start.with_parts(init=start.init.with_options(classes=CELL)), wider)
    assert model.loaded.groups["proposal_generator.rpn_head"] == {"kept": 2, "new": 4}
    assert {fate for group, counts in model.loaded.groups.items() if "rpn" not in group for fate in counts} == {"kept"}
