"""Geometric augmentation: elastic deformation, perspective or grid distortion on top of the baseline's flips."""

from __future__ import annotations

from pydantic import Field, model_validator

from harness.contract import Card, Method, Part
from harness.options import Options, recorded_if_set


class GeometricOptions(Options):
    """Options of the augmentation: the probability of each warp, then how strong it is."""

    elastic: float = Field(0.25, ge=0, le=1, description="probability of an elastic deformation")
    perspective: float = Field(0.25, ge=0, le=1, description="probability of a perspective")
    grid_distortion: float = Field(0.25, ge=0, le=1, description="probability of a grid distortion")
    elastic_strength: float = Field(
        0.1, ge=0, le=0.15, description="standard deviation of a node's displacement over the spacing of nodes"
    )
    perspective_strength: float = Field(
        0.1, ge=0, le=0.2, description="largest displacement of a corner as a fraction of each side"
    )
    grid_strength: float = Field(0.3, ge=0, le=0.5, description="rows and columns are scaled by up to 1 - and 1 + this")
    elastic_spacing: int = recorded_if_set(32, ge=2, description="between nodes, in pixels")
    grid_steps: int = recorded_if_set(5, ge=1, description="rows and columns of the grid")
    hflip: float = recorded_if_set(0.5, ge=0, le=1, description="probability of mirroring left to right")
    vflip: float = recorded_if_set(0.5, ge=0, le=1, description="probability of mirroring top to bottom")

    @model_validator(mode="after")
    def _check_probabilities(self) -> GeometricOptions:
        total = self.elastic + self.perspective + self.grid_distortion
        if total > 1 + 1e-9:
            raise ValueError(f"elastic, perspective and grid_distortion add up to {total:g}; 1 is the most")
        return self


METHOD = Method(
    "geometric",
    Card(
        title="Elastic deformation, perspective, grid distortion",
        paper="Best Practices for Convolutional Neural Networks Applied to Visual Document Analysis (Simard et al.), "
        "where elastic deformation was proposed",
        year=2003,
        venue="ICDAR",
        also_reads="full masks, to move",
        changes="augment: window and flips as the baseline, then at most one of three ways to bend image and masks",
        labels="full masks",
        departures=(
            "Elastic displacements are drawn on a coarse grid and interpolated bicubically, as U-Net did (MICCAI "
            "2015), in place of smoothed noise: quicker, and bounded so that no cell is torn.",
            "Each warp has a chance of 1 in 4; a quarter of the crops stay unbent, as whole images are when predicted.",
            "Preset size small: weaker warps, since its crops hold few cells and its budget is short.",
        ),
    ),
    {
        "augment": Part(
            "geometric",
            "methods.geometric.transform:build",
            sizes={"small": {"elastic_strength": 0.08, "perspective_strength": 0.05, "grid_strength": 0.2}},
            options_type=GeometricOptions,
        )
    },
)
