"""The record of one trial of a run: one method, one seed, one data set. Everything the tables are made of.

Layout of a run's folder (every path in a record is relative to it; the table needs the records alone):

    manifest.json                     the plan: every trial, before any trains
    leaderboard.md, leaderboard.csv   made from the records, at any time, by `table`
    trials/<method>--seed<k>/
        trial.json                    the specification, input of the worker process
        record.json                   a RunRecord, written when the trial ends
        predictions.json.gz           calibration and validation predictions, COCO run lengths, before any rule
        curve.csv                     step, seconds, learning rate, each loss
        weights.safetensors           the trained model, and
        task.json                     the task; `predict` rebuilds the model from both and trial.json
        tensorboard/                  event files, where asked for
        log.txt, log.previous.txt     what the worker printed, and the one of the attempt before
        state-<step>.ckpt             newest good state, and the one before it, until the trial has ended well
        worker.token                  by which the worker's processes are found
        attempts.json                 since when it runs and where, until its record is there
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from harness.config.split_spec import SplitSpec
from harness.config.start_facts import StartFacts
from harness.config.trial_spec import TrialSpec, public_recipe
from harness.config.tuning_facts import TuningFacts
from harness.config.unlabelled_facts import UnlabelledFacts
from harness.data.source import public_source
from harness.evaluation.schema import Number, PostprocessRule, Scores
from harness.monitoring.machine import git_commit, machine_facts, package_versions, utc_now
from harness.results.migration import SCHEMA_VERSION

Status = Literal["ok", "oom", "timeout", "crash", "diverged", "pruned", "skipped", "interrupted", "incomplete"]
"""pruned: a trial of `tune` that was stopped early since it fell behind earlier ones."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataFacts(_Model):
    """Which data, exactly.

    fingerprint: SHA-256 over image ids, pixels and masks. splits: image ids by split; with --labels also "unlabelled",
    the training images whose labels are not used. split_fingerprint: over the parts before labels were hidden.
    train_cells: annotated cells of the training images whose labels are used; None in records of earlier versions.
    """

    source: str
    fingerprint: str
    classes: list[str]
    images: int
    cells: int
    train_cells: int | None = None
    skipped_bad: int = 0
    splits: dict[str, list[str]]
    split_fingerprint: str


class Cost(_Model):
    """What it cost. Times in seconds unless named otherwise, memory in bytes; None where the machine cannot say.

    evaluation_seconds: off the training clock, for predictions until they are stored and for scores, those along the
    learning curve too.
    energy_joules: used while the training clock ran, by the whole of what energy_of names, all programs together.
    notes: what a reader of the times must know, whole sentences.
    """

    train_seconds: float | None = 0.0
    evaluation_seconds: float | None = None
    iterations: int | None = 0
    seconds_per_iteration: float | None = None
    seconds_per_iteration_iqr: float | None = None
    data_wait_seconds: float | None = None
    images_per_second: float | None = None
    inference_ms_per_image: float | None = None
    peak_host_rss: int | None = None
    peak_gpu_allocated: int | None = None
    peak_gpu_reserved: int | None = None
    peak_gpu_device: int | None = None
    energy_joules: float | None = None
    energy_of: str | None = None
    parameters: int | None = None
    trainable_parameters: int | None = None
    flops: int | None = None
    flops_at: str | None = None
    notes: list[str] = Field(default_factory=list)


class OutsideMasks(_Model):
    """Where a row's masks come from that no trial of the harness has made (`add-row`).

    given: the name of the folder or file, by split. sha256: over its content, by split, in hexadecimal.
    scored: whether the masks have scores, so that a rule was chosen for them; others are taken as they are.
    classed: whether they have classes of the data; AP is not known of those without.
    note: the user's own words. warnings: what looks wrong in the masks, whole sentences.
    """

    given: dict[str, str]
    sha256: dict[str, str]
    scored: bool
    classed: bool
    note: str = ""
    warnings: list[str] = Field(default_factory=list)


class FoldResult(_Model):
    """One fold of several: the images that its trial has not seen, and the rule that the other folds chose for them.

    fold: its number, from 1. trial: name of its folder. finished: of its record, which changes when it runs again.
    """

    fold: int
    trial: str
    finished: str
    images: list[str]
    rule: PostprocessRule


class CurvePoint(_Model):
    """Validation IoU on a fixed subset, at a fraction of the budget, off the clock."""

    fraction: float
    seconds: float
    iteration: int
    iou_map: Number


class RunRecord(_Model):
    """One trial.

    key: equal for two trials that are the same work (resume). baseline: the name of the method that others are compared
    with. label_seconds: what an annotator takes to draw `labels` for one object.
    split: how the images were divided, without private folders. tuned: how its preset was tuned, or None.
    start: the weights that it started from and what was kept of them; None from scratch.
    unlabelled: the images without labels that it learned from, or None.
    outside: of a row whose masks another tool has made; its budget and recipe are empty. members: names of the trials
    whose predictions are averaged in this row, which has no model of its own. checksum: over all other
    fields.

    Of a fold, scores are None, and rule is None until all folds are there; folds_key is what its siblings share. The
    record of all folds together has that key, `folds`, scores over all images and no rule of its own.
    """

    schema_version: int = SCHEMA_VERSION
    key: str
    status: Status
    reason: str = ""
    method: str
    seed: int
    preset: str
    budget: str
    command: str
    recipe: dict[str, Any] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)
    slots_changed: list[str] = Field(default_factory=list)
    labels: str = ""
    label_seconds: float | None = None
    baseline: str = ""
    split: SplitSpec = SplitSpec()
    tuned: TuningFacts | None = None
    start: StartFacts | None = None
    unlabelled: UnlabelledFacts | None = None
    data: DataFacts | None = None
    rule: PostprocessRule | None = None
    outside: OutsideMasks | None = None
    folds_key: str = ""
    folds: list[FoldResult] = Field(default_factory=list)
    members: list[str] = Field(default_factory=list)
    scores: Scores | None = None
    learning_curve: list[CurvePoint] = Field(default_factory=list)
    cost: Cost = Field(default_factory=Cost)
    final_losses: dict[str, Number] = Field(default_factory=dict)
    total_loss: float | None = None
    log: str = ""
    machine: dict[str, Any] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    git_commit: str = ""
    started: str = ""
    finished: str = ""
    wall_seconds: float | None = None
    checksum: str = ""

    @property
    def seconds_from_scratch(self) -> float | None:
        """Training time with that of the weights that it started from; None where one is not known."""
        before = 0.0 if self.start is None else self.start.train_seconds
        return None if before is None or self.cost.train_seconds is None else before + self.cost.train_seconds

    @property
    def labelling_seconds(self) -> float | None:
        """What an annotator takes for the labels of all training images; None where it is not known."""
        if self.label_seconds is None or self.data is None or self.data.train_cells is None:
            return None
        return self.label_seconds * self.data.train_cells

    @classmethod
    def from_spec(cls, spec: TrialSpec, status: Status, reason: str = "", **fields: Any) -> Self:
        """The record of a trial, with what its specification and this machine say.

        Args:
            spec: of the trial.
            status: how the trial ended.
            reason: why it ended so, in one line; empty where all is well.
            **fields: further fields of the record. They take precedence over those of the specification.
        """
        facts: dict[str, Any] = {
            "preset": spec.preset.name,
            "settings": spec.settings(),
            "machine": machine_facts(),
            "versions": package_versions(),
            "git_commit": git_commit(),
            "finished": utc_now(),
            "split": public_split(spec.split),
            "recipe": public_recipe(spec.recipe),
            **spec.model_dump(include=_SAME_IN_SPEC),
        }
        return cls(**{**facts, "status": status, "reason": reason, **fields})


_SAME_IN_SPEC = {
    "key",
    "method",
    "seed",
    "budget",
    "command",
    "slots_changed",
    "labels",
    "label_seconds",
    "baseline",
    "tuned",
    "start",
    "unlabelled",
    "folds_key",
}
"""Fields that a record takes from the specification as they are."""


def public_split(split: SplitSpec) -> SplitSpec:
    """Without private folders."""
    names = ("validation", "calibration", "unlabelled")
    sources = {name: tuple(map(public_source, getattr(split, name))) for name in names}
    return split.model_copy(update={"file": PurePath(split.file).name, **sources})
