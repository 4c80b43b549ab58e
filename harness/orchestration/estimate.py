"""What a plan will take: whole trials with start, compiling, training, learning curve, prediction and scoring.

Estimated from the records of earlier runs of the same preset, or by a rule of thumb where there are none.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal

from harness.config.budget import Budget
from harness.config.trial_spec import TrialSpec
from harness.errors import HarnessError
from harness.monitoring.machine import machine_facts
from harness.orchestration.plan import Manifest, PlannedTrial
from harness.orchestration.trial_folder import existing_record
from harness.results.io import read_record, record_paths
from harness.results.schema import DataFacts, RunRecord
from harness.results.status import FAILED

Basis = Literal["done", "the same method", "other methods", "a rule of thumb"]

MAX_RECORDS = 300
"""Earlier records that are read at most, newest runs first."""
START_SECONDS = 15.0
COMPILE_SECONDS = 180.0
"""Rule of thumb for the warm-up of a preset that compiles the network. Compiling takes no longer than the budget."""
SECONDS_PER_IMAGE = {("cpu", "small"): 0.3, ("cpu", "full"): 3.0, ("cuda", "small"): 0.1, ("cuda", "full"): 0.3}
"""Rule of thumb for predicting and scoring an image, by device and size of the networks."""


@dataclass(frozen=True)
class Estimate:
    """What one trial will take. None where that is not known.

    training_seconds: the budget, or the steps at the pace of earlier records.
    seconds: of the whole trial.
    memory: bytes, the larger of the peaks in the host's and the GPU's memory.
    basis: what the part beyond the budget is estimated from.
    """

    trial: PlannedTrial
    training_seconds: float | None
    seconds: float | None
    memory: int | None
    basis: Basis


@dataclass(frozen=True)
class SideBySide:
    """Trials run several at a time. waves: how often the slots are filled. enough: slots that take as few waves."""

    waves: int
    seconds: float
    enough: int


def side_by_side(durations: Sequence[float], slots: int) -> SideBySide:
    """What trials of these seconds take where each free slot takes the next one, in this order."""
    if not durations:
        return SideBySide(0, 0.0, 1)
    free_at = [0.0] * min(slots, len(durations))
    for seconds in durations:
        heapq.heapreplace(free_at, free_at[0] + seconds)
    waves = math.ceil(len(durations) / slots)
    return SideBySide(waves, max(free_at), math.ceil(len(durations) / waves))


def estimate_trials(manifest: Manifest, run_dir: Path, earlier: Iterable[RunRecord]) -> list[Estimate]:
    """One estimate for each planned trial. Those that have their record in run_dir take nothing."""
    good = [record for record in earlier if record.status == "ok" and not (record.outside or record.folds)]
    return [_estimate(trial, manifest.facts_of(trial.spec), run_dir, good) for trial in manifest.trials]


def find_earlier_records(run_dir: Path) -> list[RunRecord]:
    """Records of run_dir, of the runs beside it, and of those in results/ and results/runs/."""
    folders: dict[Path, None] = {run_dir.resolve(): None}
    for parent in (run_dir.parent, Path("results/runs"), Path("results")):
        if parent.is_dir():
            found = [path.resolve() for path in parent.iterdir() if path.is_dir()]
            folders.update(dict.fromkeys(sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)))
    records: list[RunRecord] = []
    for path in (path for folder in folders if folder.is_dir() for path in record_paths(folder)):
        if len(records) == MAX_RECORDS:
            break
        try:
            records.append(read_record(path))
        except HarnessError:
            continue
    return records


def _estimate(trial: PlannedTrial, data: DataFacts, run_dir: Path, good: Sequence[RunRecord]) -> Estimate:
    spec = trial.spec
    if trial.skip_reason or _has_record(trial, run_dir):
        return Estimate(trial, 0.0, 0.0, None, "done")
    alike = [record for record in good if _is_alike(record, spec)]
    same = [record for record in alike if record.method == spec.method]
    records = _of_this_machine(same or alike)
    basis: Basis = "the same method" if same else "other methods"
    training = _training_seconds(spec, data, records)
    images = _predicted_images(spec, data.splits)
    rest = [seconds for record in records if (seconds := _rest_seconds(record, spec, images)) is not None]
    if not rest:
        rest, basis = [_rule_of_thumb(spec, images)], "a rule of thumb"
    peaks = [max(r.cost.peak_host_rss or 0, r.cost.peak_gpu_reserved or 0) for r in records]
    seconds = None if training is None else training + median(rest)
    return Estimate(trial, training, seconds, max(peaks, default=0) or None, basis)


def _of_this_machine(records: list[RunRecord]) -> list[RunRecord]:
    """The records that were made on a machine like this one, or all where there are none."""
    here = machine_facts()
    names = ("cpu", "cores_usable", "gpus")
    return [r for r in records if all(r.machine.get(name) == here[name] for name in names)] or records


def _has_record(trial: PlannedTrial, run_dir: Path) -> bool:
    record = existing_record(trial.folder(run_dir), trial.spec.key)
    return record is not None and (record.status == "ok" or record.status in FAILED)


def _is_alike(record: RunRecord, spec: TrialSpec) -> bool:
    """Whether the record is of the same preset and kind of device."""
    device = str(record.settings.get("device", "")).partition(":")[0]
    return record.preset == spec.preset.name and device == spec.device.partition(":")[0]


def _training_seconds(spec: TrialSpec, data: DataFacts, records: Sequence[RunRecord]) -> float | None:
    budget = Budget.parse(spec.budget)
    if budget.kind == "seconds":
        return budget.amount
    steps = budget.amount
    if budget.kind == "epochs":
        steps *= len(data.splits["train"]) / spec.preset.training.batch
    pace = [r.cost.seconds_per_iteration for r in records if r.cost.seconds_per_iteration is not None]
    return steps * median(pace) if pace else None


def _rest_seconds(record: RunRecord, spec: TrialSpec, images: int) -> float | None:
    """Seconds beyond training, if the record's trial had predicted as many images. None where it was resumed."""
    cost, trained = record.cost, record.cost.train_seconds
    if record.wall_seconds is None or record.data is None or trained is None or record.wall_seconds < trained:
        return None
    evaluation = min(cost.evaluation_seconds or 0.0, record.wall_seconds - trained)
    looks = len([point for point in record.learning_curve if point.fraction < 1])
    curve_images = int(dict(record.settings.get("evaluation") or {}).get("curve_images", 0))
    before = 2 * looks * curve_images + sum(
        len(record.data.splits.get(name, ())) for name in ("calibration", "validation")
    )
    return record.wall_seconds - trained - evaluation + evaluation * images / max(before, 1)


def _predicted_images(spec: TrialSpec, splits: Mapping[str, Sequence[str]]) -> int:
    """Predictions of a trial, those for its learning curve included."""
    evaluation = spec.preset.evaluation
    sizes = [len(splits[name]) for name in ("calibration", "validation")]
    looks = len(evaluation.curve_fractions)
    return sum(sizes) + looks * sum(min(size, evaluation.curve_images) for size in sizes)


def _rule_of_thumb(spec: TrialSpec, images: int) -> float:
    compiles = bool(dict(spec.preset.model).get("compile"))
    kind = "cuda" if spec.device.startswith("cuda") else "cpu"
    per_image = SECONDS_PER_IMAGE[kind, spec.preset.size]
    budget = Budget.parse(spec.budget)
    compiling = min(COMPILE_SECONDS, budget.amount) if budget.kind == "seconds" else COMPILE_SECONDS
    return START_SECONDS + compiles * compiling + images * per_image
