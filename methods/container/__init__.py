"""CONTAINER: Container-Light as the backbone, with the engine's feature pyramid on top."""

from __future__ import annotations

from pydantic import Field

from harness.contract import Card, Method, Part
from harness.options import Options, recorded_if_set

FourNumbers = tuple[int, int, int, int]


class ContainerOptions(Options):
    """Options of the backbone; its four stages are at strides 4, 8, 16 and 32."""

    widths: FourNumbers = Field((64, 128, 320, 512), description="channels of each stage; the last a multiple of 32")
    depths: FourNumbers = Field((3, 4, 8, 3), description="blocks of each stage")
    mlp_ratios: FourNumbers = Field((8, 8, 4, 4), description="width of each stage's MLPs over its channels")
    drop_path: float = recorded_if_set(0.0, ge=0, lt=1, description="probability of stochastic depth in the last block")


METHOD = Method(
    name="container",
    card=Card(
        title="Container: context aggregation network (Container-Light)",
        paper="Gao, Lu, Li, Mottaghi, Kembhavi",
        year=2021,
        venue="NeurIPS",
        url="https://arxiv.org/abs/2106.01401",
        changes="replaces the backbone by three convolutional stages and a last stage whose blocks learn the share of "
        "attention and of depthwise convolution",
        departures=(
            "any input size, padded to a multiple of 32; the released patch embedding asserts one size",
            "preset size small: half of every width and 2, 2, 4, 2 blocks instead of 3, 4, 8, 3 (3.1 instead of 20.1 "
            "million parameters)",
            "the authors released no detection code: the pyramid reads each stage as it is, the last one after the "
            "final batch norm; stochastic depth is an option, off by default",
            "no ImageNet weights can be downloaded for it; a file in the released layout loads with "
            "--init imagenet:FILE, without it it trains from scratch",
        ),
        published={
            "parameters with final norm, without classifier": "20,120,643",
            "parameters with a 1000-way classifier": "20,633,643",
            "multiply-adds": "3.85 G at 224x224, 28.0 G at 512x704",
            "ImageNet top-1": "82.3",
            "Mask R-CNN on COCO, box / mask AP": "45.1 / 41.3 (R50 38.2 / 34.7)",
        },
    ),
    parts={
        "backbone": Part(
            "Container-Light",
            "methods.container.backbone:build",
            sizes={"small": {"widths": [32, 64, 160, 256], "depths": [2, 2, 4, 2]}},
            options_type=ContainerOptions,
        )
    },
)
