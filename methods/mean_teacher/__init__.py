"""Mean teacher: the average of the weights so far labels unlabelled images for the network, in every step."""

from __future__ import annotations

from pydantic import Field, model_validator

from harness.contract import Card, Method, Part
from harness.options import Options


class MeanTeacherOptions(Options):
    """Options of the supervision."""

    decay: float = Field(0.999, ge=0, lt=1, description="of the average of weights, once warmed up")
    start: float = Field(0.3, ge=0, lt=1, description="fraction of the budget on labelled images alone")
    ramp: float = Field(0.1, gt=0, le=1, description="fraction of the budget in which the weight rises to its full")
    weight: float = Field(1.0, ge=0, description="of the losses of unlabelled images")
    threshold: float = Field(0.7, ge=0, description="score from which on the teacher's box is a cell")
    ignore: float = Field(0.3, ge=0, description="score from which on it is ignored, below the threshold")
    sure: float = Field(0.9, gt=0.5, le=1, description="certainty at a point from which on its mask loss counts")
    points: int = Field(112, ge=1, description="points of each box at which the mask loss is taken")
    box_weight: float = Field(0.0, ge=0, description="of the losses that move boxes: a score tells nothing of a place")
    unlabelled: float = Field(1.0, gt=0, le=8, description="unlabelled images in a batch for each labelled one")

    @model_validator(mode="after")
    def _check_scores(self) -> MeanTeacherOptions:
        if self.ignore > self.threshold:
            raise ValueError(f"ignore={self.ignore:g} must be at most threshold={self.threshold:g}")
        return self


METHOD = Method(
    "mean_teacher",
    Card(
        title="Mean teacher with pseudo-boxes and points",
        paper="Unbiased Teacher for Semi-Supervised Object Detection (Liu, Ma, He, Kuo, Chen, Zhang, Wu, Kira, Vajda)",
        year=2021,
        venue="ICLR",
        url="https://arxiv.org/abs/2102.09480",
        changes="supervision: the exponential average of the weights finds cells on weakly augmented unlabelled "
        "images, and the network learns them on strongly augmented ones",
        labels="full masks of the labelled images; unlabelled images",
        departures=(
            "The paper detects boxes only. Masks are added: 112 random points in each box have the teacher's label "
            "where it is sure to 0.9, and no loss elsewhere.",
            "Boxes with a score from 0.3 to 0.7 are crowd regions, trained neither as cells nor as background; in the "
            "paper they are background. An image without a box above 0.7 is left out.",
            "The average warms up: its decay after t steps is the smaller of 0.999 and (1 + t) / (10 + t). The paper's "
            "is 0.9996 from the end of the burn-in on.",
            "The weight of unlabelled images is 1 after a ramp, not 4 at once, and classification has no focal loss.",
            "The strong view is the same window as the weak one, with other contrast, brightness, blur, noise and "
            "rectangles of one grey level; no geometry in between.",
            "The network is scored, not the average, so that the row shows what unlabelled images bring and not what "
            "averaging weights brings.",
        ),
        published={
            "COCO, 1 / 2 / 5 / 10 % of the labels, R50": "box AP 20.16 / 24.16 / 27.84 / 31.39 (no masks)",
        },
    ),
    {"supervision": Part("mean teacher", "methods.mean_teacher.supervision:build", options_type=MeanTeacherOptions)},
    default=False,
    reads_unlabelled=True,
)
