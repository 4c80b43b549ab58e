"""A row that starts from weights sees cells and anchors as these weights did."""

from __future__ import annotations

import numpy as np
import pytest

from harness.config.fit import Fingerprint, fitted
from harness.config.fit_to_weights import at_anchors, at_cell_size
from harness.config.preset import load_preset, with_settings

CELLS = Fingerprint(np.full((200, 2), 20.0), 512, (512, 512), 2e-4)
FITTED = fitted(load_preset("auto"), CELLS, "cpu", None)


def test_weights_bring_their_anchors() -> None:
    found = FITTED
    own = {"anchor_scale": 2.0, "anchor_ratios": [0.5, 1.0, 2.0]}
    taken = at_anchors(found, own)
    assert (found.model["anchor_scale"], taken.model["anchor_scale"]) == (3.0, 2.0)
    assert "anchor_ratios" not in taken.model, "they are the engines' own"
    said = [sentence for sentence in taken.fit if "anchors" in sentence]
    assert said == ["anchors of 8 to 128 pixels of the network, as the initial weights were trained with"]
    assert at_anchors(taken, own) == taken
    assert at_anchors(found, {}) == found
    assert at_anchors(found, {"anchor_ratios": [0.2, 1.0, 5.0]}).model["anchor_ratios"] == [0.2, 1.0, 5.0]


def test_anchors_that_were_set_and_those_of_other_presets_stay() -> None:
    typed = with_settings(load_preset("auto"), {"model.anchor_scale": 4.0})
    kept = fitted(typed, CELLS, "cpu", None, ["model.anchor_scale"])
    assert at_anchors(kept, {"anchor_scale": 2.0}).model["anchor_scale"] == 4.0
    assert at_anchors(load_preset("standard"), {"anchor_scale": 2.0}) == load_preset("standard")


def test_scales_of_sizes_follow_that_of_initial_weights() -> None:
    preset = with_settings(FITTED, {"model.scale": 1.0, "model.scale_by_size": {"300x400": 0.4}})
    found = at_cell_size(preset, 40, 17)
    assert found.scale_by_size[300, 400] == pytest.approx(0.4 * found.scale)


@pytest.mark.parametrize(
    ("wanted", "diameter", "scale", "crop"),
    [(20, 20, 1.0, 128), (20, 27, 1.0, 128), (20, 45, 0.44, 291), (20, 8, 2.5, 51), (100, 5, 4.0, 32)],
)
def test_cells_are_brought_to_the_size_that_initial_weights_know(
    wanted: float, diameter: float, scale: float, crop: int
) -> None:
    preset = load_preset("quick")
    found = at_cell_size(preset, wanted, diameter)
    assert (found.scale, found.training.crop) == (scale, crop)
    assert found.training.crop * scale == pytest.approx(preset.training.crop, abs=scale), "as the network sees it"
    assert len(found.fit) == (scale != 1)
