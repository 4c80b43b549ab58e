"""The public Sartorius starter: torchvision's Mask R-CNN, an engine of its own."""

from __future__ import annotations

from typing import Literal

from harness.contract import Card, Method, Part
from methods.frameworks.torchvision.settings import TorchvisionOptions, TorchvisionSettings


def _version(number: Literal[1, 2], published: dict[str, str]) -> Method:
    engine = Part(
        "torchvision",
        "methods.frameworks.torchvision.rcnn:build",
        {"version": number},
        {"small": {"depth": 18, "mask_width": 64, "train_proposals": 1}},
        options_type=TorchvisionOptions,
        settings=TorchvisionSettings,
    )
    card = Card(
        title=f"torchvision Mask R-CNN v{number}, as in the Kaggle starter",
        paper="Mask R-CNN (He, Gkioxari, Dollár, Girshick); torchvision's implementation",
        year=2017,
        venue="ICCV",
        url="https://arxiv.org/abs/1703.06870",
        changes="engine: torchvision in place of detectron2",
        departures=(
            "The classes of the data set in place of the starter's single class.",
            "Optimiser, learning rate, budget, crops and input scale are the run's, the same for every method; the "
            "starter trained whole images for 8 epochs with SGD at 1e-3.",
            "Score threshold, minimum area and overlap removal are the harness's (the starter: 0.59 and score order).",
            "With --init imagenet, torchvision's own settings: ImageNet's statistics, three trainable stages, and in "
            "version 1 frozen batch norm. With --init coco all stages train, as the starter had it.",
            "Preset size small: ResNet-18, a 128-channel pyramid, narrower heads and half as many proposals in "
            "training, so that it trains on a CPU. From scratch it stays behind there: batch statistics of four crops, "
            "a mask loss that starts at five, and a RoIAlign whose backward pass runs on one core leave it fewer and "
            "less steady steps in the same time.",
        ),
        published=published,
    )
    name = "torchvision_starter" if number == 1 else "torchvision_starter_v2"
    return Method(name, card, {"engine": engine}, supported_slots=("init", "augment"))


METHODS = (
    _version(
        1,
        {
            "parameters (COCO weights, 91 classes)": "44,401,393",
            "COCO val2017": "box AP 37.9, mask AP 34.6",
            "Sartorius public leaderboard": "0.273 (a title claim, not re-scored)",
        },
    ),
    _version(2, {"parameters (COCO weights, 91 classes)": "46,359,409", "COCO val2017": "box AP 47.4, mask AP 41.8"}),
)
