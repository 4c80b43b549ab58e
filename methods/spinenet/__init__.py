"""SpineNet: a scale-permuted backbone whose outputs take the place of the feature pyramid."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from harness.contract import Card, Method, Part
from harness.options import Options, recorded_if_set


class SpineNetOptions(Options):
    """Options of the backbone."""

    variant: Literal["49S", "49", "96", "143", "143L", "190"] = Field("49", description="published network")
    levels: tuple[int, int] = Field(
        (2, 6), description="finest and coarsest output, from 2 to 7; their strides are 2 ** level"
    )
    norm: Literal["BN", "GN"] = Field("BN", description="batch or group norm")
    padding: Literal["symmetric", "same"] = recorded_if_set(
        "symmetric", description="of layers with stride 2: zeros on both sides, or as TensorFlow's SAME"
    )
    eps: float = recorded_if_set(1e-5, gt=0, description="epsilon of the norms; the released code has 0.001")
    scale: float | None = recorded_if_set(None, gt=0, description="of all widths; none: the variant's")
    endpoints: Annotated[int, Field(ge=1)] | Literal["pyramid"] | None = recorded_if_set(
        None, description="channels of the outputs, or as the preset's pyramids have; none: the variant's"
    )

    @field_validator("variant", mode="before")
    @classmethod
    def _as_text(cls, variant: Any) -> Any:
        """spinenet(variant=143) is typed as a number."""
        return str(variant) if isinstance(variant, int) else variant

    @model_validator(mode="after")
    def _check_levels(self) -> SpineNetOptions:
        if not 2 <= self.levels[0] <= self.levels[1] <= 7:
            raise ValueError(f"levels={list(self.levels)} must be a finest and a coarsest from 2 to 7")
        return self


METHOD = Method(
    name="spinenet",
    card=Card(
        title="SpineNet: learning scale-permuted backbone for recognition and localization",
        paper="Du, Lin, Jin, Ghiasi, Tan, Cui, Le, Song",
        year=2020,
        venue="CVPR",
        url="https://arxiv.org/abs/1912.05027",
        changes="replaces backbone and feature pyramid by one network whose blocks change scale up and down in a "
        "searched order and give a map at every scale; variant is 49S, 49, 96, 143, 143L or 190",
        departures=(
            "outputs at strides 4 to 64 (the later 16-block form), since cells are small; the paper's are 8 to 128 "
            "(levels=[3,7]). Blocks that no output depends on are left out",
            "preset size small: SpineNet-49 at half of every width, outputs as wide as the preset's other pyramids, "
            "and group norm, since the coarsest maps of a small crop are one pixel; no published variant is so narrow",
            "batch norm averages with momentum 0.1 and epsilon 1e-5 (PyTorch's), not 0.01 and 1e-3; ReLU, no "
            "stochastic depth",
            "layers with stride 2 are padded alike on both sides. The released code runs on TensorFlow, whose SAME "
            "padding adds less on the left and top than on the right and bottom, so each map lies shifted against "
            "ours; padding='same' is that, for weights of that code (with eps=0.001)",
            "images are padded to a multiple of 128, which the blocks at level 7 need",
            "made to be trained from scratch for hundreds of epochs, and no weights for PyTorch can be downloaded: no "
            "path leads from block to block unchanged, so its first steps cut the loss more slowly than a ResNet's",
        ),
        published={
            "parameters, 49 / 96 / 143 / 190, with a 1000-way classifier": "22.1 / 36.5 / 60.5 / 127.1 M",
            "parameters, 49, without classifier, strides 8 to 128": "21,831,488",
            "Mask R-CNN on COCO, box / mask AP, 49 at 640": "42.8 / 37.8 (215.7 G, 40.8 M)",
            "the same, 96 at 1024": "46.8 / 41.2 (314.6 G, 55.2 M)",
            "the same, 143 at 1280": "48.7 / 42.6 (498.4 G, 79.2 M)",
            "the same, 190 at 1536": "52.0 / 45.9 (1685.7 G, 168.2 M)",
        },
    ),
    parts={
        "backbone": Part(
            "SpineNet",
            "methods.spinenet.backbone:build",
            sizes={"small": {"scale": 0.5, "endpoints": "pyramid", "norm": "GN"}},
            options_type=SpineNetOptions,
        )
    },
    expected_failures={
        "overfits_one_batch": "no path leads from block to block unchanged: in 30 steps its loss falls to about 0.6 of "
        "its start, the baseline's to 0.4"
    },
)
