"""One trial from specification to record: train, predict, score, cost. Runs in the worker's process."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from harness.config.budget import Budget
from harness.config.start_facts import StartFacts
from harness.config.trial_spec import TrialSpec, recipe_from_json
from harness.contract import Learner, Model, Predictions
from harness.evaluation.calibration import choose_rule, choose_rules_across
from harness.evaluation.prediction_file import PREDICTIONS, write_predictions
from harness.evaluation.schema import PostprocessRule, Scores
from harness.evaluation.scorer import iou_map, score
from harness.fileio import write_text_atomic
from harness.inference.grid import TilingPolicy
from harness.inference.predictor import Predicted, median_without_first, predict_all
from harness.inference.scaled import at_scale
from harness.inference.trained_model import save_task
from harness.monitoring import conditions
from harness.monitoring.cpu_fallback import CpuFallbacks
from harness.monitoring.energy import energy_used
from harness.monitoring.flops import FlopCounter, parameters
from harness.monitoring.machine import machine_facts
from harness.monitoring.progress import Progress, ProgressFile
from harness.monitoring.training import training_sensors
from harness.orchestration.early_stopping import falls_behind
from harness.orchestration.learning import add_learner, mean_cells
from harness.orchestration.prepared_data import planned_unlabelled, prepare_planned_data, task_of
from harness.orchestration.starting_weights import check_unchanged
from harness.platform.memory import gpu_peaks, peak_rss, reset_gpu_peaks
from harness.results.schema import Cost, CurvePoint, RunRecord, Status
from harness.results.status import Interrupted
from harness.tracking.tensorboard import EVENTS, EventFiles
from harness.training import device
from harness.training.clock import Stopwatch
from harness.training.stream import TrainingStream
from harness.training.trace import CURVE, Trace
from harness.training.trainer import Pruned, Trainer

SplitPredictions = Mapping[str, Mapping[str, Predictions]]
"""Predictions by split and image id."""


class Trial:
    """The work of one trial. `run` calls train, predict, score and cost in this order; each needs those before it."""

    def __init__(self, spec: TrialSpec, folder: Path, progress: ProgressFile) -> None:
        """Load the data and build the model.

        Args:
            spec: what to train, on which data, for how long.
            folder: the trial's folder, which exists. Checkpoints, curves, predictions and weights are written there.
            progress: told how far the trial is, and asked whether it has to stop.

        Raises:
            HarnessError: the data have changed since the plan, or the device is not there.
        """
        self.spec, self.folder, self.progress = spec, folder, progress
        progress.report(Progress("loading"))
        self.data = prepare_planned_data(spec)
        self.classes = self.data.dataset.classes
        self.unlabelled = planned_unlabelled(self.data, spec)
        self.learner: Learner | None = None
        self.task = task_of(self.data, spec)
        self.recipe = recipe_from_json(spec.recipe)
        check_unchanged(self.recipe)
        device.select_device(spec.device)
        device.keep_freed_memory()
        device.seed(spec.seed, spec.deterministic)
        reset_gpu_peaks(spec.device)
        self.fallbacks = CpuFallbacks() if spec.device == "mps" else None
        model = self.recipe.engine.build(self.recipe, self.task)
        limit_compiling(model, Budget.parse(spec.budget))
        self.model = at_scale(model, spec.preset.scale, spec.preset.scale_by_size)
        self.events = EventFiles(folder / EVENTS, spec.preset.training.batch) if spec.tensorboard else None
        self.evaluation_time = Stopwatch()
        # the validation images are not even predicted where they must not be known
        self.evaluated_splits: tuple[str, ...] = (
            ("calibration",) if spec.score_on == "calibration" else ("calibration", "validation")
        )
        if not spec.split.is_scored:
            self.evaluated_splits = ("validation",) if spec.split.fold else ()

    def run(self) -> RunRecord:
        """Do the whole trial and return its record, with status "ok", or "pruned" where it was stopped early.

        A trial that is trained on all images ends with its training.

        Raises:
            HarnessError, Diverged, Interrupted: see harness.results.status. Anything else is a crash of the method.
        """
        try:
            trace = self.train()
        except Pruned as pruned:
            return self.unscored_record("pruned", str(pruned), pruned.trace)
        if self.spec.split.fit_all:
            return self.unscored_record("ok", "", trace)
        with self.evaluation_time.running():
            predictions = self.predict()
        self.progress.report(Progress("scoring", fraction=1.0))
        with self.evaluation_time.running():
            rule, scores = self.score(predictions)
            last_iou = self.score_subset(predictions)[1]
        if self.events is not None and rule is not None:
            self.events.pictures(len(trace), self.data.dataset, predictions[self.spec.score_on], rule)
        losses = trace.final_losses()
        return RunRecord.from_spec(
            self.spec,
            "ok",
            start=spec_start(self.spec, self.model),
            data=self.data.facts,
            rule=rule,
            scores=scores,
            cost=self.cost(trace),
            learning_curve=_learning_curve(trace, last_iou),
            final_losses=losses,
            total_loss=sum(losses.values()) if losses else None,
            log="log.txt",
            machine={**machine_facts(), "arithmetic": device.arithmetic(self.spec.device, self.spec.precision)},
        )

    def train(self) -> Trace:
        """Train until the budget is used up. Writes weights, curve.csv and task.json."""
        spec = self.spec
        trainer = Trainer(
            model=self.model,
            stream=self._training_stream(),
            training=spec.preset.training,
            budget=Budget.parse(spec.budget),
            device=spec.device,
            folder=self.folder,
            progress=self.progress,
            micro_batches=spec.micro_batches,
            precision=spec.precision,
            checkpoint_seconds=spec.checkpoint_seconds,
            curve_fractions=spec.preset.evaluation.curve_fractions,
            evaluate=lambda: self.evaluate_subset(trainer),
            # tuning compares trials by these points, so that none may be left out
            evaluation_share=0.1 if spec.earlier_looks is None else math.inf,
            should_prune=None if spec.earlier_looks is None else partial(falls_behind, spec.earlier_looks),
            on_losses=None if self.events is None else self.events.steps,
            sensors=training_sensors(spec.device),
        )
        if self.unlabelled is not None:
            self.learner = add_learner(trainer, self.unlabelled, mean_cells(self.data), spec.seed)
        self.images_per_step = trainer.stream.images_per_step
        trace = trainer.run()
        write_text_atomic(self.folder / CURVE, trace.to_csv())
        save_task(self.folder, self.task)
        return trace

    def evaluate_subset(self, trainer: Trainer) -> float:
        """IoU of the model as it is on a few images: a point of the learning curve.

        Raises EvaluationTooSlow where that takes more time than the trainer allows, Interrupted on request.
        """

        def check(done: float, milliseconds: float) -> None:
            self._check_stop(done, milliseconds)
            trainer.check_evaluation_time()

        self.progress.report_phase("validating")
        predictions: dict[str, dict[str, Predictions]] = {}
        with self.evaluation_time.running():
            for split in self.evaluated_splits:
                predictions[split] = self._predict(self.model, self._subset(split), check).found
            rule, iou = self.score_subset(predictions)
        if self.events is not None:
            self.events.pictures(trainer.step, self.data.dataset, predictions[self.spec.score_on], rule)
        return iou

    def predict(self) -> dict[str, dict[str, Predictions]]:
        """Predict the images of the evaluated splits, and store what was found, before any rule."""
        self._counted = FlopCounter(self.model)
        self._prediction_notes: dict[str, None] = {}
        ids = {split: self.data.ids(split) for split in self.evaluated_splits}
        total, done_before = sum(map(len, ids.values())), 0
        predictions: dict[str, dict[str, Predictions]] = {}
        for split in self.evaluated_splits:

            def report(done: float, milliseconds: float, done_before: int = done_before) -> None:
                done += done_before
                left = (total - done) * milliseconds / 1000
                self.progress.report(Progress("predicting", fraction=done / total, seconds_left=left))
                self._check_stop(done, milliseconds)

            predicted = self._predict(self._counted, ids[split], report)
            predictions[split], self._milliseconds = predicted.found, predicted.milliseconds
            self._prediction_notes.update(predicted.notes)
            done_before += len(ids[split])
        write_predictions(self.folder / PREDICTIONS, predictions, self.classes)
        return predictions

    def score(self, predictions: SplitPredictions) -> tuple[PostprocessRule | None, Scores | None]:
        """Choose the rule on the calibration images, and score the images of `score_on` under it.

        Nothing of a fold: its rule is chosen from the predictions of the other folds (harness.orchestration.folds).
        """
        if self.spec.split.fold:
            return None, None
        truth = {split: self.data.truth(self.data.ids(split)) for split in self.evaluated_splits}
        rule = choose_rule(
            predictions["calibration"], truth["calibration"], self.classes, threshold=self.spec.threshold
        )
        scored = self.spec.score_on
        return rule, score(predictions[scored], truth[scored], rule, self.classes, protocol=self.spec.protocol)

    def score_subset(self, predictions: SplitPredictions) -> tuple[PostprocessRule, float]:
        """Rule and IoU from the images of the subset alone. All points of a learning curve use the same images."""
        if self.spec.split.fold:
            return self._score_halves(predictions["validation"])
        subset = {split: {i: predictions[split][i] for i in self._subset(split)} for split in self.evaluated_splits}
        truth = {split: self.data.truth(self._subset(split)) for split in self.evaluated_splits}
        rule = choose_rule(subset["calibration"], truth["calibration"], self.classes, threshold=self.spec.threshold)
        scored = self.spec.score_on
        return rule, iou_map(subset[scored], truth[scored], rule, self.classes)

    def _score_halves(self, predictions: Mapping[str, Predictions]) -> tuple[PostprocessRule, float]:
        """As score_subset, of a fold, which has no calibration images: each half's rule is chosen on the other half."""
        ids = self._subset("validation")
        halves = [{i: predictions[i] for i in half} for half in (ids[::2], ids[1::2])]
        truth, fixed = self.data.truth(ids), self.spec.threshold
        if not halves[1]:
            rule = choose_rule(halves[0], truth, self.classes, threshold=0.5 if fixed is None else fixed)
            return rule, iou_map(halves[0], truth, rule, self.classes)
        first, second = choose_rules_across(halves, truth, self.classes, fixed)
        scores = [iou_map(half, truth, rule, self.classes) for half, rule in zip(halves, (first, second), strict=True)]
        return first, float(np.average(scores, weights=[len(half) for half in halves]))

    def unscored_record(self, status: Status, reason: str, trace: Trace) -> RunRecord:
        """The record of a trial without scores: stopped early, or trained on all images."""
        cost = Cost(
            train_seconds=trace.used_seconds,
            evaluation_seconds=self.evaluation_time.seconds,
            iterations=len(trace),
            peak_host_rss=peak_rss(),
        )
        curve = _curve_points(trace)
        return RunRecord.from_spec(
            self.spec, status, reason, data=self.data.facts, cost=cost, learning_curve=curve, log="log.txt"
        )

    def cost(self, trace: Trace) -> Cost:
        """What the trial took. Call it after `predict`."""
        steps = trace.step_times()
        median = float(np.median(steps)) if len(steps) else None
        peaks = gpu_peaks(self.spec.device)
        total, trainable = parameters(self.model)
        joules, joules_of = energy_used(trace.measured, trace.used_seconds)
        counted, first = self._counted, self.data.ids(self.evaluated_splits[0])[0]
        of = "image" if counted.size == self.data.dataset.sample(first).size else "tile"
        return Cost(
            train_seconds=trace.used_seconds,
            evaluation_seconds=self.evaluation_time.seconds,
            iterations=len(trace),
            seconds_per_iteration=median,
            seconds_per_iteration_iqr=float(np.subtract(*np.percentile(steps, [75, 25]))) if len(steps) else None,
            data_wait_seconds=float(sum(trace.wait)),
            images_per_second=self.images_per_step / median if median else None,
            inference_ms_per_image=median_without_first(self._milliseconds),
            peak_host_rss=peak_rss(),
            peak_gpu_allocated=peaks.allocated if peaks else None,
            peak_gpu_reserved=peaks.reserved if peaks else None,
            peak_gpu_device=peaks.device if peaks else None,
            energy_joules=joules,
            energy_of=joules_of,
            parameters=total,
            trainable_parameters=trainable,
            flops=counted.flops,
            flops_at=f"one {of} of {counted.size[0]}x{counted.size[1]}",
            notes=[
                *conditions.condition_notes(trace.measured),
                *(self.fallbacks.notes() if self.fallbacks else ()),
                *getattr(self.model, "notes", ()),
                *self._prediction_notes,
                *(() if self.learner is None else self.learner.notes),
            ],
        )

    def _training_stream(self) -> TrainingStream:
        augments = self.recipe.augment.build(self.task)
        positions = {image_id: i for i, image_id in enumerate(self.data.dataset.ids)}
        return TrainingStream(
            images=self.data.dataset,
            indices=[positions[image_id] for image_id in self.data.splits.train],
            augments=augments if isinstance(augments, Sequence) else [augments],
            labeller=self.recipe.supervision.build(self.task),
            batch_size=self.spec.preset.training.batch,
            seed=self.spec.seed,
            scale=self.spec.preset.scale,
            scale_by_size=self.spec.preset.scale_by_size,
        )

    def _subset(self, split: str) -> tuple[str, ...]:
        """Ids of the images that the learning curve is measured on."""
        return self.data.ids(split)[: self.spec.preset.evaluation.curve_images]

    def _predict(self, model: Model, ids: tuple[str, ...], report: Callable[[float, float], None]) -> Predicted:
        minimum_score = self.spec.preset.evaluation.minimum_score
        return predict_all(
            model,
            self.data.samples(ids),
            len(self.classes),
            self.spec.device,
            minimum_score,
            report,
            self.spec.precision,
            TilingPolicy.of(self.spec.preset, self.task.largest_cell),
        )

    def _check_stop(self, done: float, milliseconds: float) -> None:
        """After each predicted image or tile, so that a request to stop takes effect within its time."""
        if self.progress.stop_requested():
            raise Interrupted(f"stopped during a prediction, {int(done)} images done; the training so far is kept")


def _curve_points(trace: Trace) -> list[CurvePoint]:
    """The points measured during training."""
    return [
        CurvePoint(fraction=fraction, seconds=seconds, iteration=int(iteration), iou_map=iou)
        for fraction, seconds, iteration, iou in trace.curve
    ]


def _learning_curve(trace: Trace, last_iou: float) -> list[CurvePoint]:
    """The points measured during training, and the one at its end."""
    end = CurvePoint(fraction=1.0, seconds=trace.used_seconds, iteration=len(trace), iou_map=last_iou)
    return [*_curve_points(trace), end]


def spec_start(spec: TrialSpec, model: Model) -> StartFacts | None:
    """The weights that the trial started from, with what the model took over."""
    return spec.start and spec.start.with_loaded(getattr(model, "loaded", None))


def limit_compiling(model: Model, budget: Budget) -> None:
    """No network is compiled for longer than it is trained, where the budget is a time."""
    if hasattr(model, "compile_limit") and budget.kind == "seconds":
        model.compile_limit = budget.amount
