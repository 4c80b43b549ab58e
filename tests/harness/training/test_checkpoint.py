"""Untrusted, damaged checkpoints and weights are loaded or refused in one line. No code in them runs."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fuzzing import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from harness.errors import HarnessError
from harness.platform.memory import peak_rss
from harness.training.checkpoint import WEIGHTS, load_weights, restore, save, save_weights
from harness.training.checkpoint_files import newest_blob, save_blob
from harness.training.trace import Trace

STEP = 7
MOST = 1 << 30
"""Bytes by which the largest resident memory may grow over all attacks."""


def network() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    return module, torch.optim.AdamW(module.parameters())


@pytest.fixture
def saved(tmp_path: Path) -> bytes:
    """Content of a checkpoint of the network. Its file and that of the weights are in the folder."""
    module, optimiser = network()
    module(torch.ones(2, 3)).sum().backward()
    optimiser.step()
    trace = Trace()
    trace.add(1.0, 0.1, 0.01, {"loss": 2.0})
    save(tmp_path, STEP, module, optimiser, trace, "cpu")
    save_weights(tmp_path, module)
    found = newest_blob(tmp_path)
    assert found is not None
    return found[1]


def mutate(draw: Any, whole: bytes) -> bytes:
    """A few places changed, cut or put in."""
    raw = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(raw)))
        raw[at : at + draw(st.integers(0, 20))] = draw(st.binary(max_size=20))
    return bytes(raw)


def mutate_inside(draw: Any, whole: bytes) -> bytes:
    """Change one member of torch's archive and repair its checksum, so that only the unpickler can object."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(out, "w") as new:
        chosen = draw(st.sampled_from(sorted(old.namelist())))
        for name in old.namelist():
            new.writestr(name, mutate(draw, old.read(name)) if name == chosen else old.read(name))
    return out.getvalue()


def put_back(folder: Path) -> None:
    module, optimiser = network()
    found = restore(folder, module, optimiser, "cpu")
    assert found is not None
    assert found.step == STEP


def attacked(tried: Callable[[st.DataObject], None], name: str, figures: Any) -> None:
    """Run `tried` on many inputs; count them, and those refused in one line."""
    inputs = refused = 0
    before = peak_rss()

    @settings(max_examples=examples(100))
    @given(data=st.data())
    def attack(data: st.DataObject) -> None:
        nonlocal inputs, refused
        inputs += 1
        said = refusal(tried, data)
        refused += bool(said)
        assert "\n" not in said

    attack()
    assert peak_rss() - before < MOST
    assert refused > inputs / 10
    figures(name, inputs=inputs, refused=refused)


def refusal(tried: Callable[[st.DataObject], None], data: st.DataObject) -> str:
    """The line that refuses the input, or nothing."""
    try:
        tried(data)
    except HarnessError as error:
        return str(error)
    return ""


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("inside", [False, True])
def test_mutated_states_of_right_checksum(saved: bytes, tmp_path: Path, figures: Any, inside: bool) -> None:
    change = mutate_inside if inside else mutate

    def tried(data: st.DataObject) -> None:
        save_blob(tmp_path, STEP, change(data.draw, saved))
        put_back(tmp_path)

    attacked(tried, f"states of a right checksum{', their pickles alone' if inside else ''}", figures)


def test_mutated_weights(saved: bytes, tmp_path: Path, figures: Any) -> None:
    whole = (tmp_path / WEIGHTS).read_bytes()

    def tried(data: st.DataObject) -> None:
        (tmp_path / WEIGHTS).write_bytes(mutate(data.draw, whole))
        load_weights(tmp_path, network()[0])

    attacked(tried, "weights", figures)


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_nothing_is_executed(saved: bytes, tmp_path: Path) -> None:
    out = io.BytesIO()
    torch.save({"module": Bomb(tmp_path / "executed")}, out)
    for content in (out.getvalue(), pickle.dumps(Bomb(tmp_path / "executed"))):
        save_blob(tmp_path, STEP, content)
        with pytest.raises(HarnessError, match="does not fit this method"):
            put_back(tmp_path)
    assert not (tmp_path / "executed").exists()
    pickle.loads(content)  # a plain unpickler would have touched it
    assert (tmp_path / "executed").exists()
