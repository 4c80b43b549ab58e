"""Cellpose of the U-Net generation: flows and cell probability, trained by the harness."""

from __future__ import annotations

from pydantic import Field

from harness.contract import Card, Method, Part
from harness.options import Options, recorded_if_set


class CellposeOptions(Options):
    """Options of the engine."""

    width: int = Field(32, ge=8, multiple_of=8, description="channels of the finest stage; each coarser one has twice")
    target_diameter: float = Field(
        30.0, gt=1, description="images are resized until cells have this diameter, in pixels"
    )
    diameter: float | None = recorded_if_set(
        None, gt=1, description="of the cells, in pixels; none: the median of the training cells"
    )
    cellprob_threshold: float = Field(
        0.0, description="logit above which a pixel belongs to a cell; the cut between cells is the run's rule"
    )
    weights: str | None = recorded_if_set(
        None, description="file of cellpose weights to start from, such as cyto3; needs width=32"
    )


METHOD = Method(
    name="cellpose",
    card=Card(
        title="Cellpose",
        paper="Cellpose: a generalist algorithm for cellular segmentation (Stringer, Wang, Michaelos, Pachitariu)",
        year=2021,
        venue="Nature Methods",
        url="https://doi.org/10.1038/s41592-020-01018-x",
        changes="engine: a U-Net with a style vector that predicts flows to cell middles and cell probability; pixels "
        "that flow to one place are one cell",
        departures=(
            "Network, flow targets and mask reconstruction are those of the package cellpose, version 3. Loop, clock, "
            "optimiser, crops and augmentation are the run's.",
            "Cells that overlap cannot be expressed: where masks overlap, the smaller cell keeps the pixels.",
            "Regions of many cells are background here: the losses ignore no region.",
            "Flow targets are computed in each step for the cells of the crop, and count as training time; the package "
            "computes them before training for whole images. A cell that the crop cuts flows to the middle of what is "
            "left of it.",
            "Images are resized by one factor, from the diameter option or the training cells' median; there is no "
            "model of size, and the package's random scaling of training images is left out.",
            "Grey images only, as the package's channels [0, 0]: colour is averaged. Brightness is stretched between "
            "percentiles 1 and 99, in training of the crop.",
            "A cell's score is its mean probability over (1 + flow error); the run's rule finds the cut on it, in "
            "place of the package's flow threshold 0.4.",
            "With more than one class there is one more output for each class, and a loss for them; the package has "
            "none.",
            "Preset size small: 16 channels and cells of 17 pixels, the package's diameter for nuclei.",
        ),
        published={
            "parameters (2 input channels)": "6,600,843",
            "Sartorius public leaderboard, third place's single model": "0.333 (tuned, with more data)",
        },
    ),
    parts={
        "engine": Part(
            "cellpose",
            "methods.cellpose.engine:build",
            sizes={"small": {"width": 16, "target_diameter": 17.0}},
            options_type=CellposeOptions,
        )
    },
    supported_slots=("init", "augment"),
    needs={"cellpose": 'python -m pip install -e ".[cellpose]"'},
)
