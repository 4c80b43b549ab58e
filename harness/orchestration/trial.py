"""One trial from specification to record: train, predict, score. Runs in the worker's process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from harness.config.budget import Budget
from harness.config.trial_spec import TrialSpec, recipe_from_json
from harness.contract import Model, Predictions
from harness.evaluation.calibration import choose_rule
from harness.evaluation.prediction_file import PREDICTIONS, write_predictions
from harness.evaluation.schema import PostprocessRule
from harness.evaluation.scorer import iou_map, score
from harness.fileio import write_text_atomic
from harness.inference.predictor import predict_all, typical
from harness.inference.trained_model import save_task
from harness.monitoring import conditions
from harness.monitoring.energy import energy_used
from harness.monitoring.flops import FlopCounter, parameters
from harness.monitoring.machine import machine_facts
from harness.monitoring.progress import Progress, ProgressPipe
from harness.monitoring.training import training_sensors
from harness.orchestration.prepared_data import PreparedData, prepare_planned_data, task_of
from harness.platform.memory import gpu_peaks, peak_rss, reset_gpu_peaks
from harness.results.schema import Cost, CurvePoint, RunRecord
from harness.results.status import Interrupted
from harness.tracking.tensorboard import EVENTS, EventFiles
from harness.training import device
from harness.training.clock import Stopwatch
from harness.training.stream import TrainingStream
from harness.training.trace import CURVE, Trace
from harness.training.trainer import Trainer


def perform(spec: TrialSpec, folder: Path, progress: ProgressPipe) -> RunRecord:
    """Work through the trial and give its record with status "ok".

    Raises HarnessError, Diverged or Interrupted; whatever else escapes is the method's crash.
    """
    progress.report(Progress("loading"))
    setting = prepare_planned_data(spec)
    task = task_of(setting, spec)
    recipe = recipe_from_json(spec.recipe)
    device.select_device(spec.device)
    device.keep_freed_memory()
    device.seed(spec.seed, spec.deterministic)
    reset_gpu_peaks(spec.device)

    model: Model = recipe.engine.build(recipe, task)
    augments = recipe.augment.build(task)
    stream = TrainingStream(
        images=setting.dataset,
        indices=_indices(setting, setting.splits.train),
        augments=augments if isinstance(augments, Sequence) else [augments],
        labeller=recipe.supervision.build(task),
        batch_size=spec.preset.training.batch,
        seed=spec.seed,
    )
    evaluation = Stopwatch()
    events = EventFiles(folder / EVENTS, spec.preset.training.batch) if spec.tensorboard else None

    @evaluation.running()
    def glance() -> float:
        return _evaluate_subset(model, setting, spec, progress, events, len(trainer.trace))

    trainer = Trainer(
        model=model,
        stream=stream,
        training=spec.preset.training,
        budget=Budget.parse(spec.budget),
        device=spec.device,
        folder=folder,
        progress=progress,
        micro_batches=spec.micro_batches,
        checkpoint_seconds=spec.checkpoint_seconds,
        curve_fractions=spec.preset.evaluation.curve_fractions,
        evaluate=glance,
        on_losses=None if events is None else events.steps,
        sensors=training_sensors(spec.device),
    )
    trace = trainer.run()
    write_text_atomic(folder / CURVE, trace.to_csv())
    save_task(folder, task)

    counted = FlopCounter(model)
    with evaluation.running():
        found, times = _predict(counted, setting, spec, progress)
        write_predictions(folder / PREDICTIONS, found, setting.dataset.classes)
    progress.report(Progress("scoring", fraction=1.0))
    with evaluation.running():
        calibration = setting.truth(setting.splits.calibration)
        rule = choose_rule(found["calibration"], calibration, setting.dataset.classes, threshold=spec.threshold)
        scores = score(found["validation"], setting.truth(setting.splits.validation), rule, setting.dataset.classes)
        last = _score_subset(found, setting, spec)[1]
    if events is not None:
        events.pictures(len(trace), setting.dataset, found["validation"], rule)
    cost = _cost(counted, trace, evaluation.seconds, times, setting, spec)
    losses = trace.final_losses()
    return RunRecord.from_spec(
        spec,
        "ok",
        data=setting.facts,
        rule=rule,
        scores=scores,
        cost=cost,
        learning_curve=_learning_curve(trace, last),
        final_losses=losses,
        total_loss=sum(losses.values()) if losses else None,
        log="log.txt",
        machine={**machine_facts(), "arithmetic": device.arithmetic(spec.device)},
    )


def _indices(setting: PreparedData, ids: Sequence[str]) -> list[int]:
    place = {image_id: i for i, image_id in enumerate(setting.dataset.ids)}
    return [place[image_id] for image_id in ids]


def _evaluate_subset(
    model: Model, setting: PreparedData, spec: TrialSpec, progress: ProgressPipe, events: EventFiles | None, step: int
) -> float:
    """IoU of the model as it is, for the curve."""
    progress.report(Progress("looking at validation images"))
    evaluation, classes = spec.preset.evaluation, setting.dataset.classes
    found: dict[str, dict[str, Predictions]] = {}
    for name in ("calibration", "validation"):
        samples = setting.samples(_subset_ids(setting, spec, name))
        found[name], _ = predict_all(model, samples, len(classes), spec.device, evaluation.minimum_score)
    rule, iou = _score_subset(found, setting, spec)
    if events is not None:
        events.pictures(step, setting.dataset, found["validation"], rule)
    return iou


def _subset_ids(setting: PreparedData, spec: TrialSpec, split: str) -> tuple[str, ...]:
    return getattr(setting.splits, split)[: spec.preset.evaluation.curve_images]


def _score_subset(
    found: Mapping[str, Mapping[str, Predictions]], setting: PreparedData, spec: TrialSpec
) -> tuple[PostprocessRule, float]:
    """IoU of the first validation images, and the rule for it from as many calibration images: cheap, and the same
    all along the curve."""
    ids = {name: _subset_ids(setting, spec, name) for name in ("calibration", "validation")}
    few = {name: {i: found[name][i] for i in wanted} for name, wanted in ids.items()}
    truth, classes = {name: setting.truth(wanted) for name, wanted in ids.items()}, setting.dataset.classes
    rule = choose_rule(few["calibration"], truth["calibration"], classes, threshold=spec.threshold)
    return rule, iou_map(few["validation"], truth["validation"], rule, classes)


def _predict(
    model: Model, setting: PreparedData, spec: TrialSpec, progress: ProgressPipe
) -> tuple[dict[str, dict[str, Predictions]], list[float]]:
    """Predictions of the calibration images, then of the validation images, and the milliseconds each of these took."""
    parts = {name: getattr(setting.splits, name) for name in ("calibration", "validation")}
    images, before, classes = sum(map(len, parts.values())), 0, len(setting.dataset.classes)
    found: dict[str, dict[str, Predictions]] = {}
    times: list[float] = []
    for name, ids in parts.items():

        def each(done: int, milliseconds: float, before: int = before) -> None:
            left = (images - before - done) * milliseconds / 1000
            progress.report(Progress("predicting", fraction=(before + done) / images, seconds_left=left))
            if progress.stop_requested():
                raise Interrupted(f"stopped after {before + done} of {images} images; the training is kept")

        found[name], times = predict_all(
            model, setting.samples(ids), classes, spec.device, spec.preset.evaluation.minimum_score, each
        )
        before += len(ids)
    return found, times


def _cost(
    model: FlopCounter, trace: Trace, evaluation: float, times: list[float], setting: PreparedData, spec: TrialSpec
) -> Cost:
    steps = trace.step_times()
    peaks = gpu_peaks(spec.device)
    total, trainable = parameters(model)
    # the first that is predicted (see _predict)
    first = setting.dataset.sample(setting.splits.calibration[0])
    median = float(np.median(steps)) if len(steps) else None
    joules, joules_of = energy_used(trace.measured, trace.used_seconds)
    return Cost(
        train_seconds=trace.used_seconds,
        evaluation_seconds=evaluation,
        iterations=len(trace),
        seconds_per_iteration=median,
        seconds_per_iteration_iqr=float(np.subtract(*np.percentile(steps, [75, 25]))) if len(steps) else None,
        data_wait_seconds=float(sum(trace.wait)),
        images_per_second=spec.preset.training.batch / median if median else None,
        inference_ms_per_image=typical(times),
        peak_host_rss=peak_rss(),
        peak_gpu_allocated=peaks.allocated if peaks else None,
        peak_gpu_reserved=peaks.reserved if peaks else None,
        peak_gpu_device=peaks.device if peaks else None,
        energy_joules=joules,
        energy_of=joules_of,
        parameters=total,
        trainable_parameters=trainable,
        flops=model.flops,
        flops_at=f"one image of {first.size[0]}x{first.size[1]}",
        notes=conditions.notes(trace.measured),
    )


def _learning_curve(trace: Trace, last: float) -> list[CurvePoint]:
    """With the IoU at the end as its last point."""
    points = [
        CurvePoint(fraction=fraction, seconds=seconds, iteration=int(iteration), iou_map=iou)
        for fraction, seconds, iteration, iou in trace.curve
    ]
    end = CurvePoint(fraction=1.0, seconds=trace.used_seconds, iteration=len(trace), iou_map=last)
    return [*points, end]
