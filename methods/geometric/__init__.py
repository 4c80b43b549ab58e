"""Geometric augmentation: elastic deformation, perspective or grid distortion on top of the baseline's flips."""

from __future__ import annotations

from harness.contract import Card, Method, Part

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
            {
                "elastic": 0.25,
                "perspective": 0.25,
                "grid_distortion": 0.25,
                "elastic_strength": 0.1,
                "perspective_strength": 0.1,
                "grid_strength": 0.3,
            },
            {"small": {"elastic_strength": 0.08, "perspective_strength": 0.05, "grid_strength": 0.2}},
        )
    },
)
