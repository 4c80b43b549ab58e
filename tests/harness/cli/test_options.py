"""The device that `--device` names."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from harness.cli import options
from harness.cli.options import choose_device
from harness.errors import HarnessError


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(options, "NVIDIA_DEVICES", (tmp_path / "nvidia0",))


def test_auto_says_that_there_is_no_gpu() -> None:
    assert choose_device("auto") == ("cpu", "computing on the CPU: this machine has no NVIDIA GPU")


def test_auto_finds_a_gpu_without_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nvidia0").touch()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    device, note = choose_device("auto")
    assert device == "cuda"
    assert "on the GPU" in note


def test_auto_says_that_torch_cannot_use_the_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nvidia0").touch()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    device, note = choose_device("auto")
    assert device == "cpu"
    assert "has an NVIDIA GPU, but torch" in note
    assert "doctor" in note


def test_auto_leaves_apples_gpu_alone_and_says_how_to_take_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "has_apple_gpu", lambda: True)
    device, note = choose_device("auto")
    assert device == "cpu"
    assert "--device mps" in note


def test_apples_gpu_is_taken_where_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("mps") == ("mps", "")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(HarnessError, match="no GPU of Apple here"):
        choose_device("mps")


@pytest.mark.parametrize("typed", ["gpu", "mps:0", "cuda:x"])
def test_what_is_no_device_is_said(typed: str) -> None:
    with pytest.raises(HarnessError, match="type auto, cpu, cuda, cuda:1 or mps"):
        choose_device(typed)


def test_a_named_device_needs_no_word() -> None:
    assert choose_device("cpu") == ("cpu", "")
