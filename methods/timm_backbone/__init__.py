"""Networks of timm as the backbone: `swin_t`, `pvt_v2_b0`, and `timm:NAME` for any that gives feature maps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from harness.contract import Card, Method, Part
from harness.options import Options, recorded_if_set

DEPARTURES = (
    "the same at every preset size",
    "from scratch, batch norm, if the network has it, is trained, and no stage is frozen; with ImageNet weights batch "
    "norm, stem and first stage are frozen, as those of detectron2's zoo",
    "with the init imagenet, timm's weights are downloaded, or read from a file; images are normalised by the mean and "
    "the standard deviation of the model's default_cfg",
)


class TimmOptions(Options):
    """Options of the backbone."""

    model: str = Field(description="timm's name of the network")
    freeze: Literal["nothing", "norm", "norm_and_first_stage"] | None = recorded_if_set(
        None,
        description="what of pretrained weights is not trained: batch norm; stem and stage at stride 4 too; none: with "
        "ImageNet weights both, as detectron2's zoo",
    )


def _method(name: str, model: str, card: Card, expected_failures: Mapping[str, str] | None = None) -> Method:
    part = Part(f"timm {model}", "methods.timm_backbone.backbone:build", {"model": model}, options_type=TimmOptions)
    return Method(name, card, {"backbone": part}, default=False, expected_failures=expected_failures or {})


def timm_method(model: str) -> Method:
    """The method `timm:<model>`. Whether timm has that model is looked up when it is built, not here."""
    card = Card(
        title=f"{model} of PyTorch Image Models",
        paper="Wightman",
        year=2019,
        venue="software",
        url="https://github.com/huggingface/pytorch-image-models",
        changes=f"replaces the backbone by timm's {model}; its maps at stride 4 and coarser feed the engine's "
        "feature pyramid",
        departures=DEPARTURES,
    )
    return _method(f"timm:{model}", model, card)


FAMILIES = {"timm": timm_method}
"""A name with a colon is a member of a family: `timm:resnet34`."""

SWIN_T = _method(
    "swin_t",
    "swin_tiny_patch4_window7_224",
    Card(
        title="Swin Transformer: hierarchical vision transformer using shifted windows (Swin-T)",
        paper="Liu, Lin, Cao, Hu, Wei, Zhang, Lin, Guo",
        year=2021,
        venue="ICCV",
        url="https://arxiv.org/abs/2103.14030",
        changes="replaces the backbone by a transformer of four stages whose attention stays within windows of 7x7 "
        "patches, which are shifted by half a window in every other block",
        departures=(
            *DEPARTURES,
            "timm's implementation; the pyramid reads each stage as it is, where the authors' detection code puts a "
            "layer norm on each output",
            "stochastic depth grows to 0.1 in the last block, timm's default",
        ),
        published={
            "parameters with a 1000-way classifier": "28,288,354",
            "parameters of the backbone": "27,517,818",
            "Mask R-CNN on COCO, 1x / 3x, box and mask AP": "43.7 and 39.8 / 46.0 and 41.6 (48 M, 267 G)",
        },
    ),
)

PVT_V2_B0 = _method(
    "pvt_v2_b0",
    "pvt_v2_b0",
    Card(
        title="PVT v2: improved baselines with Pyramid Vision Transformer (B0)",
        paper="Wang, Xie, Li, Fan, Song, Liang, Lu, Luo, Shao",
        year=2022,
        venue="Computational Visual Media",
        url="https://arxiv.org/abs/2106.13797",
        changes="replaces the backbone by a small transformer of four stages with overlapping patches, whose attention "
        "reads keys and values from a map that is up to 8 times coarser",
        departures=(*DEPARTURES, "timm's implementation; the pyramid reads each stage after its layer norm"),
        published={
            "parameters with a 1000-way classifier": "3,666,760",
            "parameters of the backbone": "3,409,760",
            "ImageNet top-1": "70.5",
        },
    ),
)

METHODS = (SWIN_T, PVT_V2_B0)
