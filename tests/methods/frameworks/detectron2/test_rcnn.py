"""The detectron2 engine: docs/methods.md#mask-r-cnn, and corner cases of the contract."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_fixtures import SMALL, discs, recipe, task

from harness.catalog import load_catalog
from harness.config.preset import load_preset
from harness.contract import Init, Part
from harness.errors import HarnessError
from harness.stacks import resolve
from methods.frameworks.detectron2 import roi_heads, rpn, zoo_weights
from methods.frameworks.detectron2.instance_batch import InstanceBatch
from methods.shared import roi_pooling


def parameters(module: torch.nn.Module) -> tuple[int, int]:
    sizes = [(p.numel(), p.requires_grad) for p in module.parameters()]
    return sum(n for n, _ in sizes), sum(n for n, wanted in sizes if wanted)


def zoo_model(monkeypatch: pytest.MonkeyPatch, classes: int, **backbone: int) -> Any:
    """The pretrained recipe's network, its weights left random."""
    monkeypatch.setattr(zoo_weights, "load", lambda *_: None)
    base = recipe("full", init="coco")
    if backbone:
        base = base.with_parts(backbone=base.backbone.with_options(**backbone))
    return base.engine.build(base, task(classes)).module


@pytest.mark.parametrize(
    ("classes", "total", "trainable", "mask_head", "predictor"),
    [
        (80, 44_343_216, 44_120_816, 2_643_280, 411_025),
        (3, 43_928_802, 43_706_402, 2_622_977 + 2 * 257, 16_400),
        (1, 43_918_038, 43_695_638, 2_622_977, 6_150),
    ],
)
def test_parameter_counts_of_r50(
    monkeypatch: pytest.MonkeyPatch, classes: int, total: int, trainable: int, mask_head: int, predictor: int
) -> None:
    """Check 1."""
    module = zoo_model(monkeypatch, classes)
    assert parameters(module) == (total, trainable)
    assert total - trainable == 222_400
    assert parameters(module.roi_heads.mask_head)[0] == mask_head
    assert parameters(module.roi_heads.box_predictor)[0] == predictor
    assert parameters(module.roi_heads.box_head)[0] == 13_895_680
    assert parameters(module.proposal_generator)[0] == 593_935
    assert parameters(module.backbone.bottom_up)[0] == 23_454_912
    assert module.roi_heads.box_predictor.cls_score.out_features == classes + 1
    assert module.roi_heads.box_predictor.bbox_pred.out_features == 4 * classes


@pytest.mark.parametrize(
    ("groups", "total", "trainable"), [(1, 63_283_120, 63_060_720), (32, 107_427_760, 107_002_608)]
)
def test_parameter_counts_of_101(monkeypatch: pytest.MonkeyPatch, groups: int, total: int, trainable: int) -> None:
    module = zoo_model(monkeypatch, 80, depth=101, groups=groups)
    assert parameters(module) == (total, trainable)


@pytest.mark.parametrize(("classes", "total", "default"), [(80, 45_711_152, 44_398_384), (3, 45_296_738, 43_983_970)])
def test_scratch_gn_is_the_zoos_network_for_training_from_scratch(classes: int, total: int, default: int) -> None:
    """Names aside, the same tensors as detectron2 builds from its own configuration."""
    from detectron2 import model_zoo
    from detectron2.modeling import build_model

    config = model_zoo.get_config("Misc/scratch_mask_rcnn_R_50_FPN_3x_gn.yaml")
    config.MODEL.DEVICE, config.MODEL.ROI_HEADS.NUM_CLASSES = "cpu", classes
    zoo = build_model(config)
    assert parameters(zoo) == (total, total)
    resolved = resolve(load_catalog(), "mask_rcnn(heads=scratch_gn)", "full", Init())
    module = resolved.recipe.engine.build(resolved.recipe, task(classes)).module
    assert parameters(module) == (total, total)
    ours, theirs = (sorted(tuple(p.shape) for p in network.parameters()) for network in (module, zoo))
    assert ours == theirs
    assert {name: tuple(p.shape) for name, p in module.roi_heads.box_head.named_parameters()} == {
        name: tuple(p.shape) for name, p in zoo.roi_heads.box_head.named_parameters()
    }
    plain = recipe("full")
    assert parameters(plain.engine.build(plain, task(classes)).module)[0] == default


def test_pyramid_and_anchors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks 2 and 3: strides 4 to 64 with 256 channels, 90,024 anchors on 512 x 704, the zoo's sizes."""
    module = zoo_model(monkeypatch, 1).eval()
    shapes = module.backbone.output_shape()
    assert sorted(s.stride for s in shapes.values()) == [4, 8, 16, 32, 64]
    assert {s.channels for s in shapes.values()} == {256}
    maps = [torch.zeros(1, 256, 512 // s, 704 // s) for s in (4, 8, 16, 32, 64)]
    anchors = module.proposal_generator.anchor_generator(maps)
    assert sum(len(a) for a in anchors) == 90_024
    assert [round(float(a.area().sqrt().mean())) for a in anchors] == [32, 64, 128, 256, 512]


def test_detections_are_not_capped_at_100() -> None:
    """Check 6: the cap follows the data."""
    base = recipe()
    few = base.engine.build(base, task(1, max_cells=10, **SMALL)).module
    many = base.engine.build(base, task(1, max_cells=790, **SMALL)).module
    assert few.roi_heads.box_predictor.test_topk_per_image == 100
    assert many.roi_heads.box_predictor.test_topk_per_image >= 790
    assert many.proposal_generator.post_nms_topk[False] >= 2 * 790


def test_scratch_has_group_norm_and_nothing_frozen() -> None:
    base = recipe()
    module = base.engine.build(base, task(**SMALL)).module
    total, trainable = parameters(module)
    assert total == trainable
    kinds = {type(m).__name__ for m in module.modules()}
    assert "GroupNorm" in kinds
    assert not kinds & {"FrozenBatchNorm2d", "BatchNorm2d"}


def test_empty_image_gives_no_mask_loss_and_finite_gradients() -> None:
    """Check 5."""
    base = recipe()
    model = base.engine.build(base, task(**SMALL))
    model.module.train()
    losses = model.losses([discs(0), discs(0, seed=1)])
    assert float(losses["loss_mask"].detach()) == 0
    sum(losses.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.module.parameters() if p.grad is not None)


def test_crowd_regions_are_not_trained_on() -> None:
    sample = discs(4)
    crowd = dataclasses.replace(sample.instances, crowd=np.array([True, False, True, False]))
    cells = InstanceBatch.from_samples([sample.with_(instances=crowd)], 1.0, torch.device("cpu"))
    assert cells.boxes[0].tolist() == sample.instances.boxes[[1, 3]].tolist()


def test_masks_can_be_drawn_at_another_size_than_that_of_the_image() -> None:
    base = recipe()
    torch.manual_seed(0)
    model = base.engine.build(base, task(**SMALL))
    model.module.eval()
    (same,) = model.predict([discs(3).image])
    (found,) = model.predict_at([discs(3).image], [(192, 48)])
    assert found.size == (192, 48)
    assert len(set(found.scores.tolist()) & set(same.scores.tolist())) > 50
    assert found.masks.boxes.max(axis=0)[2] <= 48 < found.masks.boxes.max(axis=0)[3] <= 192


def test_training_scales_are_drawn_for_images_and_labels_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Preset paper: short sides of 640 to 800, as the zoo's configuration; 800 in prediction."""
    settings = load_preset("paper").model
    assert [round(520 * settings["scale"] * scale) for scale in settings["train_scales"]] == [
        640,
        672,
        704,
        736,
        768,
        800,
    ]
    assert int(520 * settings["scale"]) == 800
    base = recipe()
    torch.manual_seed(0)
    model = base.engine.build(base, task(**SMALL, train_scales=[1.0, 1.5]))
    seen: list[tuple[int, float]] = []
    dense = model.module.dense_forward

    def noting(images: torch.Tensor) -> Any:
        seen.append((images.shape[-1], batches[-1].scale))
        return dense(images)

    batches: list[InstanceBatch] = []
    build = InstanceBatch.from_samples
    monkeypatch.setattr(model.module, "dense_forward", noting)
    monkeypatch.setattr(
        InstanceBatch, "from_samples", staticmethod(lambda *a: batches.append(build(*a)) or batches[-1])
    )
    model.module.train()
    for _ in range(8):
        assert all(torch.isfinite(v) for v in model.losses([discs(3)]).values())
    assert set(seen) == {(96, 1.0), (160, 1.5)}
    assert all(b.boxes[0].tolist() == (discs(3).instances.boxes * b.scale).tolist() for b in batches)
    model.module.eval()
    assert model.module.preprocess([discs(3).image]).tensor.shape == (1, 3, 96, 96)


def test_zoo_checkpoint_loads_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file in the zoo's naming fills every layer but the class heads."""
    theirs = {}
    for name, value in zoo_model(monkeypatch, 80).state_dict().items():
        for zoo_name, ours in zoo_weights.ZOO_PREFIXES:
            if name.startswith(ours):
                name = zoo_name + name.removeprefix(ours)
                break
        theirs[name] = torch.full_like(value, 0.5)
    assert "backbone.bottom_up.res2.0.conv1.weight" in theirs
    assert "roi_heads.mask_head.mask_fcn4.bias" in theirs
    torch.save({"model": theirs}, tmp_path / "zoo.pth")
    monkeypatch.undo()
    base = recipe("full", init="coco", path=str(tmp_path / "zoo.pth"))
    state = base.engine.build(base, task(3)).module.state_dict()
    untouched = {n for n, v in state.items() if not torch.all(v == 0.5)}
    assert untouched
    assert all("box_predictor" in n or "mask_head.predictor" in n for n in untouched)


def test_weights_that_do_not_fit_are_refused_in_one_line(tmp_path: Path) -> None:
    torch.save({"model": {"backbone.bottom_up.stem.conv1.weight": torch.zeros(3)}}, tmp_path / "odd.pth")
    base = recipe(init="coco", path=str(tmp_path / "odd.pth"))
    with pytest.raises(HarnessError, match=r"does not fit .*--init scratch") as refused:
        base.engine.build(base, task(**SMALL))
    assert "\n" not in str(refused.value)


def test_no_coco_model_for_another_backbone() -> None:
    base = recipe(init="coco")
    with pytest.raises(HarnessError, match="no COCO model with backbone"):
        zoo_weights.coco_url(Part("container", "methods.container.backbone:build"))
    with pytest.raises(HarnessError, match="no COCO model"):
        zoo_weights.coco_url(base.backbone)


def test_a_checkpoint_of_a_scratch_run_can_be_continued(tmp_path: Path) -> None:
    """The network is built as that run built it, whatever the kind of start says; other classes get new heads."""
    from harness.training.checkpoint import WEIGHTS, save_weights

    base = recipe()
    first = base.engine.build(base, task(3, **SMALL))
    save_weights(tmp_path, first.module)
    follow = recipe(init="checkpoint", path=str(tmp_path / WEIGHTS))
    same = follow.engine.build(follow, task(3, **SMALL)).module
    assert all(torch.equal(v, first.module.state_dict()[n]) for n, v in same.state_dict().items())
    other = follow.engine.build(follow, task(1, **SMALL)).module
    changed = [n for n, v in other.state_dict().items() if not torch.equal(v, first.module.state_dict().get(n, v))]
    assert torch.equal(other.backbone.fpn_lateral2.weight, first.module.backbone.fpn_lateral2.weight)
    assert all("box_predictor" in n or "mask_head.predictor" in n for n in changed)


def test_colour_order_and_statistics_follow_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo_weights, "load", lambda *_: None)
    image = np.zeros((32, 32, 3), np.uint8)
    image[..., 0] = 255
    scratch, zoo = recipe(), recipe("full", init="coco")
    red = scratch.engine.build(scratch, task(**SMALL)).module.preprocess([image]).tensor[0]
    assert red[0].min() == (255 - 120) / 30
    model = zoo.engine.build(zoo, task(**SMALL))
    assert model.module.preprocess([image]).tensor[0, 2].min() == pytest.approx(
        (255 - 123.675) / float(model.module.pixel_std[2, 0, 0])
    )
    assert model.module.pixel_mean.flatten().tolist() == pytest.approx([103.53, 116.28, 123.675])


@pytest.fixture
def deterministic_on_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What runs on a GPU under --deterministic, on this CPU."""
    for module in (roi_pooling, rpn, roi_heads):
        monkeypatch.setattr(module, "on_gpu", lambda tensor: True)
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("deterministic_on_gpu")
def test_two_deterministic_steps_as_on_a_gpu_have_finite_gradients() -> None:
    base = recipe()
    torch.manual_seed(0)
    module = base.engine.build(base, task(**SMALL)).module.train()
    optimiser = torch.optim.SGD(module.parameters(), lr=0.01)
    for _ in range(2):
        losses = module.compute_losses([discs(12, side=64, seed=1), discs(7, side=64, seed=2)])
        optimiser.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        trained = {name: p.grad for name, p in module.named_parameters() if p.requires_grad}
        assert [name for name, grad in trained.items() if grad is None or not torch.isfinite(grad).all()] == []
        optimiser.step()
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_the_limit_of_compiling_is_that_of_all_compiled_functions() -> None:
    base = recipe()
    model = base.engine.build(base, task(**SMALL, compile=True))
    model.compile_limit = 12.0
    assert {function.status.limit for function in model.module.compiled} == {12.0}
