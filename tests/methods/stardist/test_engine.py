"""StarDist's network, losses and predictions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from harness.catalog import load_catalog
from harness.conformance.images import draw_sample
from harness.contract import Init, Task
from harness.errors import HarnessError
from harness.stacks import resolve
from methods.stardist import METHOD
from methods.stardist.engine import StarDistModel, candidates, distance_loss


def build(size: str = "small", init: Init | None = None, classes: int = 1, **options: Any) -> StarDistModel:
    inside = ",".join(f"{name}={value}" for name, value in options.items())
    recipe = resolve(load_catalog(), f"stardist({inside})", size, init or Init()).recipe
    task = Task(tuple(map(str, range(classes))), (110.0,) * 3, (40.0,) * 3, 64, 10, (64, 64))
    model: StarDistModel = recipe.engine.build(recipe, task)
    return model


def test_the_full_network_has_the_parameters_of_the_packages() -> None:
    """The sum over the layers of csbdeep's U-Net: k x k x in x out + out each."""
    count = sum(p.numel() for p in build("full").module.parameters())
    assert METHOD.card.published["parameters (32 rays, grid 2, 1 channel)"] == f"{count:,}"


@pytest.mark.parametrize("grid", [1, 2, 4])
def test_maps_have_the_size_of_the_grid(grid: int) -> None:
    logits, distances, classes = build(grid=grid, classes=3)._outputs([np.zeros((50, 70), np.uint8)])
    height, width = (-(-side // (grid * 8)) * 8 for side in (50, 70))
    assert logits.shape == (1, height, width)
    assert distances.shape == (1, 32, height, width)
    assert classes is not None
    assert classes.shape == (1, 4, height, width)


def test_distances_count_by_their_probability_and_a_little_in_the_background() -> None:
    wanted = torch.full((1, 1, 2, 3), 8.0)
    weight = torch.tensor([[[0.5, 0.0]]])
    found = torch.tensor([[[[7.0, 8, 9], [3, 3, 3]]]])
    # the error of the first is 2/3 on average, and the weight's mean divides out; the second is background
    expected = 2 / 3 + 1e-4 * (0.5 * 8 + 1 * 3) / 2
    assert float(distance_loss(found, wanted, weight)) == pytest.approx(expected, rel=1e-5)


def test_only_the_highest_candidates_are_looked_at() -> None:
    chance = np.asarray([[0.9, 0.01], [0.3, 0.6]], np.float32)
    assert [tuple(place) for place in zip(*candidates(chance, 9), strict=True)] == [(0, 0), (1, 0), (1, 1)]
    assert {tuple(place) for place in zip(*candidates(chance, 2), strict=True)} == {(0, 0), (1, 1)}


def test_true_outputs_give_the_cells_back(monkeypatch: pytest.MonkeyPatch) -> None:
    from methods.stardist.engine import label_map, object_probabilities, star_distances

    sample = draw_sample(4, (96, 96), seed=4)
    labels = label_map(sample.instances, sample.size)
    chance = torch.from_numpy(object_probabilities(labels[::2, ::2]))[None].clamp(1e-4, 1 - 1e-4)
    rays = torch.from_numpy(star_distances(labels, 32, 2)).permute(2, 0, 1)[None]
    model = build()
    monkeypatch.setattr(model, "_outputs", lambda images: (chance.logit(), rays, None))
    planes = model.predict([sample.image])[0].masks.planes(96, 96) > 0
    for i in np.unique(labels[labels > 0]):
        true = labels == i
        assert max((plane & true).sum() / (plane | true).sum() for plane in planes) > 0.85


@pytest.mark.parametrize("kind", ["imagenet", "coco"])
def test_weights_it_has_not_are_one_line(kind: str) -> None:
    with pytest.raises(HarnessError, match=rf"stardist has no {kind} weights; type"):
        build(init=Init(kind))  # type: ignore[arg-type]
