"""Which cells anchors and proposals reach, by the size of the cell: a figure of trained runs.

    python benchmarks/recall_by_size.py --out recall.png RUN_DIR ...

Each folder holds a trained `mask_rcnn`. Runs on the same data share a panel. A cell of a validation image is reached by
an anchor of IoU 0.5 (what the preset can reach, wherever the cell lies), and by a proposal of IoU 0.5 (what the network
has learned to reach with the number of proposals that it keeps). Cells are divided into groups of equal number by size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from harness.catalog import load_catalog
from harness.config.anchors import RATIOS, anchor_recall
from harness.config.preset import Preset
from harness.contract import Sample
from harness.fileio import make_folder
from harness.inference.trained_model import load_trained
from harness.orchestration.prepared_data import load_data
from harness.results.io import read_record
from harness.results.trained_trial import TrainedTrial, find_trained_trial
from harness.transforms.resize import scaled_size
from harness.transforms.window import resize
from methods.frameworks.detectron2.rcnn import Detectron2Model

GROUPS = 6
"""Groups of cells by size."""


@dataclass(frozen=True)
class Reached:
    """sides: median size of the cells of each group, in pixels of the images. anchors, proposals: shares reached."""

    preset: str
    sides: list[float]
    anchors: list[float]
    proposals: list[float]


@click.command()
@click.argument("run_dirs", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The figure, as PNG or SVG.")
def main(run_dirs: Sequence[Path], out: Path) -> None:
    panels: dict[str, list[Reached]] = {}
    for run_dir in run_dirs:
        trial = find_trained_trial(run_dir, "mask_rcnn")
        record = read_record(trial.folder / "record.json")
        assert record.data is not None
        found = reached(trial, record.data.splits["validation"])
        panels.setdefault(record.data.source, []).append(found)
        print(f"{record.data.source} {found.preset}: {found}", flush=True)
    draw(panels, out)


def reached(trial: TrainedTrial, image_ids: Sequence[str]) -> Reached:
    spec, preset = trial.spec, trial.spec.preset
    dataset = load_data(spec.source, spec.skip_bad, spec.split)
    built, _ = load_trained(trial, load_catalog(), "cpu")
    model = getattr(built, "model", built)
    assert isinstance(model, Detectron2Model)
    model.module.eval()
    boxes, shown, hit = [], [], []
    for image_id in image_ids:
        sample = dataset.sample(image_id)
        scale = preset.scale_by_size.get(sample.size, preset.scale)
        of_image = sample.instances.boxes.astype(np.float64)
        boxes.append(of_image[:, 2:] - of_image[:, :2])
        shown.append(boxes[-1] * scale)
        hit.append(has_proposal(model, sample, scale))
    sizes, network = np.concatenate(boxes), np.concatenate(shown)
    sides, found = np.sqrt(sizes.prod(axis=1)), np.concatenate(hit)
    groups = np.array_split(np.argsort(sides), GROUPS)
    return Reached(
        preset.name,
        [float(np.median(sides[group])) for group in groups],
        [anchors_reach(preset, network[group]) for group in groups],
        [float(found[group].mean()) for group in groups],
    )


def anchors_reach(preset: Preset, boxes: NDArray[np.float64]) -> float:
    """Share of (N, 2) widths and heights, in pixels of the network."""
    return anchor_recall(boxes, preset.model["anchor_scale"], tuple(preset.model.get("anchor_ratios", RATIOS[0])))


def has_proposal(model: Detectron2Model, sample: Sample, scale: float) -> NDArray[np.bool_]:
    """(N,) whether each cell of an image has a proposal of IoU 0.5."""
    import torch
    from detectron2.structures import Boxes, pairwise_iou

    shown = resize(sample.image, *scaled_size(sample.size, scale))
    model.set_caps([(shown.shape[0], shown.shape[1])])
    with torch.no_grad():
        images = model.module.preprocess([shown])
        found = model.module.proposal_generator(images, model.module.backbone(images.tensor))[0][0].proposal_boxes
    there = Boxes(torch.from_numpy(sample.instances.boxes.astype(np.float32)) * scale)
    overlaps = pairwise_iou(there, found)
    return (overlaps.amax(dim=1) >= 0.5).numpy() if overlaps.numel() else np.zeros(len(there), np.bool_)


def draw(panels: dict[str, list[Reached]], out: Path) -> None:
    """A panel for each data set; a colour for each preset."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(panels), figsize=(3 * len(panels), 3.2), layout="constrained", squeeze=False)
    colours: dict[str, str] = {}
    for panel, (source, several) in zip(axes[0], panels.items(), strict=True):
        for one in several:
            colour = colours.setdefault(one.preset, f"C{len(colours)}")
            panel.plot(one.sides, one.anchors, "--", color=colour, label=f"{one.preset}: anchors")
            panel.plot(one.sides, one.proposals, "o-", color=colour, markersize=3, label=f"{one.preset}: proposals")
        panel.set(title=source.partition(",")[0], xlabel="size of the cell, pixels", xscale="log", ylim=(0, 1.03))
        panel.title.set_fontsize(8)
        sides = sorted(side for one in several for side in one.sides)
        marked = [sides[0], sides[len(sides) // 2], sides[-1]]
        panel.set_xticks(marked, [f"{side:.0f}" for side in marked])
        panel.minorticks_off()
    axes[0, 0].set_ylabel("share of the cells reached")
    axes[0, 0].legend(fontsize=7, loc="lower right")
    make_folder(out.parent)
    figure.savefig(out, dpi=90, metadata={"Software": None} if out.suffix == ".png" else None)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
