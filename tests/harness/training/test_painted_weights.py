"""Where weights learned on painted cells are found, and for which network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from painted_cards import CARD, MAKING

from harness.errors import HarnessError
from harness.training import painted_weights
from harness.training.painted_file import write_painted
from harness.training.painted_weights import Network, check_whole, find_like, find_painted

STATE: dict[str, Any] = {"conv.bias": np.arange(16, dtype=np.float32)}


NETWORK = Network.of_card(CARD)


def with_settings(**changes: Any) -> Network:
    return Network(NETWORK.architecture, {**NETWORK.settings, **changes})


def test_weights_are_found_in_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    assert find_painted(NETWORK) is None
    path = painted_weights.painted_folder() / NETWORK.file_name()
    write_painted(path, STATE, CARD, MAKING)
    assert find_painted(NETWORK) == path == tmp_path / "painted" / path.name
    assert find_painted(Network({"backbone": {"name": "another"}}, NETWORK.settings)) is None


def test_the_package_has_what_the_cache_has_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    monkeypatch.setattr(painted_weights, "shipped_folder", lambda: tmp_path / "package")
    name = NETWORK.file_name()
    write_painted(tmp_path / "package" / name, STATE, CARD, MAKING)
    assert find_painted(NETWORK) == tmp_path / "package" / name
    write_painted(painted_weights.painted_folder() / name, STATE, CARD, MAKING)
    assert find_painted(NETWORK) == painted_weights.painted_folder() / name


def test_a_damaged_file_of_another_network_is_in_nobodys_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked for after every run from scratch."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    path = painted_weights.painted_folder() / NETWORK.file_name()
    write_painted(path, STATE, CARD, MAKING)
    (path.parent / "0.safetensors").write_bytes(b"cut off")
    assert find_painted(NETWORK) == path
    assert find_painted(with_settings(width=256)) is None


def test_networks_of_other_sizes_have_files_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or those of one preset would overwrite what another has learned for hours."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    write_painted(painted_weights.painted_folder() / NETWORK.file_name(), STATE, CARD, MAKING)
    wider = with_settings(width=256)
    assert wider.file_name() != NETWORK.file_name()
    assert NETWORK.differs_in(wider) == ["settings"]
    assert find_painted(wider) is None
    assert find_like(wider) is None


def test_of_a_list_only_the_length_makes_another_network() -> None:
    ratios = ([0.5, 1.0, 2.0], [0.3, 1.0, 3.0], [0.3, 0.5, 1.0, 2.0])
    three, others, four = (with_settings(anchor_ratios=one) for one in ratios)
    assert three.file_name() == others.file_name() != four.file_name()
    assert three.differs_in(others) == []
    assert three.differs_in(four) == ["settings"]


def test_a_file_that_its_card_does_not_describe_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_painted(path, STATE, CARD, MAKING)
    check_whole(path)
    # whole by its format, but of other weights
    other = {**STATE, "conv.bias": STATE["conv.bias"] + 1}
    write_painted(tmp_path / "b.safetensors", other, CARD, MAKING)
    path.write_bytes((tmp_path / "b.safetensors").read_bytes())
    with pytest.raises(
        HarnessError, match=r"a\.safetensors has changed since it was written .*; pretrain again"
    ) as told:
        check_whole(path)
    assert "\n" not in str(told.value)
    path.with_suffix(".json").unlink()
    check_whole(path)
