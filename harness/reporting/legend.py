"""What a reader of the table must know to read it."""

from __future__ import annotations

from collections.abc import Iterable

from harness.reporting.columns import SAME
from harness.reporting.format import machine_name
from harness.reporting.leaderboard import Leaderboard

MAX_REASONS = 3
"""Most commands, data sets or machines that are listed. The records have all of them."""


def legend(board: Leaderboard) -> list[str]:
    """One sentence or two on each thing, then the facts of the runs; from the records alone."""
    good = [record for record in board.records if record.status == "ok"]
    lines = [
        "IoU: mean over validation images, and over seeds, of the mean precision TP/(TP+FP+FN) at the IoU thresholds "
        "0.50 to 0.95 in steps of 0.05, each cell matched at most once; 1 is best. F1: at an IoU above 0.5, over all "
        "images. Count error: mean over images of |predicted - annotated| / annotated cells. AP, AP50: COCO mask "
        "average precision.",
        "95 % over images: bootstrap over validation images, within cell types. Std over seeds: between training runs. "
        "They are different doubts, and neither includes the other.",
        *_comparisons(board),
    ]
    if any(row.quality.livecell for row in board.rows):
        lines.append(
            "LIVECell: the protocol of LIVECell's benchmark, before any rule: all cells as one class, at most 2,000 "
            "detections an image; APs, APm, APl: areas up to 324, from 324 to 961 and from 961 pixels; AFNR: the part "
            "of the cells that is not found, a mean over IoU thresholds, lower is better."
        )
    if good:
        lines += _how_measured(board)
    facts = {
        "Data": (f"{r.data.source}, {r.data.images} images, {r.data.cells} cells, fingerprint {r.data.fingerprint[:12]}"
                 for r in board.records if r.data),
        "Preset and budget": (f"{r.preset}, {r.budget}" for r in board.records if not r.outside),
        "Command": (r.command for r in board.records),
        "Machine": (machine_name(r) for r in board.records if not r.outside),
    }  # fmt: skip
    lines += [f"{name}: {said}" for name, values in facts.items() if (said := _some(values))]
    finished = max((record.finished for record in board.records), default="")
    return [*lines, f"Finished: {finished}"] if finished else lines


def _comparisons(board: Leaderboard) -> list[str]:
    """How methods were compared, as far as this table compares any."""
    if len(board.ranked) < 2:
        return []
    lines = []
    if board.baseline:
        lines.append(
            f"vs baseline: {SAME} cannot be told from {board.baseline}; worse or better: of the method. network worse, "
            "network better: of this trained network on other images like these; with one seed nothing is known of "
            "other training runs. Δ baseline: the difference on the same images with its 95 % interval, p its "
            "probability by chance alone; both corrected for the number of methods."
        )
    lines += [
        "vs best: the same against the method with the highest IoU, corrected for all pairs.",
        "worth it: cannot be told from the best, and none of the others that cannot costs less in s/it, memory and "
        "ms/image together. Bold: best and told apart, costs by more than 2 %.",
    ]
    return lines


def _how_measured(board: Leaderboard) -> list[str]:
    with_rule = (r for r in board.records if r.status == "ok" and not (r.outside and not r.outside.scored))
    found = ([r.rule] if r.rule else [fold.rule for fold in r.folds] for r in with_rule)
    names = (rule.chosen_on for rules in found for rule in rules)
    chosen_on = _some(name if "folds" in name else f"{name} images" for name in names)
    lines = [
        "Post-processing, the same for all: masks by score, pixels already taken removed, small rests dropped; "
        f"score threshold and smallest area for each cell type chosen on {chosen_on}.",
        "Steps: training steps done in the budget. Memory: peak on the GPU (reserved) where there is one, else of the "
        "method's own process. Times: s/it is the median step and s/it IQR the spread of the middle half of the steps, "
        "the first ones left out; data wait is the share of the training time spent waiting for images; ms/image is "
        "one whole image from pixels to masks; with pretraining s adds to train s what the weights that a row started "
        "from were trained for, where that is known.",
    ]
    if any(row.cost.labelling_hours is not None for row in board.rows):
        lines.append(
            "Labelling h: hours to label the cells of the training images, at 79.2 s an outline, 7 s a box and 0.9 s a "
            "point (Cheng et al. 2022); calibration images and what initial weights were trained on are not in it."
        )
    if measured := dict.fromkeys(row.cost.energy_of for row in board.rows if row.cost.energy is not None):
        lines.append(
            f"Energy: used while the training clock ran by {' or '.join(measured)}, the whole of it, whatever else "
            "ran there; what evaluation, checkpoints and the rest of the machine used is not in it."
        )
    return lines


def _some(values: Iterable[str]) -> str:
    distinct = [value for value in dict.fromkeys(values) if value]
    more = f" and {len(distinct) - MAX_REASONS} more" if len(distinct) > MAX_REASONS else ""
    return "; ".join(distinct[:MAX_REASONS]) + more
