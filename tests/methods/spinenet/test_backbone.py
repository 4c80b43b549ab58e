"""SpineNet: docs/methods.md#spinenet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.contract import Init
from harness.errors import HarnessError
from harness.options import validate
from methods.spinenet import SpineNetOptions
from methods.spinenet.backbone import NODES, VARIANTS, Block, Resample, SpineNet, Variant, build
from methods.spinenet.same_padding import pad_same

NARROW = Variant(endpoints=8, scale=0.1, alpha=0.5, repeats=1)


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(("name", "millions"), [("49", 22.1), ("96", 36.5), ("143", 60.5), ("190", 127.1)])
def test_counts_with_a_classifier_are_the_published_ones(name: str, millions: float) -> None:
    with torch.device("meta"):
        net = SpineNet(VARIANTS[name], range(3, 8), "BN")
    width = VARIANTS[name].endpoints
    assert round((_count(net) + width * 1000 + 1000) / 1e6, 1) == millions


def test_count_of_49_exactly_and_of_the_later_form() -> None:
    with torch.device("meta"):
        assert _count(SpineNet(VARIANTS["49"], range(3, 8), "BN")) == 21_831_488
        # the published figure of the 16-block form holds node 15, whose output it does not use
        with_node_15 = _count(SpineNet(VARIANTS["49"], range(2, 8), "BN"))
    assert with_node_15 - (1024 * 256 + 2 * 256) == 21_772_032


def _resample(cin: int, middle: int, cout: int, down: bool) -> int:
    return cin * middle + 2 * middle + (9 * middle * middle + 2 * middle if down else 0) + middle * cout + 2 * cout


def test_count_of_a_narrow_one_by_hand() -> None:
    f = {level: int(w * 0.5) for level, w in {2: 64, 3: 128, 4: 256, 5: 256, 6: 256, 7: 256}.items()}
    level, bottleneck = {0: 2, 1: 2}, {0: True, 1: True}

    def bottle(cin: int, w: int) -> int:
        skip = cin * 4 * w + 8 * w if cin != 4 * w else 0
        return cin * w + 2 * w + 9 * w * w + 2 * w + 4 * w * w + 8 * w + skip

    total = 3 * 49 * 64 + 128 + bottle(64, f[2]) + bottle(4 * f[2], f[2])
    for index, node in NODES.items():
        level[index], bottleneck[index] = node.level, node.bottleneck
        if index == 15:
            continue  # not built: at levels 2 to 6 nothing hangs on it
        w = f[node.level]
        cout = 4 * w if node.bottleneck else w
        for parent in node.parents:
            base = f[level[parent]]
            cin = 4 * base if bottleneck[parent] else base
            total += _resample(cin, int(base * 0.5), cout, node.level > level[parent])
        total += bottle(cout, w) if node.bottleneck else 2 * (9 * w * w + 2 * w)
    total += sum(4 * f[lv] * 32 + 64 for lv in range(2, 7))
    assert _count(SpineNet(Variant(32, 0.5, 0.5, 1), range(2, 7), "GN")) == total


@pytest.mark.parametrize(("levels", "strides"), [((3, 7), (8, 16, 32, 64, 128)), ((2, 6), (4, 8, 16, 32, 64))])
def test_five_outputs_of_equal_width(levels: tuple[int, int], strides: tuple[int, ...]) -> None:
    net = SpineNet(NARROW, range(levels[0], levels[1] + 1), "BN").eval()
    with torch.no_grad():
        maps = net(torch.randn(1, 3, 640, 256))
    assert [tuple(m.shape[1:]) for m in maps] == [(8, 640 // s, 256 // s) for s in strides]
    assert (net.strides, net.channels, net.pad_to) == (strides, (8,) * 5, 128)


def test_the_outputs_are_nodes_12_to_17_one_a_level() -> None:
    assert {i: n.level for i, n in NODES.items() if n.output} == {12: 4, 13: 3, 14: 5, 15: 7, 16: 6, 17: 2}
    assert all(max(n.parents) < i for i, n in NODES.items())
    read = {p for n in NODES.values() for p in n.parents}
    assert {i for i in NODES if i not in read and not NODES[i].output} == {11}


def test_node_11_reaches_node_14_as_it_is() -> None:
    net, image = SpineNet(NARROW, range(2, 7), "BN").eval(), torch.randn(1, 3, 128, 128)
    seen: dict[str, torch.Tensor] = {}
    for name in ("11", "14", "12"):
        net.blocks[name].register_forward_hook(lambda _m, i, o, name=name: seen.update({name: o, f"{name} in": i[0]}))
    with torch.no_grad():
        net(image)
        before = dict(seen)
        net.blocks["11"].register_forward_hook(lambda _m, _i, o: o + 1)
        net(image)
    torch.testing.assert_close(seen["12"], before["12"])
    # the sum passes a ReLU before the block: where it was positive it has grown by exactly the one added
    grown = (seen["14 in"] - before["14 in"])[before["14 in"] > 0]
    torch.testing.assert_close(grown, torch.ones_like(grown))


def test_repeats_add_blocks_and_nothing_else() -> None:
    once, twice = (SpineNet(replace(NARROW, repeats=r), range(2, 7), "BN") for r in (1, 2))
    assert [_count(m) for m in (once.stem, once.resamples, once.endpoints)] == [
        _count(m) for m in (twice.stem, twice.resamples, twice.endpoints)
    ]
    blocks = [sum(isinstance(m, Block) for m in net.modules()) for net in (once, twice)]
    assert blocks[1] == 2 * blocks[0]


def test_resampling_by_level() -> None:
    kinds = {down: [type(m) for m in Resample(16, 8, 32, down, "BN").modules()] for down in (-2, 0, 1, 3)}
    x = torch.randn(2, 16, 16, 16)
    shapes = {down: tuple(Resample(16, 8, 32, down, "BN")(x).shape) for down in kinds}
    assert shapes == {-2: (2, 32, 64, 64), 0: (2, 32, 16, 16), 1: (2, 32, 8, 8), 3: (2, 32, 2, 2)}
    assert [kinds[down].count(nn.MaxPool2d) for down in kinds] == [0, 0, 0, 2]
    assert [kinds[down].count(nn.Conv2d) for down in kinds] == [2, 2, 3, 3]
    same = Resample(16, 8, 32, 0, "BN")
    assert all(m.kernel_size == (1, 1) for m in same.modules() if isinstance(m, nn.Conv2d))
    assert same(x).min() < 0, "no ReLU after the last norm"


def test_alpha_halves_the_middle_of_the_resampling() -> None:
    half, full = (SpineNet(replace(NARROW, alpha=a), range(2, 7), "BN").resamples["4_0"] for a in (0.5, 1.0))
    assert half.widen[0].in_channels * 2 == full.widen[0].in_channels  # type: ignore[union-attr, index, operator]


@pytest.mark.parametrize("norm", ["BN", "GN"])
def test_every_parameter_learns_at_one_pixel_a_map(norm: Any) -> None:
    """A crop of 128 leaves one pixel at level 7; one image leaves one value a channel."""
    net = SpineNet(NARROW, range(2, 7), norm)
    sum((m * torch.randn_like(m)).sum() for m in net(torch.randn(1, 3, 128, 128))).backward()
    dead = [name for name, p in net.named_parameters() if p.grad is None or not bool(torch.isfinite(p.grad).all())]
    assert dead == []


def test_eval_repeats_itself() -> None:
    net, image = SpineNet(NARROW, range(2, 7), "BN").eval(), torch.randn(1, 3, 128, 256)
    assert all(torch.equal(a, b) for a, b in zip(net(image), net(image), strict=True))


def test_options(task_of: Any) -> None:
    assert build(task_of(width=48), SpineNetOptions(scale=0.1, endpoints="pyramid"), init=Init()).channels == (48,) * 5
    assert build(task_of(), SpineNetOptions(variant="49S", levels=(3, 5)), init=Init()).channels == (128,) * 3
    with pytest.raises(HarnessError, match="variant='50' must be one of 49S, 49, 96, 143, 143L, 190"):
        validate(SpineNetOptions, {"variant": "50"})
    with pytest.raises(HarnessError, match=r"levels=\[1, 6\] must be a finest and a coarsest from 2 to 7"):
        validate(SpineNetOptions, {"levels": [1, 6]})


def test_a_variant_may_be_typed_as_a_number(task_of: Any) -> None:
    assert build(task_of(), SpineNetOptions(variant=49, scale=0.1), init=Init()).strides == (4, 8, 16, 32, 64)


class TensorFlowSpineNet:
    """The forward pass of TF models `official/vision/modeling/backbones/spinenet.py` on the weights of ours.

    Every layer is computed here, with SAME padding: an axis of n pixels has ceil(n / stride) windows, and the smaller
    half of what they need beyond n pixels lies in front.
    """

    def __init__(self, weights: dict[str, Tensor], outputs: dict[int, int]) -> None:
        self.weights, self.outputs = weights, outputs

    @staticmethod
    def windows(x: Tensor, kernel: int, stride: int, value: float) -> Tensor:
        """(B, C, h, w, kernel, kernel)."""
        for axis in (2, 3):
            n = x.shape[axis]
            count = (n + stride - 1) // stride
            missing = max((count - 1) * stride + kernel - n, 0)
            shape = list(x.shape)
            parts = []
            for amount in (missing // 2, missing - missing // 2):
                shape[axis] = amount
                parts.append(torch.full(shape, value))
            x = torch.cat([parts[0], x, parts[1]], dim=axis)
        return x.unfold(2, kernel, stride).unfold(3, kernel, stride)

    def conv(self, name: str, x: Tensor, stride: int = 1, relu: bool = True) -> Tensor:
        w = self.weights[f"{name}.0.weight"]
        x = torch.einsum("bchwij,ocij->bohw", self.windows(x, w.shape[2], stride, 0.0), w)
        mean, var, scale, shift = (
            self.weights[f"{name}.1.{kind}"][:, None, None]
            for kind in ("running_mean", "running_var", "weight", "bias")
        )
        x = (x - mean) / (var + 1e-3).sqrt() * scale + shift
        return x.relu() if relu else x

    def pool(self, x: Tensor) -> Tensor:
        return self.windows(x, 3, 2, -torch.inf).amax(dim=(4, 5))

    def block(self, name: str, x: Tensor, bottleneck: bool) -> Tensor:
        y = x
        for layer in range(3 if bottleneck else 2):
            y = self.conv(f"blocks.{name}.0.branch.{layer}", y, relu=layer < (2 if bottleneck else 1))
        skip = f"blocks.{name}.0.skip"
        return (y + (self.conv(skip, x, relu=False) if f"{skip}.0.weight" in self.weights else x)).relu()

    def resample(self, name: str, x: Tensor, down: int) -> Tensor:
        x = self.conv(f"resamples.{name}.narrow.0", x)
        if down > 0:
            x = self.conv(f"resamples.{name}.narrow.1", x, stride=2)
            for _ in range(down - 1):
                x = self.pool(x)
        elif down < 0:
            x = x.repeat_interleave(2**-down, 2).repeat_interleave(2**-down, 3)
        return self.conv(f"resamples.{name}.widen", x, relu=False)

    def __call__(self, image: Tensor) -> list[Tensor]:
        stem = self.pool(self.conv("stem.0", image, stride=2))
        nodes = {0: self.block("0", stem, True)}
        nodes[1] = self.block("1", nodes[0], True)
        level = {0: 2, 1: 2, **{i: node.level for i, node in NODES.items()}}
        for i, node in NODES.items():
            if f"blocks.{i}.0.branch.0.0.weight" in self.weights:
                parents = [
                    self.resample(f"{i}_{k}", nodes[p], node.level - level[p]) for k, p in enumerate(node.parents)
                ]
                nodes[i] = self.block(str(i), (sum(parents) + (nodes[11] if i == 14 else 0)).relu(), node.bottleneck)
        return [self.conv(f"endpoints.{k}", nodes[i]) for k, i in sorted(self.outputs.items())]


def test_same_padding_and_epsilon_are_those_of_the_tensorflow_code(task_of: Any) -> None:
    options = SpineNetOptions(levels=(3, 7), scale=0.2, endpoints=16, padding="same", eps=1e-3)
    net, plain = (
        build(task_of(), options.model_copy(update={"padding": p}), init=Init()).eval() for p in ("same", "symmetric")
    )
    generator = torch.Generator().manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for value, low in ((module.weight, 0.5), (module.running_var, 0.5), (module.bias, -0.2)):
                value.data = low + torch.rand(value.shape, generator=generator) * (1.0 if low > 0 else 0.4)
    plain.load_state_dict(net.state_dict())
    image = torch.randn(1, 3, 256, 384, generator=generator)
    with torch.no_grad():
        ours, reference, other = net(image), TensorFlowSpineNet(net.state_dict(), net.outputs)(image), plain(image)
    assert [m.shape for m in ours] == [m.shape for m in reference]
    for one, wanted, shifted in zip(ours, reference, other, strict=True):
        scale = wanted.abs().max()
        assert float((one - wanted).abs().max() / scale) < 3e-5
        assert float((shifted - wanted).abs().max() / scale) > 0.01


@pytest.mark.parametrize(("length", "before", "after"), [(8, 0, 1), (7, 1, 1), (2, 0, 1), (1, 1, 1)])
def test_same_padding_adds_less_in_front(length: int, before: int, after: int) -> None:
    row = torch.ones(1, 1, length, length)
    padded = pad_same(row, kernel=3, stride=2)
    torch.testing.assert_close(padded, F.pad(row, (before, after, before, after)))
