"""StarDist: a star-convex polygon at every place of the image, in torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.contract import Card, Method, Part
from harness.options import Options, recorded_if_set


class StarDistOptions(Options):
    """Options of the engine."""

    rays: int = Field(32, ge=3, description="distances of a polygon, at equal angles")
    grid: Literal[1, 2, 4] = Field(2, description="one polygon for so many pixels along each axis")
    width: int = Field(32, ge=1, description="channels of the finest stage; each coarser one has twice")
    features: int = Field(128, ge=1, description="channels of the convolution after the U-Net")
    norm: Literal["GN"] | None = recorded_if_set(None, description="norm after each convolution; none: as published")
    nms_threshold: float = Field(
        0.4, ge=0, le=1, description="overlap, over the smaller area, above which the polygon of lower score is dropped"
    )


METHOD = Method(
    name="stardist",
    card=Card(
        title="StarDist, 2D",
        paper="Cell Detection with Star-convex Polygons (Schmidt, Weigert, Broaddus, Myers)",
        year=2018,
        venue="MICCAI",
        url="https://arxiv.org/abs/1806.03535",
        changes="engine: a U-Net that predicts, at every place, whether it is in the middle of a cell and how far the "
        "border is along 32 rays; polygons are thinned by non-maximum suppression",
        departures=(
            "A network, targets and suppression of our own in torch and numpy, since the package stardist trains in "
            "TensorFlow. Targets equal the package's; suppression keeps the same polygons but for rounding.",
            "A cell is star-convex: what a ray cannot reach from inside is lost. Long and branched cells have an upper "
            "bound on their IoU that no training lifts.",
            "Rays are read from a label map: where masks overlap, the smaller cell keeps the pixels. Predicted "
            "polygons may overlap. Regions of many cells are background here.",
            "Grey images, normalised by the training images' mean and deviation; the package's examples stretch each "
            "image between percentiles.",
            "Candidates at the border of the image are kept; the package drops those within two places of it.",
            "The probability threshold is the run's rule; the package fits one on its validation images.",
            "Preset size small: 16 channels, 64 after the U-Net, and group norm, with which it learns faster: IoU 0.09 "
            "in place of 0.04 after 200 steps on the synthetic cells (one seed).",
        ),
        published={
            "parameters (32 rays, grid 2, 1 channel)": "1,425,185",
        },
    ),
    parts={
        "engine": Part(
            "stardist",
            "methods.stardist.engine:build",
            sizes={"small": {"width": 16, "features": 64, "norm": "GN"}},
            options_type=StarDistOptions,
        )
    },
    supported_slots=("init", "augment"),
)
