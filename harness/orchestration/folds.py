"""Scores the folds of a method and seed together, once all are there: the step after the trials.

The rule of a fold is chosen from the predictions of the other folds. Every image is scored once, under the rule of its
fold, from the predictions of a model that has not seen it.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from harness.config.protocol import ScoringProtocol
from harness.config.trial_spec import TrialSpec
from harness.contract import Predictions
from harness.errors import HarnessError
from harness.evaluation.calibration import choose_rules_across
from harness.evaluation.ground_truth import GroundTruths
from harness.evaluation.prediction_file import PREDICTIONS, read_predictions
from harness.evaluation.scorer import score
from harness.fileio import make_folder, write_json_atomic
from harness.orchestration.prepared_data import LazyTruth, load_data
from harness.results.folds import data_of_all, folder_of_all, mean_cost, mean_curve
from harness.results.io import RECORD, TRIAL, TRIALS, read_record, read_trial_spec, write_record
from harness.results.schema import FoldResult, RunRecord


def score_folds(
    run_dir: Path,
    names: Sequence[str],
    truth: GroundTruths | None = None,
    threshold: float | None = None,
    protocol: ScoringProtocol = "",
) -> RunRecord:
    """Score the folds of one method and seed, and write their common record and the rule of each fold.

    Args:
        run_dir: folder of the run.
        names: of the trials' folders, one for each fold, all of which ended well.
        truth: annotations of all images; None to load the data.
        threshold: a fixed score threshold; None for that of the run, if it has one.
        protocol: a published evaluation whose scores are computed besides; empty for that of the run.

    Returns:
        The common record, as written.

    Raises:
        HarnessError: predictions are missing or damaged, the data have changed, or the disk takes no files.
    """
    folders = [run_dir / TRIALS / name for name in names]
    records = [read_record(folder / RECORD) for folder in folders]
    spec = read_trial_spec(folders[0])
    truth = truth or _truth(spec)
    folds = [dict(_predictions(folder, record)) for folder, record in zip(folders, records, strict=True)]
    classes = data_of_all(records).classes
    fixed = spec.threshold if threshold is None else threshold
    rules = choose_rules_across(folds, truth, classes, fixed)
    found = ChainMap(*folds)
    rule_of = {image_id: rule for fold, rule in zip(folds, rules, strict=True) for image_id in fold}
    results = []
    for folder, record, rule, fold in zip(folders, records, rules, folds, strict=True):
        write_record(folder / RECORD, record.model_copy(update={"rule": rule}))
        one = FoldResult(
            fold=record.split.fold, trial=folder.name, finished=record.finished, images=sorted(fold), rule=rule
        )
        results.append(one)
    losses = {name: fmean(r.final_losses[name] for r in records) for name in records[0].final_losses}
    whole = _common(
        spec,
        records,
        folds=results,
        scores=score(found, truth, rule_of, classes, protocol=protocol or spec.protocol),
        final_losses=losses,
        total_loss=sum(losses.values()) if losses else None,
        settings={**spec.settings(), "threshold": fixed},
    )
    return _write(run_dir, names[0], spec, whole)


def record_failure(run_dir: Path, names: Sequence[str], error: HarnessError) -> RunRecord:
    """Write a common record that says why the folds could not be scored together."""
    folders = [run_dir / TRIALS / name for name in names]
    records = [read_record(folder / RECORD) for folder in folders]
    spec = read_trial_spec(folders[0])
    whole = _common(spec, records).model_copy(update={"status": "crash", "reason": str(error)})
    return _write(run_dir, names[0], spec, whole)


def _common(spec: TrialSpec, records: Sequence[RunRecord], **fields: Any) -> RunRecord:
    facts: dict[str, Any] = {
        "data": data_of_all(records),
        "cost": mean_cost(records),
        "learning_curve": mean_curve(records),
        "machine": records[0].machine,
        "versions": records[0].versions,
        "git_commit": records[0].git_commit,
        "started": min(record.started for record in records),
        "finished": max(record.finished for record in records),
        "wall_seconds": sum(record.wall_seconds or 0.0 for record in records),
    }
    return RunRecord.from_spec(_spec_of_all(spec), "ok", **{**facts, **fields})


def _spec_of_all(spec: TrialSpec) -> TrialSpec:
    """From the specification of a fold."""
    return spec.model_copy(update={"key": spec.folds_key, "split": spec.split.model_copy(update={"fold": 0})})


def _write(run_dir: Path, name: str, spec: TrialSpec, whole: RunRecord) -> RunRecord:
    folder = run_dir / TRIALS / folder_of_all(name)
    make_folder(folder)
    write_json_atomic(folder / TRIAL, _spec_of_all(spec).model_dump(mode="json"))
    return write_record(folder / RECORD, whole)


def _predictions(folder: Path, record: RunRecord) -> Mapping[str, Predictions]:
    assert record.data is not None
    stored = read_predictions(folder / PREDICTIONS)
    found: Mapping[str, Predictions] = stored.splits.get("validation", {})
    if list(stored.classes) != record.data.classes or set(found) != set(record.data.splits["validation"]):
        raise HarnessError(f"{folder / PREDICTIONS}: its classes or images are not those of the record beside it")
    return found


def _truth(spec: TrialSpec) -> GroundTruths:
    dataset = load_data(spec.source, spec.skip_bad, spec.split)
    if dataset.fingerprint != spec.data_fingerprint:
        raise HarnessError(f"{dataset.public_source} has changed since the run was planned; start a new run for it")
    return LazyTruth(dataset, dataset.ids)
