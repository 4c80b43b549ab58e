"""Otsu's threshold, a distance transform and a watershed: the floor that every trained method has to beat."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.contract import Card, Method, Part
from harness.options import Options


class OtsuWatershedOptions(Options):
    """Options of the segmentation."""

    foreground: Literal["auto", "bright", "dark", "textured"] = Field(
        "auto",
        description="what cells are against the background; textured: a larger local standard deviation, as in phase "
        "contrast; auto: what agrees best with the masks of the training images",
    )
    smoothing: float = Field(0.05, ge=0, description="sigma of the Gaussian, as a fraction of the cells' diameter")
    window: float = Field(0.25, gt=0, description="side of the local window, as a fraction of the cells' diameter")
    separation: float = Field(
        0.6, gt=0, description="smallest distance of two cells' middles, as a fraction of the cells' diameter"
    )


METHOD = Method(
    name="otsu_watershed",
    card=Card(
        title="Otsu's threshold and a watershed of the distance transform",
        paper="A Threshold Selection Method from Gray-Level Histograms (Otsu); "
        "Watersheds in Digital Spaces (Vincent, Soille)",
        year=1979,
        venue="IEEE Trans. Systems, Man, and Cybernetics",
        url="https://doi.org/10.1109/TSMC.1979.4310076",
        changes="engine: no network and no training; threshold, distance transform, watershed",
        labels="full masks, to choose a foreground",
        departures=(
            "Otsu chose a threshold for grey levels. Here it may be one for the local standard deviation too, since "
            "phase contrast images have cells as dark and as bright as the background.",
            "Seeds of the watershed are the maxima of the distance transform within a part of the cells' median "
            "diameter, which is known of the training images.",
            "A cell's score is how far its mean lies above the threshold, compared with all of the foreground; Otsu's "
            "method has no score.",
            "Cells do not overlap. All have the class that is the most frequent one in training.",
        ),
    ),
    parts={
        "engine": Part("otsu_watershed", "methods.otsu_watershed.segmentation:build", options_type=OtsuWatershedOptions)
    },
    supported_slots=(),
)
