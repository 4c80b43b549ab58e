"""The file of weights learned on painted cells: small, the same bytes from the same weights, and clear when damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from painted_cards import CARD, MAKING
from safetensors.numpy import load_file, save_file

from harness.errors import HarnessError
from harness.training import painted_file
from harness.training.painted_file import (
    quantised,
    read_card,
    read_making,
    restored,
    write_painted,
)

RNG = np.random.default_rng(0)
STATE: dict[str, Any] = {
    "conv.weight": RNG.normal(0, 0.1, (16, 8, 3, 3)).astype(np.float32),
    "conv.bias": RNG.normal(size=16).astype(np.float32),
    "norm.num_batches_tracked": np.asarray(7, np.int64),
    "small.weight": np.eye(3, dtype=np.float32),
    "zero.weight": np.zeros((32, 32), np.float32),
}


def test_eight_bits_lose_little_and_nothing_else_is_lost() -> None:
    back = restored(quantised(STATE))
    assert list(back) == list(STATE)
    for name, value in STATE.items():
        assert back[name].shape == value.shape
        assert back[name].dtype == value.dtype
        largest = np.abs(value).max(initial=1e-6)
        assert np.abs(back[name] - value).max() <= (largest / 254 * 1.001 if name == "conv.weight" else 0)


def test_methods_read_what_is_written(tmp_path: Path) -> None:
    from methods.shared.weights import read_weights

    write_painted(tmp_path / "a.safetensors", STATE, CARD, MAKING)
    found = read_weights(tmp_path / "a.safetensors")
    assert set(found) == set(STATE)
    for name, value in restored(load_file(tmp_path / "a.safetensors")).items():
        assert np.array_equal(found[name].numpy(), value)


def test_the_same_weights_are_the_same_bytes(tmp_path: Path) -> None:
    later = MAKING.model_copy(update={"seconds": 9.0, "finished": "later"})
    for name, making in (("a", MAKING), ("b", later)):
        write_painted(tmp_path / f"{name}.safetensors", STATE, CARD, making)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert read_card(tmp_path / "b.safetensors") == CARD
    assert read_making(tmp_path / "b.safetensors") == later
    (tmp_path / "b.json").unlink()
    assert read_making(tmp_path / "b.safetensors") is None


def test_a_damaged_or_foreign_file_is_one_clear_line(tmp_path: Path) -> None:
    whole = tmp_path / "whole.safetensors"
    write_painted(whole, STATE, CARD, MAKING)
    (tmp_path / "cut.safetensors").write_bytes(whole.read_bytes()[:-100])
    (tmp_path / "noise.safetensors").write_bytes(b"\x00" * 1000)
    save_file({"a": np.zeros(3)}, tmp_path / "foreign.safetensors")
    save_file({"a": np.zeros(3)}, tmp_path / "card.safetensors", {painted_file.FORMAT: "{}"})
    for name, words in {
        "missing": "no weights file at",
        "cut": "cut.safetensors cannot be read as weights",
        "noise": "noise.safetensors cannot be read as weights",
        "foreign": "foreign.safetensors holds no weights learned on painted cells; type: python -m harness pretrain",
        "card": "its card is damaged or of another version",
    }.items():
        with pytest.raises(HarnessError, match=words) as told:
            read_card(tmp_path / f"{name}.safetensors")
        assert "\n" not in str(told.value)
