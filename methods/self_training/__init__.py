"""Self-training: a teacher labels unlabelled images, and the student trains on both, inside one budget."""

from __future__ import annotations

from pydantic import Field

from harness.contract import Card, Method, Part
from harness.options import Options


class SelfTrainingOptions(Options):
    """Options of the supervision."""

    teacher_share: float = Field(0.4, gt=0, lt=1, description="of the budget, for the teacher on labelled images alone")
    predict_share: float = Field(0.2, gt=0, lt=1, description="most of the budget that labelling images may take")
    pseudo_share: float = Field(0.5, ge=0, le=1, description="of a batch, pseudo-labelled images when they begin")
    flips: bool = Field(True, description="the teacher looks at each image and at its two mirror images")
    uncertain: float = Field(0.5, ge=0, description="uncertain objects, to be ignored, for each one that is kept")
    minimum_score: float = Field(0.05, ge=0, le=1, description="objects below it are background")


METHOD = Method(
    "self_training",
    Card(
        title="Self-training with count matching",
        paper="Noisy Boundaries: Lemon or Lemonade for Semi-supervised Instance Segmentation? (Wang, Li, Wang)",
        year=2022,
        venue="CVPR",
        url="https://arxiv.org/abs/2203.13427",
        changes="supervision: the network labels the unlabelled images after a part of the budget and goes on training "
        "on both; the share of pseudo-labelled images falls to zero",
        labels="full masks of the labelled images; unlabelled images",
        departures=(
            "Of the paper only the choice of pseudo-labels: for each class so many objects an image as labelled images "
            "have. Its noise-tolerant mask head and boundary map are left out.",
            "One budget for teacher and student: the student goes on from the teacher's weights and learning rate, and "
            "the time to label images is training time. Under a budget of steps, labelling costs no step.",
            "An object's score is its mean over the image and its two mirror images; where a mirror image has no mask "
            "of the class with IoU 0.5, it counts as 0.",
            "The next best objects, half as many as are kept, are crowd regions: trained neither as cells nor as "
            "background. Where masks overlap, the better one keeps the pixels.",
            "The share of pseudo-labelled images falls in a line to zero, as in the 11th place of the Sartorius "
            "challenge, so that training ends on annotated images alone.",
        ),
        published={
            "gain over supervised training alone": "more than 6 % mask AP on Cityscapes, 7 % on COCO, 4.5 % on BDD100K",
        },
    ),
    {"supervision": Part("self-training", "methods.self_training.supervision:build", options_type=SelfTrainingOptions)},
    default=False,
    reads_unlabelled=True,
)
