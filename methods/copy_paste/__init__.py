"""Simple Copy-Paste: cells of another training image are pasted over this one, after scale jitter."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from harness.contract import Card, Method, Part
from harness.options import Options, recorded_if_set


class CopyPasteOptions(Options):
    """Options of the augmentation: first those of the paste, then those of the crops that it reads."""

    blend: bool = Field(True, description="mix the images through a smoothed alpha")
    sigma: float = Field(1.0, ge=0.1, le=100, description="of that smoothing, in pixels")
    pct_objects_paste: float = Field(0.5, ge=0, le=1, description="fraction of the other image's cells to paste")
    p: float = Field(1.0, ge=0, le=1, description="probability that anything is pasted on an image")
    max_paste_objects: int | None = Field(None, ge=0, description="most cells to paste on an image")
    min_scale: float = Field(0.5, ge=0.01, le=100, description="smallest factor of the scale jitter")
    max_scale: float = Field(2.0, ge=0.01, le=100, description="largest factor of the scale jitter")
    max_cells: int | None = recorded_if_set(
        None, ge=0, description="nothing is pasted beyond so many cells on an image"
    )
    count: Literal["fraction", "uniform"] = recorded_if_set(
        "fraction", description="paste exactly the fraction, or a random number from none up to it"
    )
    within_type: bool = recorded_if_set(True, description="paste from an image of the same cell type, if there is one")
    match_grey: bool = recorded_if_set(False, description="give the other image the mean brightness of this one first")
    occlusion: Literal["relative", "absolute"] = recorded_if_set(
        "relative", description="rule for covered cells: min_visible, or the pixels of the authors' code"
    )
    min_visible: float = recorded_if_set(
        0.2, ge=0, le=1, description="a covered cell leaves below this fraction of its area"
    )
    fit: bool = recorded_if_set(False, description="factor 1 fits the whole image into the crop")
    hflip: float = recorded_if_set(0.5, ge=0, le=1, description="probability of mirroring left to right")
    vflip: float = recorded_if_set(0.5, ge=0, le=1, description="probability of mirroring top to bottom")

    @model_validator(mode="after")
    def _check_scales(self) -> CopyPasteOptions:
        if self.min_scale > self.max_scale:
            raise ValueError(f"min_scale={self.min_scale:g} must be at most max_scale={self.max_scale:g}")
        return self


METHOD = Method(
    "copy_paste",
    Card(
        title="Simple Copy-Paste",
        paper="Simple Copy-Paste is a Strong Data Augmentation Method for Instance Segmentation (Ghiasi et al.)",
        year=2021,
        venue="CVPR",
        url="https://arxiv.org/abs/2012.07177",
        changes="augment: scale jitter and crop, flips, then half the cells of another image pasted over this one",
        labels="full masks",
        also_reads="full masks, to paste",
        departures=(
            "Scale jitter 0.5 to 2 in place of 0.1 to 2: at 0.1 a cell 10 pixels wide is one pixel. Factor 1 is the "
            "image as recorded, not fitted to the crop (fit=True does that), so that cells keep the size they have "
            "when whole images are predicted.",
            "Preset size small: jitter 0.8 to 1.25, the paper's standard jitter: a short budget learns few sizes.",
            "Pasted cells come from an image of the same cell type where there is one (within_type=False: from any).",
            "A covered cell leaves when less than a fifth of it can be seen. The authors' rule is in pixels (300, "
            "a whole small cell); occlusion='absolute' is that rule, cell by cell.",
            "How many are pasted: int(N * pct_objects_paste), as in the public PyTorch code; the authors' released "
            "code draws a number from 0 to N (count='uniform', pct_objects_paste=1).",
            "Flips go both ways up: cells on a dish have no upright.",
            "Where images are blended, a pixel is rounded to the nearest whole number; the public PyTorch code cuts "
            "the fraction off, so that its pixels are half a grey level darker on average.",
        ),
        published={
            "COCO val2017, R50, 1024 px, from scratch": "box AP 48.3, mask AP 42.4",
            "gain on COCO": "+1.5 box AP, +0.6 mask AP over the best before",
            "gain on LVIS, rare classes": "+3.6 AP",
        },
    ),
    {
        "augment": Part(
            "copy_paste",
            "methods.copy_paste.transform:build",
            sizes={"small": {"min_scale": 0.8, "max_scale": 1.25}},
            options_type=CopyPasteOptions,
        )
    },
)
