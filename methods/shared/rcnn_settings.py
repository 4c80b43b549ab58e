"""What every Mask R-CNN engine reads of a preset's [model] table, with the defaults of the papers."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from harness.options import Settings


class RCNNSettings(Settings):
    """Settings of a Mask R-CNN. Defaults are those of detectron2's and torchvision's COCO models."""

    width: int = Field(256, ge=1, description="channels of the feature pyramid")
    box_head_width: int = Field(1024, ge=1, description="channels of the box head's hidden layers")
    anchor_scale: float = Field(8.0, gt=0, description="side of an anchor in units of its level's stride")
    anchor_ratios: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (0.5, 1.0, 2.0), min_length=1, description="height over width of the anchors of each level"
    )
    rois_per_image: int = Field(512, ge=1, description="proposals of an image that the heads train on in each step")
    anchors_per_image: int = Field(256, ge=1, description="anchors of an image that the RPN trains on in each step")
    proposals: int = Field(1000, ge=1, description="proposals of an image after NMS")

    for_checks = {  # noqa: RUF012 - pydantic reads the annotation of the base class
        "width": 64,
        "box_head_width": 256,
        "proposals": 300,
        "rois_per_image": 32,
        "anchors_per_image": 64,
    }
