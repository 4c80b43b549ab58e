"""What Copy-Paste does to the labels of a data set: counted, not trained.

    python benchmarks/copy_paste_effects.py sartorius:DIR --crop 128 --crop 512

Prints a Markdown table: for each way of pasting, cells in a training crop before and after, how many of the cells that
were there are covered, cut down or deleted, and how many boxes end up so close to another that non-maximum suppression
at an IoU of 0.5 would take the two for one. Means over the same random windows for every row; flips change nothing here
and are left out.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from harness.contract import Sample
from harness.data.dataset import Dataset
from harness.data.sources import load
from harness.transforms.instances import require_masks
from harness.transforms.window import RandomWindow
from methods.copy_paste import CopyPasteOptions
from methods.copy_paste.transform import Paste, fit_to, union_mask

WAYS: dict[str, dict[str, Any]] = {
    "none": {"p": 0.0},
    "as it comes": {},
    "the authors' occlusion rule": {"occlusion": "absolute"},
    "across cell types": {"within_type": False},
    "at most 3 cells": {"max_paste_objects": 3},
}


@dataclass
class Partners:
    """Other windows of the data set, of one type where asked for."""

    dataset: Dataset
    window: RandomWindow

    def draw(self, rng: np.random.Generator, cell_type: str | None = None) -> Sample:
        types = self.dataset.cell_types
        among = [i for i, name in enumerate(types) if cell_type is None or name == cell_type]
        return self.window(self.dataset[among[int(rng.integers(len(among)))]], rng, self)


def effects(sample: Sample, other: Sample, paste: Paste, rng: np.random.Generator) -> dict[str, float]:
    """Counts of one window and what is pasted on it."""
    _, cells = fit_to(other, sample)
    pasted = cells.select(paste.choose(cells, len(sample.instances), rng) if paste.options.p else [])
    before = sample.instances
    alpha = union_mask(require_masks(pasted), sample.size) if len(pasted) else np.zeros(sample.size, np.uint8)
    index, owner = require_masks(before).set_pixels(sample.size[1])
    hidden = np.bincount(owner[alpha.ravel()[index] != 0], minlength=len(before))
    left = paste.visible_instances(before, alpha)
    boxes = np.concatenate([left.boxes, pasted.boxes])
    return {
        "before": len(before),
        "after": len(boxes),
        "covered": float(np.count_nonzero(hidden)),
        "gone": len(before) - len(left),
        "cut": float(hidden.sum()),
        "area": float(len(index)),
        "close": close_boxes(boxes.astype(np.float64)),
    }


def close_boxes(boxes: NDArray[np.float64], limit: float = 0.5) -> float:
    """How many of (N, 4) boxes have another with an IoU above the limit."""
    if len(boxes) < 2:
        return 0.0
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    iou = shared / (area[:, None] + area[None] - shared)
    np.fill_diagonal(iou, 0)
    return float(np.count_nonzero((iou > limit).any(axis=1)))


def row_of(dataset: Dataset, crop: int, options: dict[str, Any], samples: int) -> dict[str, float]:
    window, paste = RandomWindow(crop), Paste(CopyPasteOptions(**options))
    partners = Partners(dataset, window)
    sums: dict[str, float] = {}
    spent = 0.0
    for k in range(samples):
        rng = np.random.default_rng([k, 0])
        sample = window(dataset[k % len(dataset)], rng, partners)
        rng = np.random.default_rng([k, 1])
        other = partners.draw(rng, sample.cell_type if paste.options.within_type else None)
        for name, value in effects(sample, other, paste, rng).items():
            sums[name] = sums.get(name, 0.0) + value
        begin = time.perf_counter()
        paste(sample, np.random.default_rng([k, 2]), partners)
        spent += time.perf_counter() - begin
    return {**{name: value / samples for name, value in sums.items()}, "ms": 1000 * spent / samples}


@click.command()
@click.argument("source")
@click.option("--crop", "crops", type=int, multiple=True, default=(128,))
@click.option("--samples", type=int, default=600)
def main(source: str, crops: tuple[int, ...], samples: int) -> None:
    """Count what Copy-Paste does to the labels of SOURCE."""
    dataset = load(source)
    lines = []
    for crop in crops:
        for name, options in WAYS.items():
            r = row_of(dataset, crop, options, samples)
            lines.append(
                [
                    crop,
                    name,
                    f"{r['before']:.1f}",
                    f"{r['after']:.1f}",
                    f"{100 * r['covered'] / r['before']:.1f} %",
                    f"{100 * r['cut'] / r['area']:.1f} %",
                    f"{100 * r['gone'] / r['before']:.1f} %",
                    f"{100 * r['gone'] / max(r['covered'], 1e-9):.0f} %",
                    f"{100 * r['close'] / max(r['after'], 1e-9):.1f} %",
                    f"{r['ms']:.2f}",
                ]
            )
    headers = ["crop", "pasting", "cells before", "after", "touched", "area covered", "deleted", "of those touched"]
    click.echo(tabulate(lines, [*headers, "boxes with a close neighbour", "ms a crop"], "github"))


if __name__ == "__main__":
    main()
