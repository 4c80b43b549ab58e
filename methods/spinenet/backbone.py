"""SpineNet: a backbone whose blocks change scale in a searched order. Its outputs are a feature pyramid.

Source: Du et al. 2020; `tensorflow/tpu`, `models/official/detection/modeling/architecture/spinenet.py`;
docs/methods.md#spinenet.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from harness.contract import Init, Task
from methods.shared.norms import Norm
from methods.shared.pretrained import load_imagenet_backbone
from methods.shared.rcnn_settings import RCNNSettings
from methods.shared.residual import conv_norm_relu
from methods.spinenet import SpineNetOptions
from methods.spinenet.same_padding import SameConv2d, SameMaxPool2d


@dataclass(frozen=True)
class Node:
    """A group of blocks.

    Attributes:
        level: Its stride is 2 ** level.
        bottleneck: Whether its blocks are bottlenecks; otherwise two 3x3 convolutions.
        parents: The two nodes that it reads.
        output: Whether it is an output of the network.
    """

    level: int
    bottleneck: bool
    parents: tuple[int, int]
    output: bool = False


NODES = {
    2: Node(2, True, (0, 1)),
    3: Node(4, False, (0, 1)),
    4: Node(3, True, (2, 3)),
    5: Node(4, True, (2, 4)),
    6: Node(6, False, (3, 5)),
    7: Node(4, True, (3, 5)),
    8: Node(5, False, (6, 7)),
    9: Node(7, False, (6, 8)),
    10: Node(5, True, (8, 9)),
    11: Node(5, True, (8, 10)),
    12: Node(4, True, (5, 10), output=True),
    13: Node(3, True, (4, 10), output=True),
    14: Node(5, True, (7, 12), output=True),
    15: Node(7, True, (5, 14), output=True),
    16: Node(6, True, (12, 14), output=True),
    17: Node(2, True, (2, 13), output=True),
}
"""The searched network. Nodes 0 and 1 follow the stem. Node 17 is of the later form, with outputs at stride 4."""

EXTRA_EDGE = (11, 14)
"""No node reads node 11, so it is added to the input of the output node with the same level and width."""

WIDTHS = {2: 64, 3: 128, 4: 256, 5: 256, 6: 256, 7: 256}


@dataclass(frozen=True)
class Variant:
    """A size of the network.

    Attributes:
        endpoints: Channels of the outputs.
        scale: Factor of all widths.
        alpha: Factor of the widths inside resampling.
        repeats: Blocks in each node.
    """

    endpoints: int
    scale: float
    alpha: float
    repeats: int


VARIANTS = {
    "49S": Variant(128, 0.65, 0.5, 1),
    "49": Variant(256, 1.0, 0.5, 1),
    "96": Variant(256, 1.0, 0.5, 2),
    "143": Variant(256, 1.0, 1.0, 3),
    "143L": Variant(256, 1.3, 1.0, 3),
    "190": Variant(512, 1.3, 1.0, 4),
}


class Block(nn.Module):
    """A residual block of two 3x3 convolutions to `width` channels, or a bottleneck (1x1, 3x3, 1x1) to 4 * width."""

    def __init__(self, cin: int, width: int, bottleneck: bool, norm: Norm) -> None:
        super().__init__()
        cout = width * 4 if bottleneck else width
        if bottleneck:
            convs = [
                conv_norm_relu(cin, width, norm, kernel=1),
                conv_norm_relu(width, width, norm, kernel=3),
                conv_norm_relu(width, cout, norm, kernel=1, relu=False),
            ]
        else:
            convs = [
                conv_norm_relu(cin, width, norm, kernel=3),
                conv_norm_relu(width, cout, norm, kernel=3, relu=False),
            ]
        self.branch = nn.Sequential(*convs)
        self.skip = nn.Identity() if cin == cout else conv_norm_relu(cin, cout, norm, kernel=1, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.branch(x) + self.skip(x))


class Resample(nn.Module):
    """Resamples the map of a parent node to the size and channels of its child.

    A 1x1 convolution to `middle` channels, the change of size, a 1x1 convolution to `cout` channels without ReLU.
    Downsampling is a 3x3 convolution of stride 2 and then 3x3 max-pooling of stride 2; upsampling is nearest neighbour.

    Args:
        cin, middle, cout: Channels.
        down: Levels to go down; negative to go up.
        norm: Of the convolutions.
        same: Whether layers of stride 2 are padded as TensorFlow's SAME.
    """

    def __init__(self, cin: int, middle: int, cout: int, down: int, norm: Norm, same: bool = False) -> None:
        super().__init__()
        self.up = 2**-down if down < 0 else 1
        layers = [conv_norm_relu(cin, middle, norm, kernel=1)]
        if down > 0:
            layers += [
                conv_norm_relu(middle, middle, norm, kernel=3, stride=2, conv=SameConv2d if same else nn.Conv2d),
                *(_max_pool(same) for _ in range(down - 1)),
            ]
        self.narrow = nn.Sequential(*layers)
        self.widen = conv_norm_relu(middle, cout, norm, kernel=1, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.narrow(x)
        if self.up > 1:
            x = F.interpolate(x, scale_factor=float(self.up), mode="nearest")
        out: Tensor = self.widen(x)
        return out


class SpineNet(nn.Module):
    """Maps at strides 2 ** level, for each of `levels`, of (B, 3, H, W) images; H and W multiples of `pad_to`.

    Nodes that no output of these levels depends on are not built. same: see Resample. eps: of the norms.
    """

    is_pyramid = True

    def __init__(
        self, variant: Variant, levels: Sequence[int], norm: Norm, same: bool = False, eps: float = 1e-5
    ) -> None:
        super().__init__()
        width_of = {level: int(width * variant.scale) for level, width in WIDTHS.items()}
        self.outputs = {node.level: index for index, node in NODES.items() if node.output and node.level in levels}
        self.needed = _ancestors(self.outputs.values())
        self.strides = tuple(2**level for level in sorted(self.outputs))
        self.channels = (variant.endpoints,) * len(self.outputs)
        self.pad_to = 2 ** max(NODES[index].level for index in self.needed)

        stem = width_of[2]
        first = conv_norm_relu(3, 64, norm, kernel=7, stride=2, conv=SameConv2d if same else nn.Conv2d)
        self.stem = nn.Sequential(first, _max_pool(same))
        self.blocks = nn.ModuleDict()
        self.blocks["0"] = _group(64, stem, True, variant.repeats, norm)
        self.blocks["1"] = _group(stem * 4, stem, True, variant.repeats, norm)
        self.resamples = nn.ModuleDict()
        kind = {0: NODES[2], 1: NODES[2], **NODES}
        for index in self.needed:
            node = NODES[index]
            width = width_of[node.level]
            cout = width * 4 if node.bottleneck else width
            for slot, parent in enumerate(node.parents):
                base = width_of[kind[parent].level]
                cin = base * 4 if kind[parent].bottleneck else base
                down = node.level - kind[parent].level
                self.resamples[f"{index}_{slot}"] = Resample(cin, int(base * variant.alpha), cout, down, norm, same)
            self.blocks[str(index)] = _group(cout, width, node.bottleneck, variant.repeats, norm)
        self.endpoints = nn.ModuleDict(
            {
                str(level): conv_norm_relu(width_of[level] * 4, variant.endpoints, norm, kernel=1)
                for level in sorted(self.outputs)
            }
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.BatchNorm2d | nn.GroupNorm):
                module.eps = eps

    def compiled_blocks(self) -> list[nn.Module]:
        """The stem, the blocks, the resampling of their inputs, and the outputs."""
        blocks = [module for module in self.modules() if isinstance(module, Block | Resample)]
        return [self.stem, *blocks, *self.endpoints.values()]

    def forward(self, images: Tensor) -> list[Tensor]:
        nodes = {0: self.blocks["0"](self.stem(images))}
        nodes[1] = self.blocks["1"](nodes[0])
        for index in self.needed:
            first, second = NODES[index].parents
            x = self.resamples[f"{index}_0"](nodes[first]) + self.resamples[f"{index}_1"](nodes[second])
            if index == EXTRA_EDGE[1]:
                x = x + nodes[EXTRA_EDGE[0]]
            nodes[index] = self.blocks[str(index)](F.relu(x))
        return [self.endpoints[str(level)](nodes[self.outputs[level]]) for level in sorted(self.outputs)]


def _max_pool(same: bool) -> nn.MaxPool2d:
    return SameMaxPool2d(3, 2) if same else nn.MaxPool2d(3, 2, 1)


def _group(cin: int, width: int, bottleneck: bool, repeats: int, norm: Norm) -> nn.Module:
    cout = width * 4 if bottleneck else width
    return nn.Sequential(*(Block(cout if i else cin, width, bottleneck, norm) for i in range(repeats)))


def _ancestors(outputs: Iterable[int]) -> list[int]:
    """The nodes from 2 on that `outputs` depend on, including themselves, in order."""
    needed, waiting = set[int](), list(outputs)
    while waiting:
        index = waiting.pop()
        if index > 1 and index not in needed:
            needed.add(index)
            waiting += [*NODES[index].parents, *([EXTRA_EDGE[0]] if index == EXTRA_EDGE[1] else [])]
    return sorted(needed)


def build(task: Task, options: SpineNetOptions, *, init: Init) -> SpineNet:
    """The published variant, with what the options change of it."""
    plain, endpoints = VARIANTS[options.variant], options.endpoints
    if endpoints == "pyramid":
        endpoints = RCNNSettings.read(task.settings).width
    chosen = Variant(endpoints or plain.endpoints, options.scale or plain.scale, plain.alpha, plain.repeats)
    finest, coarsest = options.levels
    levels = range(finest, coarsest + 1)
    backbone = SpineNet(chosen, levels, options.norm, options.padding == "same", options.eps)
    load_imagenet_backbone(backbone, init, f"SpineNet-{options.variant}")
    return backbone
