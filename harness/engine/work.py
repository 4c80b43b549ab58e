"""One cell from specification to record: train, predict, score. Runs in the worker's process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from harness.contract import Model, Predictions
from harness.engine import device
from harness.engine.budget import Budget
from harness.engine.checkpoint import save_weights
from harness.engine.event_files import EVENTS, EventFiles
from harness.engine.predictor import predict_all, typical
from harness.engine.setting import Setting, setting_of, task_of
from harness.engine.stream import TrainingStream
from harness.engine.trace import Trace
from harness.engine.trained import save_task
from harness.engine.trainer import Trainer
from harness.measure.flops import flops_of_prediction, parameters
from harness.measure.machine import machine_facts
from harness.measure.memory import gpu_peaks, peak_rss, reset_gpu_peaks
from harness.runs.files import write_text_atomic
from harness.runs.new_record import new_record
from harness.runs.outcomes import Interrupted
from harness.runs.progress import Progress, ProgressPipe
from harness.runs.record import Cost, CurvePoint, RunRecord, Scores
from harness.runs.spec import CellSpec, recipe_from_json
from harness.scoring.calibrate import choose_rule
from harness.scoring.score import iou_map, score
from harness.scoring.store import PREDICTIONS, write_predictions

CURVE = "curve.csv"


def perform(spec: CellSpec, folder: Path, progress: ProgressPipe) -> RunRecord:
    """Work through the cell and give its record with status "ok".

    Raises HarnessError, Diverged or Interrupted; whatever else escapes is the method's crash.
    """
    progress.report(Progress("loading"))
    setting = setting_of(spec)
    task = task_of(setting, spec)
    recipe = recipe_from_json(spec.recipe)
    device.check(spec.device)
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
    events = EventFiles(folder / EVENTS, spec.preset.training.batch) if spec.tensorboard else None
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
        evaluate=lambda: _glance(model, setting, spec, progress, events, len(trainer.trace)),
        listen=None if events is None else events.steps,
    )
    trace = trainer.run()
    write_text_atomic(folder / CURVE, trace.to_csv())
    save_weights(folder, model.module)
    save_task(folder, task)

    found, times = _predict(model, setting, spec, progress)
    write_predictions(folder / PREDICTIONS, found, setting.dataset.classes)
    progress.report(Progress("scoring", fraction=1.0))
    calibration = setting.truth(setting.splits.calibration)
    rule = choose_rule(found["calibration"], calibration, setting.dataset.classes, threshold=spec.threshold)
    scores = score(found["validation"], setting.truth(setting.splits.validation), rule, setting.dataset.classes)
    if events is not None:
        events.pictures(len(trace), setting.dataset, found["validation"], rule)
    cost = _cost(model, trace, times, setting, spec)
    losses = trace.final_losses()
    return new_record(
        spec,
        "ok",
        data=setting.facts,
        rule=rule,
        scores=scores,
        cost=cost,
        learning_curve=_learning_curve(trace, scores),
        final_losses=losses,
        total_loss=sum(losses.values()) if losses else None,
        log="log.txt",
        machine={**machine_facts(), "arithmetic": "bfloat16" if device.has_bfloat16(spec.device) else "float32"},
    )


def _indices(setting: Setting, ids: Sequence[str]) -> list[int]:
    place = {image_id: i for i, image_id in enumerate(setting.dataset.ids)}
    return [place[image_id] for image_id in ids]


def _glance(
    model: Model, setting: Setting, spec: CellSpec, progress: ProgressPipe, events: EventFiles | None, step: int
) -> float:
    """IoU of the first validation images, with a rule from as many calibration images: cheap, for the curve alone."""
    progress.report(Progress("looking at validation images"))
    count, classes = spec.preset.evaluation.curve_images, setting.dataset.classes
    looked: list[tuple[Mapping[str, Predictions], tuple[str, ...]]] = []
    minimum_score = spec.preset.evaluation.minimum_score
    for ids in (setting.splits.calibration[:count], setting.splits.validation[:count]):
        found, _ = predict_all(model, setting.samples(ids), len(classes), spec.device, minimum_score)
        looked.append((found, ids))
    (calibration, calibration_ids), (validation, validation_ids) = looked
    rule = choose_rule(calibration, setting.truth(calibration_ids), classes, threshold=spec.threshold)
    if events is not None:
        events.pictures(step, setting.dataset, validation, rule)
    return iou_map(validation, setting.truth(validation_ids), rule, classes)


def _predict(
    model: Model, setting: Setting, spec: CellSpec, progress: ProgressPipe
) -> tuple[dict[str, dict[str, Predictions]], list[float]]:
    """Predictions of the calibration and validation images, and the milliseconds each of the latter took."""
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


def _cost(model: Model, trace: Trace, times: list[float], setting: Setting, spec: CellSpec) -> Cost:
    steps = trace.step_times()
    peaks = gpu_peaks(spec.device)
    total, trainable = parameters(model)
    first = setting.dataset.sample(setting.splits.calibration[0])
    median = float(np.median(steps)) if len(steps) else None
    return Cost(
        train_seconds=trace.used_seconds,
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
        parameters=total,
        trainable_parameters=trainable,
        flops=flops_of_prediction(model, first.image),
        flops_at=f"one image of {first.size[0]}x{first.size[1]}",
    )


def _learning_curve(trace: Trace, scores: Scores) -> list[CurvePoint]:
    points = [
        CurvePoint(fraction=fraction, seconds=seconds, iteration=int(iteration), iou_map=iou)
        for fraction, seconds, iteration, iou in trace.curve
    ]
    end = CurvePoint(fraction=1.0, seconds=trace.used_seconds, iteration=len(trace), iou_map=scores.iou_map)
    return [*points, end]
