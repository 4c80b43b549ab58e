"""Simple Copy-Paste: cells of another training image are pasted over this one, after scale jitter."""

from __future__ import annotations

from harness.contract import Card, Method, Part

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
            {
                "blend": True,
                "sigma": 1.0,
                "pct_objects_paste": 0.5,
                "p": 1.0,
                "max_paste_objects": None,
                "min_scale": 0.5,
                "max_scale": 2.0,
            },
            {"small": {"min_scale": 0.8, "max_scale": 1.25}},
        )
    },
)
