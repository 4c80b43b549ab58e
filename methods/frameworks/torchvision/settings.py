"""What may be set of the torchvision engine. Imports no framework."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.options import Options, recorded_if_set
from methods.shared.rcnn_settings import RCNNSettings


class TorchvisionSettings(RCNNSettings):
    """What the engine reads of a preset's [model] table."""


class TorchvisionOptions(Options):
    """Options of the engine."""

    version: Literal[1, 2] = Field(1, description="of torchvision's Mask R-CNN")
    depth: Literal[18, 34, 50, 101, 152] = Field(50, description="layers of the ResNet")
    train_proposals: Literal[1, 2] = recorded_if_set(
        2, description="proposals of an image after NMS in training, as a multiple of the preset's"
    )
    mask_width: int | None = recorded_if_set(
        None, ge=1, description="channels of the mask head; none: those of the pyramid"
    )
