"""Methods that change one slot: their parts build, and their cards agree with what they do."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from harness.contract import Init, Method, Task
from methods import container, deepmac, implicit_pointrend, pointsup, spinenet, timm_backbone

METHODS: dict[str, Method] = {
    m.name: m
    for m in (
        container.METHOD,
        deepmac.METHOD,
        implicit_pointrend.METHOD,
        pointsup.METHOD,
        spinenet.METHOD,
        timm_backbone.FAMILIES["timm"]("resnet10t"),
    )
}


def _built(name: str, size: str, classes: int, width: int) -> tuple[str, Any]:
    """The slot a method fills, and what its part builds."""
    ((slot, part),) = METHODS[name].parts.items()
    names = tuple(str(i) for i in range(classes))
    task = Task(names, (0.0,) * 3, (1.0,) * 3, crop=128, max_cells=9, max_size=(128, 128), settings={"width": width})
    given: dict[str, dict[str, Any]] = {
        "backbone": {"init": Init()},
        "mask_head": {"channels": width, "strides": (4, 8, 16, 32)},
        "supervision": {},
    }
    return slot, part.sized(size).build(task, **given[slot])


@pytest.mark.parametrize("name", METHODS)
def test_one_slot_and_a_small_size_that_runs(name: str) -> None:
    slot, built = _built(name, "small", classes=2, width=32)
    if slot == "backbone":
        maps = built(torch.randn(2, 3, 128, 128))
        assert [m.shape[1:] for m in maps] == [
            (c, 128 // s, 128 // s) for c, s in zip(built.channels, built.strides, strict=True)
        ]
    elif slot == "mask_head":
        features = [torch.randn(1, 32, 128 // s, 128 // s) for s in (4, 8, 16, 32)]
        masks = built.eval()(features, [torch.tensor([[3.0, 5, 40, 50]])]).grid(torch.tensor([1]))
        assert masks.shape[0] == 1
        assert masks.shape[1] == masks.shape[2] >= 28
    else:
        assert not built.needs_masks


@pytest.mark.parametrize(
    ("name", "fact"),
    [
        ("deepmac", "mask head parameters, hourglass 52"),
        ("container", "parameters with final norm, without classifier"),
    ],
)
def test_the_full_size_has_the_parameters_its_card_states(name: str, fact: str) -> None:
    with torch.device("meta"):
        _, built = _built(name, "full", classes=1, width=256)
    count = f"{sum(p.numel() for p in built.parameters()):,}"
    assert METHODS[name].card.published[fact] == count


def test_implicit_pointrend_states_its_parameters_for_each_number_of_classes() -> None:
    stated = METHODS["implicit_pointrend"].card.published["mask head parameters, 80 / 3 / 1 classes"].split(" / ")
    for classes, count in zip((80, 3, 1), stated, strict=True):
        with torch.device("meta"):
            _, head = _built("implicit_pointrend", "full", classes, width=256)
        assert f"{sum(p.numel() for p in head.parameters()):,}" == count


@pytest.mark.parametrize(("name", "millions"), [("implicit_pointrend", 7.1), ("container", 3.1)])
def test_small_sizes_hold_what_their_cards_say(name: str, millions: float) -> None:
    _, built = _built(name, "small", classes=1, width=128)
    assert round(sum(p.numel() for p in built.parameters()) / 1e6, 1) == millions


def test_point_supervision_changes_no_network() -> None:
    """docs/methods.md#pointsup, check 6: the parameters are those of Mask R-CNN."""
    assert set(METHODS["pointsup"].parts) == {"supervision"}
    assert not isinstance(_built("pointsup", "full", 1, 256)[1], torch.nn.Module)
