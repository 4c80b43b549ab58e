"""Implicit PointRend: the mask of a box as a function of a point, its weights written by a parameter head."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.contract import Card, Method, Part
from harness.options import Options, recorded_if_set


class ImplicitPointRendOptions(Options):
    """Options of the mask head."""

    hidden: int = Field(256, ge=1, description="channels of a point network's hidden layers")
    frequencies: int = Field(128, ge=1, description="frequencies of the positional encoding")
    code_width: int = Field(1024, ge=1, description="channels of the parameter head's layers")
    start: Literal["zero", "he"] = Field(
        "zero", description="point networks before training: near zero as in the paper, or as He et al. draw weights"
    )
    grid_side: int = Field(28, ge=1, description="points of the coarsest grid along each axis")
    steps: int = Field(3, ge=0, description="subdivisions; masks have grid_side * 2 ** steps pixels along each axis")
    crop: int = recorded_if_set(14, ge=1, description="bins of an RoI crop along each axis")
    train_points: int = recorded_if_set(196, ge=1, description="points of a box in each step, with full masks")
    regulariser: float = recorded_if_set(1e-5, ge=0, description="weight of the penalty on the point networks' weights")


METHOD = Method(
    name="implicit_pointrend",
    card=Card(
        title="Pointly-supervised instance segmentation (Implicit PointRend)",
        paper="Cheng, Parkhi, Kirillov",
        year=2022,
        venue="CVPR",
        url="https://arxiv.org/abs/2104.06404",
        changes="replaces the mask head by a parameter head that writes, for each box, the weights of a small network "
        "from a point's place and feature to its logit; masks come out at 224x224 by subdivision",
        departures=(
            "fills the mask head alone and sees full masks at 196 points a box; implicit_pointrend+pointsup is the "
            "paper's point-supervised model",
            "the paper's head holds 284 million parameters for one class; hidden, frequencies and code_width shrink it",
            "preset size small: hidden 64, 32 frequencies, code_width 256 (7.1 million parameters on 128 channels), "
            "28x28 masks in one subdivision, and point networks that start as He et al. would draw them instead of "
            "near zero, which learns faster in a short budget",
        ),
        published={
            "mask head parameters, 80 / 3 / 1 classes": "304,716,880 / 284,433,155 / 283,906,305",
            "parameters of one point network, 80 / 3 / 1 classes": "283,472 / 263,683 / 263,169",
            "whole R50-FPN model, 80 / 3 / 1 classes": "346,416,816 / 325,738,466 / 325,201,366",
        },
    ),
    parts={
        "mask_head": Part(
            "Implicit PointRend",
            "methods.implicit_pointrend.mask_head:build",
            options_type=ImplicitPointRendOptions,
            sizes={
                "small": {
                    "hidden": 64,
                    "frequencies": 32,
                    "code_width": 256,
                    "start": "he",
                    "grid_side": 14,
                    "steps": 1,
                }
            },
        )
    },
)
