"""`timm:NAME`: any network of timm that gives feature maps, as the backbone."""

from __future__ import annotations

from pydantic import Field

from harness.contract import Card, Method, Part
from harness.options import Options


class TimmOptions(Options):
    """Options of the backbone."""

    model: str = Field(description="timm's name of the network")


def timm_method(model: str) -> Method:
    """The method `timm:<model>`. Whether timm has that model is looked up when it is built, not here."""
    return Method(
        name=f"timm:{model}",
        card=Card(
            title=f"{model} of PyTorch Image Models",
            paper="Wightman",
            year=2019,
            venue="software",
            url="https://github.com/huggingface/pytorch-image-models",
            changes=f"replaces the backbone by timm's {model}; its maps at stride 4 and coarser feed the engine's "
            "feature pyramid",
            departures=(
                "the same at every preset size",
                "batch norm, if the network has it, is trained; no stage is frozen",
                "with --init imagenet, timm's weights are downloaded, or read from --init imagenet:FILE; images are "
                "normalised by the mean and the standard deviation of the model's default_cfg",
            ),
        ),
        parts={
            "backbone": Part(
                f"timm {model}", "methods.timm_backbone.backbone:build", {"model": model}, options_type=TimmOptions
            )
        },
        default=False,
    )


FAMILIES = {"timm": timm_method}
"""A name with a colon is a member of a family: `timm:resnet34`."""
