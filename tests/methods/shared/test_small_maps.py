"""Products of small maps have the numbers and gradients of the convolution, and stay away from all other maps."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.shared import small_maps
from methods.shared.small_maps import SmallMapConv2d, use_small_map_products


@pytest.mark.parametrize(
    ("kernel", "options"),
    [(3, {"padding": 1}), (3, {"padding": 1, "stride": 2, "bias": False}), (1, {}), (1, {"stride": 2}), (5, {})],
)
def test_results_and_gradients_are_those_of_the_convolution(kernel: int, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(128, 144, kernel, **options).double()
    product = copy.deepcopy(plain)
    use_small_map_products(product, {nn.Conv2d: SmallMapConv2d})
    assert isinstance(product, SmallMapConv2d)
    x = torch.randn(2, 128, 5, 5 if kernel == 5 else 3, dtype=torch.float64)
    results, gradients = [], []
    for conv in (plain, product):
        given = x.clone().requires_grad_()
        out = conv(given)
        (out * torch.arange(out.numel()).reshape(out.shape)).sum().backward()
        results.append(out)
        gradients.append([given.grad, *(p.grad for p in conv.parameters())])
    assert results[1].shape == results[0].shape
    torch.testing.assert_close(results[1], results[0])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Shapes of the matrices that are multiplied by weights."""
    seen: list[tuple[int, ...]] = []
    plain = F.linear

    def linear(x: Tensor, *more: Any) -> Tensor:
        seen.append(tuple(x.shape))
        return plain(x, *more)

    monkeypatch.setattr(F, "linear", linear)
    return seen


@pytest.mark.parametrize(
    ("options", "shape", "expected"),
    [
        ({"padding": 1}, (2, 64, 2, 4), [(16, 576)]),
        ({"padding": 1}, (2, 64, 3, 4), []),
        ({"padding": 1}, (0, 64, 2, 4), []),
        ({"padding": 1, "groups": 2}, (2, 64, 2, 4), []),
        ({"padding": 1, "dilation": 2}, (2, 64, 4, 4), []),
        ({"padding": 1, "padding_mode": "reflect"}, (2, 64, 2, 4), []),
        ({"padding": "same"}, (2, 64, 2, 4), []),
    ],
)
def test_only_plain_convolutions_of_small_maps_are_products(
    options: dict[str, Any], shape: tuple[int, ...], expected: list[tuple[int, ...]], products: list[tuple[int, ...]]
) -> None:
    conv = nn.Conv2d(64, 64, 3, **options)
    reference = copy.deepcopy(conv)
    use_small_map_products(conv, {nn.Conv2d: SmallMapConv2d})
    x = torch.randn(shape)
    torch.testing.assert_close(conv(x), reference(x))
    assert products == expected


def test_prediction_and_frozen_weights_have_none(products: list[tuple[int, ...]]) -> None:
    conv, x = SmallMapConv2d(64, 64, 3, padding=1), torch.randn(1, 64, 2, 2)
    with torch.no_grad():
        conv(x)
    conv.requires_grad_(False)
    conv(x)
    assert not products
    assert small_maps.CHANNELS_PER_PIXEL * x[0, 0].numel() < 64


def test_other_classes_of_convolutions_stay_as_they_are() -> None:
    class Own(nn.Conv2d):
        pass

    module = nn.Sequential(Own(1, 1, 1), nn.Conv2d(1, 1, 1))
    use_small_map_products(module, {nn.Conv2d: SmallMapConv2d})
    assert [type(layer) for layer in module] == [Own, SmallMapConv2d]
