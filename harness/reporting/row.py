"""One method in the table: what its seeds have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan
from statistics import fmean, stdev

from harness.results.schema import RunRecord
from harness.results.statistics import CellTypes, Difference, Interval, SeedScores, image_interval, seed_spread
from harness.results.superiority import Superiority


@dataclass(frozen=True)
class Quality:
    """How good a method is. Means over seeds that ended well; None where nothing is known.

    Attributes:
        iou: the Kaggle score (harness.evaluation.iou_map).
        seed_std: standard deviation of it between seeds.
        interval: 95 % over images.
        fold_std: standard deviation of it between folds, of all seeds; None without folds.
        beats_baseline: the probability that a retraining of this method beats one of the baseline.
        vs_baseline, vs_best: this method minus the baseline, and minus the method with the highest IoU.
        by_type: cell type to IoU.
        f1_50: F1 at an IoU above 0.5. count_error: mean relative error of the number of cells in an image.
        total_loss: at the end of training.
        livecell: scores of LIVECell's protocol by name, where they were asked for.
    """

    iou: float | None = None
    seed_std: float | None = None
    fold_std: float | None = None
    beats_baseline: Superiority | None = None
    interval: Interval | None = None
    vs_baseline: Difference | None = None
    vs_best: Difference | None = None
    by_type: Mapping[str, float] = field(default_factory=dict)
    ap: float | None = None
    ap50: float | None = None
    f1_50: float | None = None
    count_error: float | None = None
    total_loss: float | None = None
    livecell: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class CostSummary:
    """What a method costs. Means over the seeds whose times may be compared; None where nothing is known.

    Attributes:
        steps: training steps done in the budget.
        train_seconds: on the training clock. seconds_with_pretraining: the same with the training of the weights that
            it started from; None where that is not known.
        seconds_per_iteration: the median step. seconds_per_iteration_iqr: the spread of the middle half of the steps of
            one run. data_wait: share of the training time.
        inference_ms: milliseconds per image.
        memory: bytes, the peak on the GPU where there is one, else of the process.
        labelling_hours: what an annotator takes for the labels of the training images.
        tuning_seconds: on the training clock of all trials of the search for its settings; None where it was not tuned.
        energy: joules of training, of what energy_of names; None where its seeds do not all have it of the same.
        same_machine: whether the times may be set against those of other rows.
        notes: what a reader of the times must know before comparing.
    """

    steps: float | None
    train_seconds: float | None
    seconds_with_pretraining: float | None
    seconds_per_iteration: float | None
    seconds_per_iteration_iqr: float | None
    data_wait: float | None
    images_per_second: float | None
    inference_ms: float | None
    memory: int | None
    energy: float | None
    energy_of: str
    labelling_hours: float | None
    tuning_seconds: float | None
    parameters: int | None
    same_machine: bool
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Provenance:
    """Where a row comes from.

    Attributes:
        slots: those the method changes, in words. labels: what an annotator must have drawn.
        arithmetic: float32 or bfloat16; both where seeds differ, empty where no record says.
        seeds: how many ended well. status: "ok", or what became of those that did not, with `reason` of the first.
        notes: what a reader must know before comparing.
        records: all of the row's records, failed ones too.
    """

    slots: str
    labels: str
    arithmetic: str
    seeds: int
    status: str
    reason: str
    notes: tuple[str, ...]
    records: tuple[RunRecord, ...]


@dataclass(frozen=True)
class Row:
    """A method in the table.

    Attributes:
        method: its name, with what differs where two rows would have one name.
        position: 1 for the highest IoU; None where the row is not ranked.
        worth_it: whether, of the methods that cannot be told from the best, no other costs less to train, to hold and
            to predict.
    """

    method: str
    position: int | None
    quality: Quality
    cost: CostSummary
    provenance: Provenance
    worth_it: bool = False

    @property
    def ranked(self) -> bool:
        """Whether it is compared with the other rows."""
        return self.position is not None

    @property
    def is_worse(self) -> bool:
        """Whether this is not the best: told apart from the best, or worse than the baseline, which the best is not."""
        best, baseline = self.quality.vs_best, self.quality.vs_baseline
        return bool((best and best.told_apart) or (baseline and baseline.told_apart and baseline.mean < 0))

    @property
    def in_folds(self) -> bool:
        """Whether it was trained in folds, so that one seed already is several trainings."""
        return any(record.folds for record in self.provenance.records)

    @property
    def is_baseline(self) -> bool:
        """Whether it is the method that others are compared with."""
        return self.method == self.provenance.records[0].baseline

    @property
    def is_outside(self) -> bool:
        """Whether another tool has made its masks, outside the run and its budget."""
        return any(record.outside for record in self.provenance.records)

    @property
    def good_records(self) -> list[RunRecord]:
        """Records of seeds that ended well."""
        return [record for record in self.provenance.records if record.status == "ok"]


def quality(records: Sequence[RunRecord], per_image: SeedScores) -> Quality:
    """From the good records of a row. per_image: their scores by image, empty where they have none."""
    scores = [record.scores for record in records if record.scores is not None]
    types = sorted({cell_type for s in scores for cell_type in s.by_type})
    return Quality(
        iou=mean(s.iou_map for s in scores),
        seed_std=seed_spread(per_image)[1] if per_image else None,
        fold_std=_fold_std(records),
        interval=image_interval(per_image, cell_types(records)) if per_image else None,
        by_type={t: fmean(s.by_type[t] for s in scores if t in s.by_type) for t in types},
        ap=mean(s.ap for s in scores),
        ap50=mean(s.ap50 for s in scores),
        f1_50=mean(s.f1_50 for s in scores),
        count_error=mean(s.count_error for s in scores),
        total_loss=mean(record.total_loss for record in records),
        livecell=_livecell([s.livecell for s in scores]),
    )


def _livecell(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Means of what all records know; sizes that no cell has are left out."""
    names = found[0] if found and all(found) else {}
    means = {name: fmean(scores[name] for scores in found) for name in names}
    return {name: value for name, value in means.items() if not isnan(value)}


def _fold_std(records: Sequence[RunRecord]) -> float | None:
    """Standard deviation of the mean scores of the folds."""
    means = [
        fmean(record.scores.by_image[image] for image in fold.images)
        for record in records
        if record.scores is not None
        for fold in record.folds
    ]
    return stdev(means) if len(means) > 1 else None


def cost_summary(good: Sequence[RunRecord], comparable: Sequence[RunRecord]) -> CostSummary:
    """From the good records of a row, and those of them whose times may be compared with other rows."""
    timed = comparable or good
    energy, energy_of = _energy(timed)
    return CostSummary(
        steps=mean(record.cost.iterations for record in timed),
        train_seconds=mean(record.cost.train_seconds for record in timed),
        seconds_with_pretraining=_seconds_with_pretraining(timed),
        seconds_per_iteration=mean(record.cost.seconds_per_iteration for record in timed),
        seconds_per_iteration_iqr=mean(record.cost.seconds_per_iteration_iqr for record in timed),
        data_wait=mean(_data_wait(record) for record in timed),
        images_per_second=mean(record.cost.images_per_second for record in timed),
        inference_ms=mean(record.cost.inference_ms_per_image for record in timed),
        memory=_largest(timed, "peak_gpu_reserved") or _largest(timed, "peak_host_rss"),
        energy=energy,
        energy_of=energy_of,
        labelling_hours=_hours(mean(record.labelling_seconds for record in good)),
        tuning_seconds=mean(r.tuned.seconds if r.tuned else None for r in good),
        parameters=_largest(good, "parameters"),
        same_machine=len(comparable) == len(good),
        notes=_time_notes(timed),
    )


def _hours(seconds: float | None) -> float | None:
    return None if seconds is None else seconds / 3600


def _seconds_with_pretraining(records: Sequence[RunRecord]) -> float | None:
    """Mean training time with that of the weights that each record started from; None where one is not known."""
    times = [record.seconds_from_scratch for record in records]
    return None if None in times else mean(times)


def cell_types(records: Iterable[RunRecord]) -> CellTypes:
    """Image id to cell type, as these records have it."""
    return {image: name for r in records if r.scores is not None for image, name in r.scores.cell_types.items()}


def mean(values: Iterable[float | None]) -> float | None:
    """Of those that are known; None where none is."""
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _largest(records: Sequence[RunRecord], cost: str) -> int | None:
    return max((value for r in records if (value := getattr(r.cost, cost)) is not None), default=None)


def _data_wait(record: RunRecord) -> float | None:
    """The share of the training time that was spent waiting for images."""
    waited, seconds = record.cost.data_wait_seconds, record.cost.train_seconds
    return waited / seconds if waited is not None and seconds else None


def _energy(records: Sequence[RunRecord]) -> tuple[float | None, str]:
    """Mean joules, and of what. Unknown where some have none or that of other devices: the mean would be of nothing."""
    joules, devices = [r.cost.energy_joules for r in records], {r.cost.energy_of for r in records}
    if None in joules or len(devices) != 1:
        return None, ""
    return mean(joules), devices.pop() or ""


def _time_notes(records: Sequence[RunRecord]) -> tuple[str, ...]:
    """The records' notes on their times, with how many have them where not all do."""
    counts = Counter(note for record in records for note in dict.fromkeys(record.cost.notes))
    return tuple(
        note if count == len(records) else f"{note} ({count} of {len(records)} runs)" for note, count in counts.items()
    )
