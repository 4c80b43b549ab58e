"""MaskFormer: queries that each give one mask, matched to the cells one to one."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.contract import Card, Method, Part
from harness.options import Options, recorded_if_set


class MaskFormerOptions(Options):
    """Options of the engine."""

    backbone: Literal["resnet50", "swin_t", "resnet10"] = Field(
        "resnet50", description="resnet10: basic blocks, one a stage, of 32 to 256 channels"
    )
    width: int = Field(256, ge=32, multiple_of=32, description="channels of the queries, the pyramid and the masks")
    decoder_layers: int = Field(6, ge=1, description="layers of the transformer that the queries pass through")
    queries: int | None = recorded_if_set(
        None,
        ge=1,
        description="most cells of a crop or window; none: as the weights have, else from the training cells",
    )
    target_diameter: float = Field(
        64.0, gt=1, description="images are resized until the median training cell has this diameter, in pixels"
    )
    no_object_weight: float = Field(0.1, gt=0, le=1, description="of queries without a cell, in the loss of classes")


METHOD = Method(
    name="maskformer",
    card=Card(
        title="MaskFormer",
        paper="Per-Pixel Classification is Not All You Need for Semantic Segmentation (Cheng, Schwing, Kirillov)",
        year=2021,
        venue="NeurIPS",
        url="https://arxiv.org/abs/2107.06278",
        changes="engine: a transformer turns learned queries into a class and a mask each; no boxes, no anchors, no "
        "suppression",
        departures=(
            "Network and losses are those of the package transformers. Loop, clock, optimiser, crops and augmentation "
            "are the run's.",
            "Queries start with unit variance and the transformer's linear layers with Xavier weights, as in DETR. The "
            "package draws all of these with a deviation of 0.02, from which queries separate slowly.",
            "The losses after each decoder layer are of its normalised output, as in the authors' code. The package "
            "leaves out the norm and adds a loss of the queries before the first layer.",
            "Trained on crops, it is applied to windows of a crop's size, which overlap by half. A cell is taken from "
            "the window in whose middle part its centroid lies. One longer than half a crop may be cut or come twice, "
            "and a window gives at most as many cells as there are queries.",
            "Masks are compared at the stride of 4 that they are predicted at; the paper enlarges them first.",
            "Regions of many cells are background here, since the package's losses ignore no region.",
            "The number of queries follows from how many training cells fit into a crop, or is that of the weights it "
            "starts from; the paper has 100.",
            "Images are enlarged until cells have 64 pixels (40 at the preset size small) or a crop has 1,024, since "
            "the queries see a map of stride 32.",
            "A cell's score is its class probability times the mean probability of its pixels.",
            "The paper starts from ImageNet weights; here training starts from scratch, or from an earlier run.",
        ),
        published={"parameters (ResNet-50, 150 classes, 100 queries)": "41M"},
    ),
    parts={
        "engine": Part(
            "maskformer",
            "methods.maskformer.engine:build",
            sizes={"small": {"backbone": "resnet10", "width": 128, "decoder_layers": 3, "target_diameter": 40.0}},
            options_type=MaskFormerOptions,
        )
    },
    supported_slots=("init", "augment"),
    needs={"transformers": 'python -m pip install -e ".[maskformer]"'},
)
