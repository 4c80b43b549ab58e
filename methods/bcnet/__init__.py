"""BCNet: a mask head with two branches, one for what covers or touches a cell in its box, one for the cell itself."""

from __future__ import annotations

from pydantic import Field

from harness.contract import Card, Method, Part
from harness.options import Options, recorded_if_set


class BCNetOptions(Options):
    """Options of the mask head."""

    width: int | None = recorded_if_set(None, ge=1, description="channels of the head; none: those of the pyramid")
    crop: int = Field(14, ge=1, description="bins of an RoI crop along each axis; masks have twice as many")
    contour_weight: float = Field(0.5, ge=0, description="of the loss of both contours")
    occluder_weight: float = Field(0.25, ge=0, description="of the loss of the occluder's mask")
    min_box_iou: float = Field(
        0.05, ge=0, lt=1, description="cells whose boxes have a larger IoU than this are occluders of each other"
    )


METHOD = Method(
    name="bcnet",
    card=Card(
        title="Deep Occlusion-Aware Instance Segmentation with Overlapping BiLayers (BCNet)",
        paper="Ke, Tai, Tang",
        year=2021,
        venue="CVPR",
        url="https://arxiv.org/abs/2103.12340",
        changes="replaces the mask head by two branches of four convolutions and a graph convolution each: the first "
        "predicts mask and contour of the neighbours in the box, its features are added to those of the box, and the "
        "second predicts mask and contour of the cell",
        departures=(
            "made from the authors' released code, whose loss weights it has; differences are named here",
            "as in the code, a neighbour is an occluder whether it lies above or below, since annotations state no "
            "depth. The code takes what lies within the annotated box and is larger than 20 pixels; here all that lies "
            "within the training box counts, since 20 pixels are a tenth of a small cell",
            "the code adds the contours' cross-entropy to itself before it weighs it by 0.5; here it counts once",
            "in prediction only the cell's mask is computed, not the contours and the mask of the occluder",
            "preset size small: 64 channels, after a 1x1 convolution, which there is where the width is not that of "
            "the pyramid",
            "with point labels (bcnet+pointsup) only the cell's mask has a loss",
        ),
        published={
            "mask head parameters (256 channels)": "6,296,580",
            "mask AP on COCO test-dev, Faster R-CNN, R50 / R101": "38.4 / 39.8 (Mask R-CNN 34.2 / 36.1)",
            "the same, FCOS, R101": "39.6",
        },
    ),
    parts={
        "mask_head": Part(
            "BCNet", "methods.bcnet.mask_head:build", sizes={"small": {"width": 64}}, options_type=BCNetOptions
        )
    },
)
