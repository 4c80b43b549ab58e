"""What a reader of the table must know to read it."""

from __future__ import annotations

from collections.abc import Iterable

from harness.reporting.format import machine_name
from harness.reporting.leaderboard import Leaderboard

MOST = 3
"""So many different commands, data sets or machines are named; the records have all of them."""


def legend(board: Leaderboard) -> list[str]:
    """One sentence or two on each thing, then the facts of the runs; from the records alone."""
    good = [record for record in board.records if record.status == "ok"]
    lines = [
        "IoU: mean over validation images, and over seeds, of the mean precision TP/(TP+FP+FN) at the IoU thresholds "
        "0.50 to 0.95 in steps of 0.05, each cell matched at most once; 1 is best. AP, AP50: COCO mask average "
        "precision.",
        "95 % over images: bootstrap over validation images. Std over seeds: between training runs. They are different "
        "doubts, and neither includes the other.",
    ]
    if board.baseline:
        lines.append(
            f"Δ baseline: difference from {board.baseline} on the same images, with a 95 % interval over images and "
            "training runs. p: that difference arising by chance, corrected for the number of methods (Holm); blank "
            "where one seed each leaves it unknown."
        )
    lines.append("Rank: methods that cannot be told apart share one; with one seed each, none can be told apart.")
    if good:
        lines.append(
            "Post-processing, the same for all: masks by score, pixels already taken removed, small rests dropped; "
            "score threshold and smallest area for each cell type chosen on "
            f"{_some(r.rule.chosen_on for r in good if r.rule)} images."
        )
        lines.append(
            "Memory: peak on the GPU (reserved) where there is one, else of the method's own process. Times: s/it is "
            "the median step and s/it IQR the spread of the middle half of the steps, the first ones left out; data "
            "wait is the share of the training time spent waiting for images, the rest is computing; ms/image is one "
            "whole image from pixels to masks."
        )
        if measured := dict.fromkeys(row.energy_of for row in board.rows if row.energy is not None):
            lines.append(
                f"Energy: used while the training clock ran by {' or '.join(measured)}, the whole of it, whatever else "
                "ran there; what evaluation, checkpoints and the rest of the machine used is not in it."
            )
    facts = {
        "Data": (f"{r.data.source}, {r.data.images} images, {r.data.cells} cells, fingerprint {r.data.fingerprint[:12]}"
                 for r in board.records if r.data),
        "Preset and budget": (f"{r.preset}, {r.budget}" for r in board.records),
        "Command": (r.command for r in board.records),
        "Machine": (machine_name(r) for r in board.records),
    }  # fmt: skip
    lines += [f"{name}: {said}" for name, values in facts.items() if (said := _some(values))]
    finished = max((record.finished for record in board.records), default="")
    return [*lines, f"Finished: {finished}"] if finished else lines


def _some(values: Iterable[str]) -> str:
    distinct = [value for value in dict.fromkeys(values) if value]
    more = f" and {len(distinct) - MOST} more" if len(distinct) > MOST else ""
    return "; ".join(distinct[:MOST]) + more
