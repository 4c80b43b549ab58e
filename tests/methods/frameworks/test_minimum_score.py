"""Predictions below the score that is asked for are not made, and the others are as they were."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from engine_fixtures import SMALL, discs, recipe, task

from harness.contract import Part, Predictions

STARTER = {"engine": Part("torchvision", "methods.frameworks.torchvision.rcnn:build", {"version": 1, "depth": 18})}


def predicted(parts: dict[str, Part], minimum: float | None) -> Predictions:
    whole, facts = recipe().with_parts(**parts), task(1, **SMALL)
    torch.manual_seed(0)
    model = whole.engine.build(whole, facts if minimum is None else replace(facts, minimum_score=minimum))
    model.module.eval()
    with torch.inference_mode():
        return model.predict([discs(12).image])[0]


@pytest.mark.parametrize("parts", [{}, STARTER], ids=["detectron2", "torchvision"])
def test_the_rest_is_as_it_was(parts: dict[str, Part]) -> None:
    every = predicted(parts, None)
    middle = float(np.sort(every.scores)[len(every) // 2])
    assert middle > every.scores.min() >= task(1).minimum_score
    kept, best = predicted(parts, middle), np.flatnonzero(every.scores >= np.float32(middle))
    np.testing.assert_allclose(kept.scores, every.scores[best], rtol=1e-5)
    wanted = every.masks.select(best).planes(96, 96)
    # other sums of the same numbers: a mask of random weights lies close to its threshold everywhere
    assert np.mean(kept.masks.planes(96, 96) != wanted) < 0.01 * np.mean(wanted)
    lower = predicted(parts, 0.01)
    assert len(lower) >= len(every)
