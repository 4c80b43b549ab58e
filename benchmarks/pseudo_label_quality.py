"""How right the pseudo-labels of a teacher are, on images whose labels `--labels` has hidden from it.

    python benchmarks/pseudo_label_quality.py [--images N] RUN_DIR ...

Each folder holds a trained `mask_rcnn` of a run with `--labels`: a teacher. Its pseudo-labels are made as
`self_training` makes them with its defaults, and held against the hidden labels at an IoU of 0.5. *precision* is the
share of pseudo-labelled cells that are cells, *recall* the share of cells that have a pseudo-label, *ignored* the share
of cells that lie in regions to be ignored, and *IoU* the mean over the right ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from harness.catalog import load_catalog
from harness.contract import Instances
from harness.inference.trained_model import load_trained
from harness.orchestration.prepared_data import load_data
from harness.results.io import read_record
from harness.results.trained_trial import find_trained_trial
from harness.training.device import autocast
from methods.self_training import SelfTrainingOptions
from methods.self_training.pseudo_labels import SAME_OBJECT, mask_iou, matched_counts, predict_with_flips

COLUMNS = ("run", "images", "cells", "pseudo-labels", "precision", "recall", "ignored", "IoU")


@dataclass
class Counts:
    """cells: annotated. made: pseudo-labels. right, ignored: cells with a pseudo-label, and in an ignored region."""

    cells: int = 0
    made: int = 0
    right: int = 0
    ignored: int = 0
    iou: float = 0.0

    def add(self, pseudo: Instances | None, truth: Instances, size: tuple[int, int]) -> None:
        truth = truth if truth.crowd is None else truth.select(~truth.crowd)
        self.cells += len(truth)
        if pseudo is None or not len(truth):
            self.made += 0 if pseudo is None else len(pseudo) - crowds(pseudo)
            return
        assert pseudo.masks is not None
        assert truth.masks is not None
        assert pseudo.crowd is not None
        overlaps = mask_iou(pseudo.masks, truth.masks, size)
        kept, unsure = overlaps[~pseudo.crowd], overlaps[pseudo.crowd]
        self.made += len(kept)
        # both sides are nearly disjoint, so that above 0.5 each cell has one pseudo-label at most
        self.right += int((kept > SAME_OBJECT).any(axis=0).sum())
        self.iou += float(kept[kept > SAME_OBJECT].sum())
        self.ignored += int((unsure > SAME_OBJECT).any(axis=0).sum())


def crowds(instances: Instances) -> int:
    return 0 if instances.crowd is None else int(instances.crowd.sum())


@click.command()
@click.argument("run_dirs", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--images", default=40, show_default=True, help="Of those with hidden labels, drawn at random.")
def main(run_dirs: Sequence[Path], images: int) -> None:
    print(f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}", sep="\n")
    for run_dir in run_dirs:
        used, counts = quality(run_dir, images)
        cells = max(1, counts.cells)
        shares = (counts.right / max(1, counts.made), counts.right / cells, counts.ignored / cells)
        values = [run_dir.name, used, counts.cells, counts.made, *(f"{share:.3f}" for share in shares)]
        print(f"| {' | '.join(map(str, values))} | {counts.iou / max(1, counts.right):.3f} |", flush=True)


def quality(run_dir: Path, images: int) -> tuple[int, Counts]:
    """Number of images, and what their pseudo-labels are worth."""
    trial = find_trained_trial(run_dir, "mask_rcnn")
    record = read_record(trial.folder / "record.json")
    assert record.data is not None
    hidden = record.data.splits.get("unlabelled")
    if not hidden:
        raise click.ClickException(f"{run_dir}: no labels were hidden; run it with --labels")
    options = SelfTrainingOptions()
    dataset = load_data(trial.spec.source, trial.spec.skip_bad, trial.spec.split)
    model, task = load_trained(trial, load_catalog(), "cpu", options.minimum_score)
    model.module.eval()
    order = np.random.default_rng(record.seed).permutation(len(hidden))[:images]
    samples = [dataset.sample(hidden[k]) for k in order.tolist()]
    with autocast("cpu", trial.spec.precision):
        found = {
            k: predict_with_flips(lambda image: model.predict([image])[0], sample.image, options.flips)
            for k, sample in enumerate(samples)
        }
    labelled = [dataset.sample(image_id).instances for image_id in record.data.splits["train"]]
    labels = [x.labels if x.crowd is None else x.labels[~x.crowd] for x in labelled]
    mean = [float(np.mean([(one == label).sum() for one in labels])) for label in range(len(task.classes))]
    pseudo = matched_counts(found, mean, options.uncertain, options.minimum_score)
    counts = Counts()
    for k, sample in enumerate(samples):
        counts.add(pseudo.get(k), sample.instances, sample.size)
    return len(samples), counts


if __name__ == "__main__":
    main()
