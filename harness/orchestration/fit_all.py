"""Trains a method once more, on all labelled images of its run: the model that is taken home.

The trial is not part of the run's table, which it could only flatter: it lies in a folder of its own below the run, as
a run of one trial that can be interrupted and continued.
"""

from __future__ import annotations

from pathlib import Path

from harness.config.trial_spec import TrialSpec, trial_key
from harness.errors import HarnessError
from harness.evaluation.schema import PostprocessRule
from harness.monitoring.machine import utc_now
from harness.orchestration.plan import Manifest, PlannedTrial, data_key, folder_name
from harness.orchestration.prepared_data import prepare_data, unlabelled_images
from harness.orchestration.scheduler import INTERRUPTED, Reporter, RunOptions, run_plan
from harness.results.io import RECORD, read_record
from harness.results.schema import DataFacts
from harness.results.trained_trial import TrainedTrial

FIT_ALL = "fit-all"
"""Folder below that of the run."""


def plan_fit_all(spec: TrialSpec, device: str) -> Manifest:
    """The plan of one trial on all images that the parts of a trial hold together.

    Budget, recipe, preset and seed are those of the trial, and nothing is evaluated during training. Labels that the
    run has hidden (`--labels`) are used, but for a method that learns from images without labels: those may be the
    only ones it has.

    Args:
        spec: of the trial, or of one of its folds.
        device: to train on.

    Raises:
        HarnessError: the data are not there, or have changed since the run.
    """
    evaluation = spec.preset.evaluation.model_copy(update={"curve_fractions": ()})
    preset = spec.preset.model_copy(update={"evaluation": evaluation})
    labels = "" if spec.unlabelled is None else spec.split.labels
    split = spec.split.model_copy(update={"fit_all": True, "fold": 0, "labels": labels})
    data = prepare_data(spec.source, spec.skip_bad, preset, split)
    facts = data.facts
    if facts.fingerprint != spec.data_fingerprint:
        raise HarnessError(f"{facts.source} has changed since the run was planned; start a new run for it")
    key = trial_key(fit_all=spec.folds_key or spec.key, split=facts.split_fingerprint, device=device.partition(":")[0])
    own = {
        "key": key,
        "folds_key": "",
        "split": split,
        "split_fingerprint": facts.split_fingerprint,
        "unlabelled": None if spec.unlabelled is None else unlabelled_images(data, split, spec.skip_bad)[1],
        "preset": preset,
        "device": device,
        "earlier_looks": None,
    }
    made = spec.model_copy(update=own)
    return Manifest(
        created=utc_now(),
        command=spec.command,
        scoring_version="",
        data={data_key(split, facts.fingerprint, facts.split_fingerprint): facts},
        trials=(PlannedTrial(name=f"{folder_name(made.method, made.seed)}--{key}", spec=made),),
    )


def fit_all(
    run_dir: Path, manifest: Manifest, rule: PostprocessRule, options: RunOptions, reporter: Reporter
) -> tuple[TrainedTrial, DataFacts]:
    """Train what `plan_fit_all` has planned, or take what an earlier call has trained.

    Args:
        run_dir: folder of the run.
        manifest: of the one trial.
        rule: that the run has chosen.
        options: how the trial is run.
        reporter: told what happens.

    Returns:
        The trained trial, and what is known of its data.

    Raises:
        HarnessError: it was interrupted or did not end well.
    """
    (planned,) = manifest.trials
    below = run_dir / FIT_ALL
    status = run_plan(manifest, below, options, reporter, lambda folder: None)
    folder = planned.folder(below)
    if status == INTERRUPTED:
        raise HarnessError("stopped; the same command continues the training from its checkpoint")
    record = read_record(folder / RECORD)
    if record.status != "ok":
        raise HarnessError(f"the training on all images did not end well ({record.status}: {record.reason})")
    return TrainedTrial(folder, planned.spec, rule), manifest.facts_of(planned.spec)
