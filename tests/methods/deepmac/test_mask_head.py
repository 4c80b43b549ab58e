"""The deep mask head in Mask R-CNN (docs/methods.md#deepmac)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import avg_pool2d

from harness.errors import HarnessError
from harness.options import validate
from methods.deepmac import CROP_MULTIPLES, DeepMACOptions, hourglass, resnet
from methods.deepmac import mask_head as deepmac_head
from methods.deepmac.mask_head import SoftTargetField, build
from methods.shared.supervision import FullMasks

STRIDES = (4, 8)


def _features(channels: int = 8, images: int = 1) -> list[torch.Tensor]:
    return [torch.randn(images, channels, 64 // s, 64 // s, requires_grad=True) for s in STRIDES]


def _boxes(count: int) -> torch.Tensor:
    corner = torch.rand(count, 2) * 40
    return torch.cat([corner, corner + 4 + torch.rand(count, 2) * 18], dim=1)


def _zeros(count: int) -> torch.Tensor:
    return torch.zeros(count, dtype=torch.long)


def test_whole_head_of_hourglass_52(task_of: Any) -> None:
    head = build(task_of(), DeepMACOptions(), channels=256, strides=STRIDES)
    assert sum(p.numel() for p in head.parameters()) == 23_606_145
    assert head.trains_on == "ground_truth"
    assert head.jitter == 0


def test_one_mask_of_64_whatever_the_class(task_of: Any) -> None:
    head = build(task_of(3), DeepMACOptions(depth=20, width=4), channels=8, strides=STRIDES).eval()
    field = head(_features(), [_boxes(2)])
    assert field.logits.shape == (2, 1, 64, 64)
    assert torch.equal(field.grid(torch.tensor([0, 1])), field.grid(torch.tensor([2, 0])))


@pytest.mark.parametrize(("network", "depth"), [("hourglass", 10), ("hourglass", 52), ("resnet", 20)])
@pytest.mark.parametrize("count", [1, 3])
def test_every_parameter_learns_even_from_one_cell(task_of: Any, network: Any, depth: int, count: int) -> None:
    head = build(task_of(), DeepMACOptions(network=network, depth=depth, width=4), channels=8, strides=STRIDES)
    features = _features()
    head(features, [_boxes(count)]).logits.square().mean().backward()
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in head.parameters())
    assert features[0].grad is not None


def test_no_cell_gives_an_empty_field_and_keeps_the_statistics(task_of: Any) -> None:
    head = build(task_of(), DeepMACOptions(depth=10, width=4), channels=8, strides=STRIDES)
    logits = head(_features(), [_boxes(0)]).logits
    assert logits.shape == (0, 1, 64, 64)
    assert logits.sum().item() == 0
    assert all(bool(torch.isfinite(b).all()) for b in head.buffers())


def test_constant_zero_logits_cost_ln_2(labels_of: Any) -> None:
    planes = (np.random.default_rng(0).random((3, 24, 24)) > 0.5).astype(np.uint8)
    loss = FullMasks().loss(SoftTargetField(torch.zeros(3, 1, 64, 64)), labels_of(planes), _zeros(3))
    pixels = 3 * 64 * 64
    assert loss.item() == pytest.approx(math.log(2) * pixels / (pixels + 0.01), rel=1e-6)


def test_targets_are_not_rounded(labels_of: Any) -> None:
    """A box that is the image: the target is the mask resized, fractions and all."""
    planes = np.zeros((1, 128, 128), np.uint8)
    planes[0, 9:77, 31:90] = 1
    labels = labels_of(planes, torch.tensor([[0.0, 0, 128, 128]]))
    resized = avg_pool2d(torch.from_numpy(planes).float(), 2)
    assert ((resized > 0) & (resized < 1)).any()
    logits = torch.randn(1, 1, 64, 64)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits[0], resized)
    assert FullMasks().loss(SoftTargetField(logits), labels, _zeros(1)).item() == pytest.approx(expected.item(), 1e-4)


def test_outside_training_boxes_pass_in_portions_that_change_nothing(
    task_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = build(task_of(), DeepMACOptions(depth=10, width=4), channels=8, strides=STRIDES).eval()
    features, boxes = _features(images=2), [_boxes(4), _boxes(3)]
    whole = head(features, boxes).logits
    monkeypatch.setattr(deepmac_head, "EVAL_BOXES", 2)
    torch.testing.assert_close(head(features, boxes).logits, whole)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"depth": 50}, "depth=50 must be one of 4, 8, 10, 12, 16, 20, 32, 52, 100"),
        ({"depth": 16}, "depth=16 of hourglass must be one of 10, 20, 32, 52, 100"),
        ({"network": "unet"}, "network='unet' must be one of hourglass, resnet"),
        ({"crop": 28}, "crop=28 must be a multiple of 32 with depth=52"),
    ],
)
def test_mistakes_in_options_name_what_there_is(options: dict[str, Any], said: str) -> None:
    with pytest.raises(HarnessError, match=said):
        validate(DeepMACOptions, options)


def test_the_options_know_the_depths_and_the_multiples_of_the_networks() -> None:
    assert {name: set(depths) for name, depths in CROP_MULTIPLES.items()} == {
        "hourglass": set(hourglass.LAYOUTS),
        "resnet": set(resnet.LAYOUTS),
    }
    for name, network in (("hourglass", hourglass.Hourglass), ("resnet", resnet.ResNetTrunk)):
        for depth, multiple in CROP_MULTIPLES[name].items():
            with torch.device("meta"):
                assert network(8, depth, 4, "BN").multiple == multiple
