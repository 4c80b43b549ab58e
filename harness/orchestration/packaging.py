"""Which trained models of a run are taken home, and under which rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.config.trial_spec import TrialSpec
from harness.contract import Predictions
from harness.data.dataset import Dataset
from harness.errors import HarnessError
from harness.evaluation.calibration import choose_rule
from harness.evaluation.prediction_file import PREDICTIONS, read_predictions
from harness.evaluation.schema import PostprocessRule
from harness.inference.ensemble import average_predictions
from harness.orchestration.prepared_data import LazyTruth, load_data
from harness.results.folds import are_complete
from harness.results.io import read_record, read_trial_spec, record_paths
from harness.results.schema import RunRecord
from harness.results.trained_trial import TrainedTrial, find_trained_trial


@dataclass(frozen=True)
class MethodTrials:
    """The trials of one method that ended well, on one data set.

    Attributes:
        trials: each with its model; folds and seeds one after the other.
        records: of the trials, in the same order.
        scored: the records with scores: of each seed that of its split, or of its folds together.
    """

    trials: tuple[TrainedTrial, ...]
    records: tuple[RunRecord, ...]
    scored: tuple[RunRecord, ...]

    @property
    def in_folds(self) -> bool:
        """Whether they are folds, so that each image is predicted by a model that has not seen it."""
        return bool(self.records[0].split.fold)

    def of_seed(self, seed: int) -> MethodTrials:
        """Those of one seed."""
        chosen = [i for i, record in enumerate(self.records) if record.seed == seed]
        scored = tuple(record for record in self.scored if record.seed == seed)
        return MethodTrials(tuple(self.trials[i] for i in chosen), tuple(self.records[i] for i in chosen), scored)

    @property
    def spec(self) -> TrialSpec:
        """Of the first trial."""
        return self.trials[0].spec


def find_trials(run_dir: Path, method: str, seed: int | None = None) -> MethodTrials:
    """The trials of a method, of one seed or of all.

    Args:
        run_dir: folder of the run.
        method: as the leaderboard calls its row, or the name of a trial's folder.
        seed: None for all.

    Raises:
        HarnessError: the method is not there, was trained on several data sets, or a fold is missing.
    """
    if not run_dir.is_dir():
        raise HarnessError(f"no folder {run_dir}; give the folder of a run, as `run` printed it")
    found: dict[Path, RunRecord] = {}
    for path in record_paths(run_dir):
        try:
            found[path.parent] = read_record(path)
        except HarnessError:
            continue
    mine = {
        folder: record
        for folder, record in found.items()
        if method in (record.method, folder.name) and (seed is None or record.seed == seed) and not record.folds
    }
    named = any(folder.name == method for folder in mine)
    folds = [record for record in mine.values() if record.split.fold]
    whole = [r for r in found.values() if r.folds and r.status == "ok" and r.key in {f.folds_key for f in folds}]
    if folds and not named:
        _refuse_missing_folds(method, folds, whole)
    good = {f: r for f, r in mine.items() if r.status == "ok" and r.rule and not (r.outside or r.members)}
    if not good:
        # says what is wrong: no such method, no such seed, or a failure
        trial = find_trained_trial(run_dir, method, seed)
        raise HarnessError(f"{trial.folder.name} cannot be packaged")
    if len({record.data.fingerprint for record in good.values() if record.data}) > 1:
        raise HarnessError(f"{method} was trained on several data sets; type --method {' or '.join(_names(good))}")
    if len({bool(record.split.fold) for record in good.values()}) > 1:
        raise HarnessError(f"{method} was trained in folds and on one split; type --method {' or '.join(_names(good))}")
    order = sorted(good, key=lambda folder: (good[folder].seed, good[folder].split.fold))
    records = tuple(good[folder] for folder in order)
    trials = tuple(TrainedTrial(f, read_trial_spec(f), r.rule) for f, r in zip(order, records, strict=True) if r.rule)
    return MethodTrials(trials, records, tuple(whole) if folds else records)


def run_dataset(spec: TrialSpec) -> Dataset:
    """The data of a trial. Raises HarnessError where they are not there or have changed."""
    dataset = load_data(spec.source, spec.skip_bad, spec.split)
    if dataset.fingerprint != spec.data_fingerprint:
        raise HarnessError(f"{dataset.public_source} has changed since the run was planned; start a new run for it")
    return dataset


def common_rule(found: MethodTrials, dataset: Dataset) -> PostprocessRule:
    """One rule from all images that the models have not trained on, chosen as that of a run is.

    In folds these are all images: nothing is left to score the rule on. An image that several models have not seen, of
    several seeds, counts with the average of what they predict.
    """
    part = "validation" if found.in_folds else "calibration"
    predictions = unseen_predictions(found.trials, part)
    rule = choose_rule(predictions, LazyTruth(dataset, dataset.ids), dataset.classes, found.spec.threshold)
    return rule.model_copy(update={"chosen_on": "all folds together"}) if found.in_folds else rule


def unseen_predictions(trials: Sequence[TrainedTrial], part: str) -> dict[str, Predictions]:
    """By image id, the average of what the models predict that have the image in that part of their split."""
    by_image: dict[str, list[Predictions]] = {}
    for trial in trials:
        stored: Mapping[str, Predictions] = read_predictions(trial.folder / PREDICTIONS).splits.get(part, {})
        for image_id, found in stored.items():
            by_image.setdefault(image_id, []).append(found)
    return {i: found[0] if len(found) == 1 else average_predictions(found) for i, found in sorted(by_image.items())}


def _refuse_missing_folds(method: str, records: Sequence[RunRecord], whole: Sequence[RunRecord]) -> None:
    for seed in sorted({record.seed for record in records}):
        folds = [record for record in records if record.seed == seed]
        if not are_complete(folds) or seed not in {record.seed for record in whole}:
            good = sum(record.status == "ok" for record in folds)
            raise HarnessError(
                f"{method}, seed {seed}: {good} of {folds[0].split.folds} folds ended well and were scored together; "
                "type the run's command again"
            )


def _names(folders: Mapping[Path, RunRecord]) -> list[str]:
    return sorted(folder.name for folder in folders)
