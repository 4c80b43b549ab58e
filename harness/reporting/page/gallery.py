"""Validation images with what each method made of them: outlines of what is right, missed and false."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import HarnessError
from harness.reporting.curves import trial_folders
from harness.reporting.leaderboard import Leaderboard
from harness.reporting.page.outlines import Outline, image_data_uri, outlines, pack
from harness.reporting.row import Row
from harness.results.folds import rule_of
from harness.results.schema import RunRecord

if TYPE_CHECKING:
    from harness.contract import Predictions, Sample
    from harness.data.dataset import Dataset
    from harness.evaluation.ground_truth import GroundTruth

_FileOfImage = Mapping[str, Mapping[str, "Predictions"]]
"""Image id to the stored predictions that hold it: one file, or one of each fold."""

PICTURES_PER_KIND = 2
"""Number of images of each kind: worst, median, best."""

MAX_PIXELS = 1024
"""Pixels of an image's longer side in the page; a larger one is made smaller."""


@dataclass(frozen=True)
class Panel:
    """One method on one image. right, false: outlines of its masks; missed: of annotated cells; packed (outlines.py).

    counts: right, missed, false. iou: the image's IoU in the record of that seed.
    """

    method: str
    iou: float | None
    counts: tuple[int, int, int]
    right: str
    missed: str
    false: str


@dataclass(frozen=True)
class Picture:
    """One image. why: "worst", "median" or "best". score: by which it was chosen. uri: see outlines.image_data_uri.

    width, height: as they are in the page. cells: number of annotated ones; truth: their outlines, packed.
    """

    image_id: str
    why: str
    score: float
    cell_type: str
    width: int
    height: int
    uri: str
    cells: int
    truth: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Gallery:
    """chosen_by: whose score chose the images. notes: what is not in it, and why."""

    pictures: tuple[Picture, ...]
    chosen_by: str
    notes: tuple[str, ...] = ()

    @property
    def opens_on(self) -> int:
        """Index of the picture that is shown first: the median one."""
        middle = [i for i, picture in enumerate(self.pictures) if picture.why == "median"]
        return middle[len(middle) // 2] if middle else 0


def gallery(board: Leaderboard, run_dir: Path) -> Gallery:
    """The gallery of a run's ranked rows, of each the first seed that has predictions.

    Raises HarnessError, saying in one line why there can be none: no stored predictions, or no data, or other data.
    """
    from harness.evaluation.prediction_file import PREDICTIONS, read_predictions

    found: dict[str, tuple[RunRecord, list[Path]]] = {}
    notes = []
    for row in board.rows:
        if not row.ranked:
            continue
        kept = ((r, trial_folders(run_dir, r)) for r in row.good_records if r.scores and (r.rule or r.folds))
        there = [
            (r, found_in) for r, found_in in kept if found_in and all((f / PREDICTIONS).is_file() for f in found_in)
        ]
        if there:
            found[row.method] = there[0]
        else:
            notes.append(f"{row.method} is not in the gallery: its predictions are not stored here.")
    if not found:
        raise HarnessError(f"{run_dir} holds no stored predictions, only records")
    record, folders = next(iter(found.values()))
    dataset = _dataset(record, folders[0])
    chosen_by, images = choose([row for row in board.rows if row.ranked])
    stored: dict[str, tuple[RunRecord, _FileOfImage]] = {}
    for method, (record, folders) in found.items():
        try:
            parts = [read_predictions(folder / PREDICTIONS).splits["validation"] for folder in folders]
            stored[method] = (record, {image_id: part for part in parts for image_id in part})
        except (HarnessError, KeyError) as error:
            notes.append(f"{method} is not in the gallery: {error}")
    pictures = [_picture(dataset.sample(i), why, score, stored) for why, i, score in images]
    return Gallery(tuple(pictures), chosen_by, tuple(notes))


def choose(rows: Sequence[Row], of_each: int = PICTURES_PER_KIND) -> tuple[str, list[tuple[str, str, float]]]:
    """By whose score, and (why, image id, score) from the worst to the best; all images where there are few.

    The score is the baseline's, or the mean of all methods where it is not there; a mean over seeds.
    """
    baseline = [row for row in rows if row.is_baseline]
    judges = baseline or rows
    records = [r.scores.by_image for row in judges for r in row.good_records if r.scores]
    ids = set.intersection(*(set(one) for one in records)) if records else set()
    mean = {i: float(np.mean([one[i] for one in records])) for i in ids}
    order = sorted(mean, key=lambda i: (mean[i], i))
    n, k = len(order), of_each
    if n < 3 * k:
        thirds = ("worst", "median", "best")
        picked = [(thirds[min(2, 3 * at // n)], i) for at, i in enumerate(order)]
    else:
        middle = (n - k) // 2
        slices = (("worst", order[:k]), ("median", order[middle : middle + k]), ("best", order[-k:]))
        picked = [(why, i) for why, some in slices for i in some]
    name = baseline[0].method if baseline else "the mean of all methods"
    return name, [(why, i, mean[i]) for why, i in picked]


def _dataset(record: RunRecord, folder: Path) -> Dataset:
    from harness.orchestration.prepared_data import load_data
    from harness.results.io import read_trial_spec

    spec = read_trial_spec(folder)
    dataset = load_data(spec.source, spec.skip_bad, spec.split)
    if record.data is None or dataset.fingerprint != record.data.fingerprint:
        raise HarnessError(f"{dataset.public_source} is no longer what it was when the run was made")
    return dataset


def _picture(
    sample: Sample,
    why: str,
    score: float,
    stored: Mapping[str, tuple[RunRecord, Mapping[str, Mapping[str, Predictions]]]],
) -> Picture:
    from harness.evaluation.ground_truth import GroundTruth

    truth = GroundTruth.of(sample)
    scale = min(1.0, MAX_PIXELS / max(sample.size))
    cells = outlines(truth.cells, scale)
    width, height, uri = image_data_uri(sample.image, scale)
    panels = [
        _panel(sample.image_id, method, record, predictions[sample.image_id][sample.image_id], truth, cells, scale)
        for method, (record, predictions) in stored.items()
        if sample.image_id in predictions
    ]
    return Picture(
        sample.image_id, why, score, sample.cell_type or "", width, height, uri, len(cells), pack(cells), tuple(panels)
    )


def _panel(
    image_id: str,
    method: str,
    record: RunRecord,
    predictions: Predictions,
    truth: GroundTruth,
    cells: Sequence[Outline],
    scale: float,
) -> Panel:
    from harness.evaluation.calibration import apply_rule
    from harness.evaluation.matching import match
    from harness.evaluation.overlap import make_disjoint

    assert record.data is not None
    rule = rule_of(record, image_id)
    assert rule is not None
    assert record.scores is not None
    shown = apply_rule(predictions, rule, record.data.classes)
    # disjoint and in order of score already, so that flattening keeps their order
    matched = match(make_disjoint(shown), truth.pixels())
    right = matched.partner >= 0
    false = ~right & ~matched.ignored
    missed = np.ones(len(cells), np.bool_)
    missed[matched.partner[right]] = False
    found = outlines(shown.masks, scale)
    return Panel(
        method,
        record.scores.by_image.get(image_id),
        (int(right.sum()), int(missed.sum()), int(false.sum())),
        pack([found[i] for i in np.flatnonzero(right).tolist()]),
        pack([cells[i] for i in np.flatnonzero(missed).tolist()]),
        pack([found[i] for i in np.flatnonzero(false).tolist()]),
    )
