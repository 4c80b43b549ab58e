"""Container-Light: docs/methods.md#container."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness.config.preset import load_preset
from harness.contract import Init
from harness.errors import HarnessError
from harness.training import optimiser
from methods.container import ContainerOptions
from methods.container.backbone import ContainerLight, ConvBlock, MixBlock, build


def _narrow() -> ContainerLight:
    return ContainerLight((8, 16, 16, 64), (2, 1, 1, 3), (2, 2, 2, 2), drop_path=0.1)


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_counts_channels_strides_and_three_mixtures(task_of: Any) -> None:
    net = build(task_of(), ContainerOptions(), init=Init())
    assert _count(net) == 20_120_643
    assert _count(net) - _count(net.norm) == 20_119_619
    assert _count(net) + 512 * 1000 + 1000 == 20_633_643
    assert (net.channels, net.strides) == ((64, 128, 320, 512), (4, 8, 16, 32))
    scalars = [name for name, value in net.state_dict().items() if value.shape == (1,)]
    assert len(scalars) == 3
    assert all("blocks4" in name for name in scalars)


def test_520x704_padded_to_whole_strides_and_eval_repeats_itself() -> None:
    net = _narrow().eval()
    image = torch.randn(1, 3, 520 + -520 % net.pad_to, 704)
    with torch.no_grad():
        maps, again = net(image), net(image)
    assert [tuple(m.shape[1:]) for m in maps] == [(8, 136, 176), (16, 68, 88), (16, 34, 44), (64, 17, 22)]
    assert all(torch.equal(a, b) for a, b in zip(maps, again, strict=True))


def test_every_parameter_learns() -> None:
    net = _narrow()
    weights = [torch.randn(2, c, 64 // s, 96 // s) for c, s in zip(net.channels, net.strides, strict=True)]
    sum((m * w).sum() for m, w in zip(net(torch.randn(2, 3, 64, 96)), weights, strict=True)).backward()
    dead = [name for name, p in net.named_parameters() if p.grad is None or not bool((p.grad != 0).any())]
    assert dead == []


def _mix(width: int = 64) -> MixBlock:
    return MixBlock(width, 2, 0.0).eval()


def test_the_mixture_starts_at_one_half_and_its_ends_are_pure() -> None:
    block, x = _mix(), torch.randn(1, 64, 5, 6)
    static = block.conv(block.conv1(x)[:, 128:])
    half = block.aggregate(x)
    with torch.no_grad():
        block.sa_weight.fill_(-torch.inf)
        torch.testing.assert_close(block.aggregate(x), static)
        block.sa_weight.fill_(torch.inf)
        dynamic = block.aggregate(x)
    torch.testing.assert_close(half, (static + dynamic) / 2)


def test_attention_is_softmax_of_scaled_products() -> None:
    block, x = _mix(), torch.randn(1, 64, 3, 4)
    with torch.no_grad():
        block.sa_weight.fill_(torch.inf)
        query, key, value = block.conv1(x)[0].flatten(1).split(64)
        heads = []
        for h in (slice(0, 32), slice(32, 64)):
            affinity = (query[h].T @ key[h] / 32**0.5).softmax(dim=1)
            heads.append((affinity @ value[h].T).T)
        torch.testing.assert_close(block.aggregate(x)[0], torch.cat(heads).reshape(64, 3, 4), rtol=1e-4, atol=1e-5)


def test_without_convolutions_over_space_a_mix_block_does_not_know_places() -> None:
    block, x, order = _mix(), torch.randn(1, 64, 4, 4), torch.randperm(16)
    with torch.no_grad():
        for conv in (block.pos_embed, block.conv):
            conv.weight.zero_()

        def shuffled(t: Tensor) -> Tensor:
            return t.flatten(2)[:, :, order].reshape(t.shape)

        torch.testing.assert_close(block(shuffled(x)), shuffled(block(x)), rtol=1e-4, atol=1e-5)


def test_conv_blocks_see_three_pixels_far_and_mix_blocks_everything() -> None:
    x = torch.randn(1, 64, 16, 16)
    changed = x.clone()
    changed[..., 8, 8] += 5
    for block, reach in ((ConvBlock(64, 2, 0.0).eval(), 3), (_mix(), None)):
        with torch.no_grad():
            moved = (block(x) != block(changed)).any(dim=1)[0]
        far = torch.ones(16, 16, dtype=torch.bool)
        if reach is None:
            assert moved.all()
        else:
            far[8 - reach : 9 + reach, 8 - reach : 9 + reach] = False
            assert not moved[far].any()
            assert moved[5, 5]


def test_a_file_of_released_weights_loads_without_its_classifier(task_of: Any, tmp_path: Path) -> None:
    options: dict[str, Any] = {"widths": (8, 16, 16, 32), "depths": (1, 1, 1, 1)}
    source = build(task_of(), ContainerOptions(**options), init=Init())
    weights = {**source.state_dict(), "head.weight": torch.zeros(1000, 32)}
    torch.save({"model": weights}, tmp_path / "light.pth")
    init = Init("imagenet", str(tmp_path / "light.pth"))
    loaded = build(task_of(), ContainerOptions(**options), init=init)
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), source.parameters(), strict=True))
    with pytest.raises(HarnessError, match="does not fit"):
        build(task_of(), ContainerOptions(widths=(8, 16, 16, 64), depths=(1, 1, 1, 1)), init=init)
    with pytest.raises(HarnessError, match="imagenet:FILE"):
        build(task_of(), ContainerOptions(**options), init=Init("imagenet"))


def test_mixtures_are_not_decayed() -> None:
    net = _narrow()
    groups = optimiser.build(net, load_preset("quick").training).param_groups
    plain = {id(p) for group in groups if group["weight_decay"] == 0 for p in group["params"]}
    mixtures = [p for name, p in net.named_parameters() if name.endswith("sa_weight")]
    assert len(mixtures) == 3
    assert all(id(p) in plain for p in mixtures)
