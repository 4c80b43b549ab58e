"""Trained models are built where they are asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from engine_fixtures import SMALL, recipe, task

from harness.catalog import load_catalog
from harness.config.trial_spec import recipe_to_json
from harness.inference.trained_model import build_trained


def test_a_numbered_device_is_current_before_the_model_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else streams and events of a prediction are those of another GPU."""
    chosen: list[str] = []

    def select(device: str) -> None:
        chosen.append(device)
        raise InterruptedError("nothing is built here")

    monkeypatch.setattr("harness.inference.trained_model.select_device", select)
    spec: Any = SimpleNamespace(recipe=recipe_to_json(recipe()))
    with pytest.raises(InterruptedError):
        build_trained(spec, replace(task(**SMALL), device="cuda:1"), Path("weights.safetensors"), load_catalog())
    assert chosen == ["cuda:1"]
