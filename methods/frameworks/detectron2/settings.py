"""What may be set of the detectron2 engine and of its ResNet. Imports no framework."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from harness.options import Options, recorded_if_set
from methods.shared.rcnn_settings import RCNNSettings


class Detectron2Settings(RCNNSettings):
    """What the engine reads of a preset's [model] table."""

    train_scales: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (), description="factors, one drawn for each batch in training, to resize its crops"
    )
    compile: bool = Field(False, description="compile the backbone and the RPN for training")


Heads = Literal["default", "scratch_gn"]
"""Box and mask head: those of the zoo's standard configurations, or of its configurations for training from scratch."""


class Detectron2Options(Options):
    """Options of the engine."""

    heads: Heads = recorded_if_set(
        "default", description="box head: two hidden layers, or four 3x3 convolutions with group norm and one"
    )


class ResNetOptions(Options):
    """Options of the ResNet backbone."""

    depth: Literal[18, 34, 50, 101, 152] = Field(50, description="layers")
    groups: int = Field(1, ge=1, description="groups of the 3x3 convolutions; 32 is ResNeXt-101-32x8d")
