"""Scores of the weights learned on painted cells on labelled data, without any training on them.

    python benchmarks/zero_shot.py [--images N] sartorius:DIR folder:IMAGES,LABELS ...

Every image is scored, or N evenly from all, since no label is used but, in the first row of each, those that say how
large the cells are. Where the estimate comes to the same scale, there is one row.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from harness.catalog import load_catalog
from harness.config.preset import AUTO, load_preset
from harness.contract import Sample
from harness.data.dataset import Dataset
from harness.data.fingerprint import fingerprint
from harness.data.readers.painted import CLASSES
from harness.data.sources import load
from harness.evaluation.ground_truth import GroundTruth
from harness.evaluation.schema import Scores
from harness.evaluation.scorer import score
from harness.inference.predictor import predict_all
from harness.inference.zero_shot import IMAGES, ZeroShot, zero_shot

COLUMNS = ("data", "images", "size of cells", "scale", "IoU", "F1 at 0.5", "AP50", "ms an image")


def main(sources: list[str], most: int | None) -> None:
    print(f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}", sep="\n")
    for source in sources:
        dataset = load(source, skip_bad=True)
        known = fingerprint(dataset, dataset.ids).side(50)
        models = {how: model_for(dataset, diameter) for how, diameter in (("known", known), ("estimated", None))}
        if models["known"].trial.spec.preset.scale == models["estimated"].trial.spec.preset.scale:
            models = {"known, estimated": models["known"]}
        for how, model in models.items():
            scale = model.trial.spec.preset.scale
            count, scores, milliseconds = scored(dataset, model, most or len(dataset))
            values = (f"{scores.iou_map:.3f}", f"{scores.f1_50:.3f}", f"{scores.ap50:.3f}", f"{milliseconds:.0f}")
            row = (dataset.public_source, str(count), how, f"{scale:g}", *values)
            print(f"| {' | '.join(row)} |", flush=True)


def evenly(dataset: Dataset, most: int) -> list[Sample]:
    chosen = np.unique(np.linspace(0, len(dataset) - 1, min(most, len(dataset))).round().astype(int))
    return [dataset[k] for k in chosen]


def model_for(dataset: Dataset, diameter: float | None) -> ZeroShot:
    # average precision counts low scores too
    minimum = load_preset(AUTO).evaluation.minimum_score
    images = [sample.image for sample in evenly(dataset, IMAGES)]
    found = zero_shot(images, load_catalog(), "cpu", diameter, minimum_score=minimum)
    print(found.said, file=sys.stderr, flush=True)
    return found


def scored(dataset: Dataset, found: ZeroShot, most: int) -> tuple[int, Scores, float]:
    """Number of images, their scores, and milliseconds of one (median)."""
    samples, minimum = evenly(dataset, most), found.trial.spec.preset.evaluation.minimum_score
    done = predict_all(found.model, samples, 1, "cpu", minimum)
    truths = {sample.image_id: GroundTruth.of(sample) for sample in samples}
    scores = score(done.found, truths, found.trial.rule, CLASSES, one_class=True)
    return len(samples), scores, float(np.median(done.milliseconds))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, help="of each data set; all without it")
    parser.add_argument("sources", nargs="+")
    typed = parser.parse_args()
    main(typed.sources, typed.images)
