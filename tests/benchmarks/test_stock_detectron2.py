"""The peer's config has the sizes of the presets' networks."""

from __future__ import annotations

import pytest
from stock_detectron2 import config

from harness.config.preset import load_preset
from harness.contract import Task


@pytest.mark.parametrize("name", ["quick", "standard"])
def test_a_preset_gives_a_config(name: str) -> None:
    preset = load_preset(name)
    task = Task(("a", "b"), (120.0,) * 3, (30.0,) * 3, 64, 20, (96, 96), settings=preset.model)
    made = config(task, preset.size, batch=2)
    assert made.MODEL.ROI_HEADS.NUM_CLASSES == 2
    assert made.MODEL.ANCHOR_GENERATOR.SIZES[0] == [4 * preset.model["anchor_scale"]]


def test_an_empty_model_table_gives_the_defaults() -> None:
    task = Task(("a",), (120.0,) * 3, (30.0,) * 3, 64, 20, (96, 96))
    assert config(task, "full", batch=2).MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE == 512
