"""Scores of the weights learned on painted cells on labelled data, without any training on them.

    python benchmarks/zero_shot.py sartorius:DIR folder:IMAGES,LABELS ...

Every image is scored, since no label is used but, in the first row of each, those that say how large the cells are.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from harness.catalog import load_catalog
from harness.data.dataset import Dataset
from harness.data.fingerprint import fingerprint
from harness.data.readers.painted import CLASSES
from harness.data.sources import load
from harness.evaluation.ground_truth import GroundTruth
from harness.evaluation.schema import Scores
from harness.evaluation.scorer import score
from harness.inference.predictor import predict_all
from harness.inference.zero_shot import IMAGES, zero_shot

COLUMNS = ("data", "images", "cells' diameter", "scale", "IoU", "F1 at 0.5", "AP50", "ms an image")


def main(sources: list[str]) -> None:
    print(f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}", sep="\n")
    for source in sources:
        dataset = load(source, skip_bad=True)
        known = fingerprint(dataset, dataset.ids).side(50)
        for diameter, how in ((known, "known"), (None, "estimated")):
            scale, scores, milliseconds = scored(dataset, diameter)
            values = (f"{scores.iou_map:.3f}", f"{scores.f1_50:.3f}", f"{scores.ap50:.3f}", f"{milliseconds:.0f}")
            row = (dataset.public_source, str(len(dataset)), f"{how}, {20 / scale:.3g}", f"{scale:g}", *values)
            print(f"| {' | '.join(row)} |", flush=True)


def scored(dataset: Dataset, diameter: float | None) -> tuple[float, Scores, float]:
    """Scale, scores of all images, and milliseconds of one (median)."""
    looked_at = np.unique(np.linspace(0, len(dataset) - 1, min(IMAGES, len(dataset))).round().astype(int))
    found = zero_shot([dataset[k].image for k in looked_at], load_catalog(), "cpu", diameter)
    print(found.said, file=sys.stderr)
    preset = found.trial.spec.preset
    begin = time.perf_counter()
    samples = (dataset[k] for k in range(len(dataset)))
    predictions, times = predict_all(found.model, samples, 1, "cpu", preset.evaluation.minimum_score)
    print(f"{len(dataset)} images, {time.perf_counter() - begin:.0f} s", file=sys.stderr)
    truths = {dataset[k].image_id: GroundTruth.of(dataset[k]) for k in range(len(dataset))}
    scores = score(predictions, truths, found.trial.rule, CLASSES, one_class=True)
    return preset.scale, scores, float(np.median(times))


if __name__ == "__main__":
    main(sys.argv[1:])
