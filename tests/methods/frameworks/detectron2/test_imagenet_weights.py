"""ImageNet files in Caffe2's layout, which the zoo's backbones start from, load into its ResNets."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.contract import Init, Task
from harness.errors import HarnessError
from methods.frameworks.detectron2 import resnet
from methods.frameworks.detectron2.settings import ResNetOptions
from methods.shared.weights import read_weights

TASK = Task(("cell",), (120.0,) * 3, (30.0,) * 3, 64, 10, (96, 96), settings={})
BRANCH = {"shortcut": "branch1", "conv1": "branch2a", "conv2": "branch2b", "conv3": "branch2c"}


def caffe2_name(name: str) -> str | None:
    """The name of a tensor of detectron2's ResNet in Caffe2's files, which hold no running statistics."""
    layer = re.fullmatch(r"(?:res(\d)\.(\d+)|stem)\.(\w+?)(\.norm)?\.(\w+)", name)
    assert layer is not None, name
    stage, block, convolution, norm, kind = layer.groups()
    if kind.startswith("running"):
        return None
    prefix = f"res{stage}_{block}_{BRANCH[convolution]}" if stage else ("res_conv1" if norm else "conv1")
    if norm:
        return f"{prefix}_bn_{'s' if kind == 'weight' else 'b'}"
    return f"{prefix}_{'w' if kind == 'weight' else 'b'}"


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_file_without_running_statistics_loads(wrapped: bool, protocol: int, tmp_path: Path) -> None:
    source = resnet.build(TASK, ResNetOptions(depth=50), init=Init("coco", restored=True)).bottom_up
    generator = torch.Generator().manual_seed(0)
    blobs: dict[str, Any] = {"fc1000_w": np.zeros((1000, 2048), np.float32), "conv1_w_momentum": np.zeros(3)}
    expected = {}
    for name, value in source.state_dict().items():
        filled = torch.rand(value.shape, generator=generator)
        if name.endswith("running_mean"):
            filled = torch.zeros_like(value)
        elif name.endswith("running_var"):
            filled = torch.ones_like(value)
        else:
            blobs[str(caffe2_name(name))] = filled.numpy()
        expected[name] = filled
    file = tmp_path / "R-50.pkl"
    file.write_bytes(pickle.dumps({"blobs": blobs} if wrapped else blobs, protocol=protocol))
    loaded = resnet.build(TASK, ResNetOptions(depth=50), init=Init("imagenet", str(file))).bottom_up.state_dict()
    for name, value in expected.items():
        assert torch.equal(loaded[name], value), name


class Command:
    """A function that a malicious pickle would call."""

    def __reduce__(self) -> Any:
        return print, ("executed",)


class Encoded:
    """Bytes in another encoding than the one that pickles of protocol 2 use."""

    def __reduce__(self) -> Any:
        import _codecs

        return _codecs.encode, ("text", "rot13")


@pytest.mark.parametrize("content", [{"a": Command()}, {"a": Encoded()}])
def test_what_is_no_array_is_not_loaded(content: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "odd.pkl"
    file.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(HarnessError, match=r"odd\.pkl .*not opened"):
        read_weights(file)
    assert capsys.readouterr().out == ""
