"""What may be set of the detectron2 engine and of its ResNet. Imports no framework."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.options import Options
from methods.shared.rcnn_settings import RCNNSettings


class Detectron2Settings(RCNNSettings):
    """What the engine reads of a preset's [model] table."""

    compile: bool = Field(False, description="compile the backbone and the RPN for training")


class ResNetOptions(Options):
    """Options of the ResNet backbone."""

    depth: Literal[18, 34, 50, 101, 152] = Field(50, description="layers")
    groups: int = Field(1, ge=1, description="groups of the 3x3 convolutions; 32 is ResNeXt-101-32x8d")
