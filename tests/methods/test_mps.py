"""Every method's training step and prediction keep to what Apple's GPUs have."""

from __future__ import annotations

import pytest
import torch
from mps_operators import WhatMpsLacks, operators_of_mps
from packaging.version import Version
from torch.nn.attention import SDPBackend, sdpa_kernel

from harness.catalog import load_catalog
from harness.conformance.subject import Subject, predict, train

CATALOG = load_catalog()

OF_LATER_TORCH = {"aten::native_group_norm_backward", "aten::grid_sampler_2d_backward"}
"""What torch 2.11 has no kernel for and 2.14 has. It runs on the CPU there, which the record counts."""
ON_THE_CPU = OF_LATER_TORCH if Version(torch.__version__) < Version("2.14") else set()


@pytest.mark.parametrize(
    "name",
    [pytest.param(m.name, marks=() if m.default else pytest.mark.slow) for m in CATALOG],
)
def test_a_step_and_a_prediction_need_nothing_that_mps_lacks(name: str) -> None:
    subject = Subject.from_catalog(CATALOG, name)
    if reason := subject.method.unavailable():
        pytest.skip(reason)
    model, batch = subject.build(), subject.batch()
    assert all(tensor.dtype != torch.float64 for tensor in model.module.state_dict().values())
    # attention there is made of other operators; on a CPU it would be one of its own
    with sdpa_kernel(SDPBackend.MATH), WhatMpsLacks() as found:
        train(model, batch, 1)
        predict(model, [sample.image for sample in batch])
    assert found.lacking <= ON_THE_CPU
    assert not found.wide


def test_the_list_tells_what_is_there_from_what_is_not() -> None:
    known = operators_of_mps()
    assert {"aten::add.Tensor", "aten::convolution", "aten::topk", "aten::view", "torchvision::nms"} <= known
    assert not known & {"aten::linalg_eig", "aten::_fft_r2c_missing", "torchvision::deform_conv2d"}


def test_an_operator_that_is_not_there_and_wide_numbers_are_found() -> None:
    with WhatMpsLacks() as found:
        torch.linalg.eigvals(torch.eye(3))
        torch.ones(2, dtype=torch.float64) + 1
    assert any("eig" in name for name in found.lacking)
    assert "aten::add.Tensor" in found.wide
