"""A trained model on labelled data that its run has not seen: predicted, scored and recorded."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from harness.catalog import Catalog
from harness.config.fit import KEPT
from harness.config.protocol import ScoringProtocol
from harness.config.trial_spec import trial_key
from harness.contract import Model, Predictions, Sample, Task
from harness.data.dataset import Dataset
from harness.data.windows import WholeImage
from harness.errors import HarnessError
from harness.evaluation.calibration import choose_rule
from harness.evaluation.ground_truth import GroundTruth
from harness.evaluation.prediction_file import PREDICTIONS, write_predictions
from harness.evaluation.scorer import score
from harness.fileio import make_folder
from harness.inference.ensemble import Ensemble
from harness.inference.image_predictor import ImagePredictor
from harness.inference.predictor import Predicted, median_without_first
from harness.inference.trained_model import load_trained
from harness.masks.crops import CropMasks
from harness.monitoring.machine import git_commit, machine_facts, package_versions, utc_now
from harness.orchestration.packaging import MethodTrials, common_rule, run_dataset
from harness.orchestration.plan import safe_name
from harness.orchestration.seen_images import trained_on
from harness.results.evaluation_record import EVALUATIONS, EvaluationRecord, write_evaluation
from harness.results.io import read_record, read_trial_spec, record_paths
from harness.results.schema import DataFacts, RunRecord
from harness.results.trained_trial import TrainedTrial

CALIBRATION_SEED = 0
"""Of the draw of the images that a rule is chosen on anew."""

ClassesBy = Literal["name", "one class"]


@dataclass(frozen=True)
class Trained:
    """A trained model: a trial that ended well and its record; or several trials of a method, which are averaged.

    trial: the first, with the rule of the model. record: of it, with all images that any of them was trained on.
    others: the further trials.
    """

    trial: TrainedTrial
    record: RunRecord
    others: tuple[TrainedTrial, ...] = ()

    @property
    def name(self) -> str:
        """Of the folder of its evaluations, but for what it is tested on."""
        if not self.others:
            return self.trial.folder.name
        return f"{safe_name(self.record.method)}--{self.record.key}"


def trained_trials(run_dir: Path, methods: Sequence[str] = ()) -> list[Trained]:
    """The trials of a run that have a model. methods: names of rows or of folders; all where there are none.

    Raises HarnessError where the folder or a named method is not there.
    """
    if not run_dir.is_dir():
        raise HarnessError(f"no folder {run_dir}; give the folder of a run, as `run` printed it")
    found = []
    for path in record_paths(run_dir):
        try:
            record = read_record(path)
        except HarnessError:
            continue
        has_model = record.status == "ok" and not (record.outside or record.members)
        if has_model and record.rule is not None and record.data is not None:
            found.append(Trained(TrainedTrial(path.parent, read_trial_spec(path.parent), record.rule), record))
    for name in methods:
        if not any(name in (one.record.method, one.trial.folder.name) for one in found):
            known = ", ".join(sorted({one.record.method for one in found})) or "none"
            raise HarnessError(f"{run_dir} has no trained method {name!r}; it has: {known}")
    chosen = [one for one in found if not methods or {one.record.method, one.trial.folder.name} & set(methods)]
    if not chosen:
        raise HarnessError(f"{run_dir} holds no trial that ended well; `run` makes them")
    return chosen


def averages(run_dir: Path, trained: Sequence[Trained]) -> list[Trained]:
    """For each method that has several of these trials on one data set, their average.

    Its rule is chosen from what the models predict for images that they have not seen, averaged where an image has
    several such models. Raises HarnessError where there is no such method, or the data of the run are not there.
    """
    methods: dict[tuple[str, str], list[Trained]] = {}
    for one in trained:
        assert one.record.data is not None
        methods.setdefault((one.record.method, one.record.data.fingerprint), []).append(one)
    found = [_average(several) for several in methods.values() if len(several) > 1]
    if not found:
        raise HarnessError(f"{run_dir}: no method has several models; --ensemble needs a run with --folds or --seeds")
    return found


def _average(several: Sequence[Trained]) -> Trained:
    first = several[0]
    trials = tuple(one.trial for one in several)
    group = MethodTrials(trials, tuple(one.record for one in several), ())
    rule = common_rule(group, run_dataset(group.spec))
    assert first.record.data is not None
    facts = [one.record.data.splits for one in several if one.record.data is not None]
    seen = {part: sorted({i for splits in facts for i in splits[part]}) for part in ("train", "calibration")}
    own = {
        "key": trial_key(members=[one.record.key for one in several]),
        "method": f"{first.record.method} (average of {len(several)})",
        "data": first.record.data.model_copy(update={"splits": {**seen, "validation": []}}),
        "rule": rule,
    }
    return Trained(replace(first.trial, rule=rule), first.record.model_copy(update=own), trials[1:])


@dataclass(frozen=True)
class TestData:
    """Labelled data to test on. calibration: ids of the images that a rule is chosen on anew; tested: those scored."""

    __test__ = False  # pytest takes classes of such a name for tests

    dataset: Dataset
    calibration: tuple[str, ...]
    tested: tuple[str, ...]

    @staticmethod
    def of(dataset: Dataset, recalibrate: float | None) -> TestData:
        """recalibrate: the fraction of images that a rule is chosen on; None for the rule of the run."""
        if recalibrate is None:
            return TestData(dataset, (), dataset.ids)
        calibration = _drawn(dataset, recalibrate)
        return TestData(dataset, calibration, tuple(i for i in dataset.ids if i not in set(calibration)))

    def facts(self, tested: Sequence[str]) -> DataFacts:
        splits = {"train": [], "calibration": list(self.calibration), "validation": list(tested)}
        return DataFacts(
            source=self.dataset.public_source,
            fingerprint=self.dataset.fingerprint,
            classes=list(self.dataset.classes),
            images=len(self.dataset),
            cells=self.dataset.cells,
            skipped_bad=self.dataset.skipped_bad,
            splits=splits,
            split_fingerprint=hashlib.sha256(json.dumps(list(splits.values())).encode()).hexdigest(),
        )


def evaluate(
    run_dir: Path,
    trained: Trained,
    data: TestData,
    catalog: Catalog,
    device: str,
    command: str = "",
    protocol: ScoringProtocol = "",
    each: Callable[[int, float], None] = lambda done, milliseconds: None,
) -> EvaluationRecord:
    """Predict and score labelled data with a trained model; writes predictions and record below the run's folder.

    Args:
        run_dir: the folder of the run.
        trained: one of its trials.
        data: what to test on.
        catalog: the methods that there are.
        device: "cpu", "mps" or "cuda[:N]".
        command: what was typed.
        protocol: a published evaluation whose scores are computed besides.
        each: called after each image with the number of images done and its milliseconds.

    Raises:
        HarnessError: the model cannot be built, or every image was trained on.
    """
    left_out, notes = trained_on(trained.record, trained.trial.spec, data.dataset)
    tested = [image_id for image_id in data.tested if image_id not in left_out]
    calibration = [image_id for image_id in data.calibration if image_id not in left_out]
    if not tested or (data.calibration and not calibration):
        raise HarnessError(f"{data.dataset.public_source}: {trained.record.method} was trained on all its images")
    model, task = _loaded(trained, catalog, device)
    samples = [data.dataset.sample(image_id) for image_id in (*calibration, *tested)]
    done = _predicted(ImagePredictor(model, task, trained.trial), samples, each)
    found, times = done.found, done.milliseconds
    notes += done.notes
    truth, classes_by = matched_truth(data.dataset, task.classes)
    rule = trained.trial.rule
    if calibration:
        rule = choose_rule({i: found[i] for i in calibration}, truth, task.classes)
    splits: dict[str, dict[str, Predictions]] = {"validation": {i: found[i] for i in tested}}
    if calibration:
        splits["calibration"] = {i: found[i] for i in calibration}
    scores = score(splits["validation"], truth, rule, task.classes, classes_by == "one class", protocol)
    if classes_by == "one class":
        notes.append(
            f"classes do not match by name ({', '.join(task.classes)} and {', '.join(data.dataset.classes)}); "
            "AP takes all cells as one class"
        )
    if not trained.trial.spec.preset.scale_by_size:
        # the task has it as the network sees it
        diameter = task.cell_diameter / trained.trial.spec.preset.scale
        notes += _note_on_size(diameter, [truth[image_id].cells for image_id in tested])
    facts = data.facts(tested)
    record = EvaluationRecord(
        **_facts_of(trained),
        tested_on=facts,
        rule=rule,
        rule_from="recalibrated" if calibration else "run",
        classes_by=classes_by,
        scores=scores,
        left_out=sorted(left_out),
        notes=notes,
        inference_ms_per_image=median_without_first(times),
        command=command,
    )
    folder = run_dir / EVALUATIONS / _folder_name(trained, facts, bool(calibration))
    make_folder(folder)
    write_predictions(folder / PREDICTIONS, splits, task.classes)
    return write_evaluation(folder, record)


def _loaded(trained: Trained, catalog: Catalog, device: str) -> tuple[Model, Task]:
    model, task = load_trained(trained.trial, catalog, device)
    if not trained.others:
        return model, task
    others = [load_trained(trial, catalog, device) for trial in trained.others]
    largest = max(t.largest_cell for t in (task, *(t for _, t in others)))
    return Ensemble([model, *(m for m, _ in others)]), replace(task, largest_cell=largest)


def _predicted(predictor: ImagePredictor, samples: Sequence[Sample], each: Callable[[int, float], None]) -> Predicted:
    """Raises HarnessError where the memory does not suffice."""
    done = Predicted()
    for sample in samples:
        begin = time.perf_counter()
        try:
            done.found[sample.image_id], notes = predictor.predict(WholeImage(sample.image))
        except MemoryError as error:
            raise HarnessError(f"image {sample.image_id}: {error}") from error
        done.milliseconds.append(1000 * (time.perf_counter() - begin))
        done.notes.update(dict.fromkeys(notes))
        each(len(done.found), done.milliseconds[-1])
    return done


def _note_on_size(trained: float, cells: Sequence[CropMasks]) -> list[str]:
    """What is to be known of cells whose size is not that of the training images, which the network sees alike.

    trained: median diameter of the cells trained on, in pixels of their images; 0 where it is not known.
    cells: of each image.
    """
    areas = np.concatenate([masks.areas() for masks in cells])
    if not trained or not len(areas):
        return []
    diameter = 2 * math.sqrt(float(np.median(areas)) / math.pi)
    if KEPT[0] <= diameter / trained <= KEPT[1]:
        return []
    return [
        f"cells are {diameter:.3g} pixels (median) and those trained on were {trained:.3g}: resize the images by "
        f"{trained / diameter:.2g} to test what the network knows"
    ]


def _facts_of(trained: Trained) -> dict[str, Any]:
    """What the record says of the model and of this machine."""
    assert trained.record.data is not None
    return {
        "trial_key": trained.record.key,
        "method": trained.record.method,
        "seed": trained.record.seed,
        "trained_on": trained.record.data,
        "machine": machine_facts(),
        "versions": package_versions(),
        "git_commit": git_commit(),
        "finished": utc_now(),
    }


def matched_truth(dataset: Dataset, classes: Sequence[str]) -> tuple[Mapping[str, GroundTruth], ClassesBy]:
    """Annotations whose labels are those of a model with these classes: matched by name.

    Where the data have a class that the model lacks, all labels are 0 and the second value is "one class".
    """
    if set(dataset.classes) <= set(classes):
        return _Relabelled(dataset, np.asarray([list(classes).index(c) for c in dataset.classes], np.int64)), "name"
    return _Relabelled(dataset, np.zeros(len(dataset.classes), np.int64)), "one class"


class _Relabelled(Mapping[str, GroundTruth]):
    """Annotations by image id, with other labels, each read when it is asked for."""

    def __init__(self, dataset: Dataset, label_of: np.ndarray) -> None:
        self._dataset, self._label_of, self._ids = dataset, label_of, set(dataset.ids)

    def __getitem__(self, image_id: str) -> GroundTruth:
        if image_id not in self._ids:
            raise KeyError(image_id)
        truth = GroundTruth.of(self._dataset.sample(image_id))
        return replace(truth, labels=self._label_of[truth.labels], crowd_labels=self._label_of[truth.crowd_labels])

    def __iter__(self) -> Iterator[str]:
        return iter(self._dataset.ids)

    def __len__(self) -> int:
        return len(self._dataset)


def _drawn(dataset: Dataset, fraction: float) -> tuple[str, ...]:
    """Whole groups, drawn until they hold the fraction of the images; something is left to be tested."""
    members: dict[str, list[int]] = {}
    for i, (image_id, group) in enumerate(zip(dataset.ids, dataset.groups, strict=True)):
        members.setdefault(f"image {image_id}" if group is None else f"group {group}", []).append(i)
    units = [members[name] for name in sorted(members)]
    if len(units) < 2:
        raise HarnessError(f"{dataset.public_source}: one image or group is too few for --recalibrate")
    taken: list[int] = []
    for unit in np.random.default_rng([CALIBRATION_SEED, len(units)]).permutation(len(units))[:-1].tolist():
        if taken and len(taken) >= fraction * len(dataset):
            break
        taken += units[unit]
    return tuple(dataset.ids[i] for i in sorted(taken))


def _folder_name(trained: Trained, facts: DataFacts, recalibrated: bool) -> str:
    kind = facts.source.partition(":")[0]
    return f"{trained.name}--on-{kind}-{facts.fingerprint[:8]}{'--recalibrated' if recalibrated else ''}"
