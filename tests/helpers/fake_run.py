"""Writes the folder of a run in seconds, without training: predictions are annotations made worse.

python fake_run.py OUT [SOURCE]     writes a run of all methods below and three seeds
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from harness.catalog import load_catalog
from harness.config.preset import load_preset
from harness.contract import Init, Predictions, Sample
from harness.evaluation.calibration import choose_rule
from harness.evaluation.prediction_file import PREDICTIONS, write_predictions
from harness.evaluation.scorer import SCORING_VERSION, score
from harness.fileio import write_text_atomic
from harness.masks.crops import CropMasks
from harness.orchestration.plan import Contender, PlannedTrial, make_plan
from harness.orchestration.prepared_data import PreparedData, prepare_data
from harness.reporting.row import Row
from harness.results.io import RECORD, write_record
from harness.results.schema import Cost, CurvePoint, RunRecord
from harness.stacks import resolve

OUT_OF_MEMORY = "out of memory: 8.0 of 8.0 GiB in use at step 12"
HOSTILE = "<script>alert(1)</script>"
STEPS = 200
LOSSES = {"loss_cls": 1.3, "loss_box_reg": 0.9, "loss_mask": 0.69}


@dataclass(frozen=True)
class FakeMethod:
    """Results of a method.

    Attributes:
        skill: 0 to 1.
        seconds: of training.
        gibibytes: of memory.
        milliseconds: to predict one image.
    """

    name: str
    skill: float
    seconds: float
    gibibytes: float
    milliseconds: float
    method: str = ""
    status: str = "ok"
    reason: str = ""
    budget: str = "200it"


METHODS = (
    FakeMethod("mask_rcnn", 0.60, 74, 2.1, 110),
    FakeMethod("copy_paste", 0.72, 81, 2.2, 112),
    FakeMethod("container", 0.74, 148, 3.4, 160),
    FakeMethod("spinenet", 0.58, 121, 3.0, 175),
    FakeMethod("pointsup", 0.52, 70, 1.9, 108),
    FakeMethod("deepmac", 0.66, 133, 4.2, 240),
    FakeMethod("mask_rcnn_r101", 0.65, 104, 2.8, 145),
    FakeMethod("container+copy_paste", 0.80, 155, 3.5, 162),
    FakeMethod("mask_rcnn_x101", 0.0, 60, 8.0, 0, status="oom", reason=OUT_OF_MEMORY),
    FakeMethod("torchvision_starter", 0.7, 300, 2.5, 120, budget="400it"),
)


def write_run(
    run_dir: Path, methods: Iterable[FakeMethod] = METHODS, seeds: int = 3, source: str = "synthetic:images=12,size=96"
) -> Path:
    """Records, curves, predictions and specifications of all methods and seeds. Returns run_dir."""
    made = list(methods)
    preset = load_preset("smoke")
    prepared = prepare_data(source, False, preset)
    catalog = load_catalog()
    contenders = [
        Contender(resolve(catalog, m.method or m.name, "small", Init("scratch")), preset, m.budget, m.name)
        for m in made
    ]
    plan = make_plan(
        contenders, range(seeds), [prepared.facts], scoring_version=SCORING_VERSION,
        command="python -m harness run --methods all --seeds 3", skip_bad=False, device="cpu", deterministic=False,
    )  # fmt: skip
    by_name = {m.name: m for m in made}
    # read once: listing the installed packages takes a second
    facts = RunRecord.from_spec(plan.trials[0].spec, "ok").model_dump(
        include={"machine", "versions", "git_commit", "finished"}
    )
    for trial in plan.trials:
        _write_trial(run_dir, trial, by_name[trial.spec.method], prepared, facts)
    return run_dir


def _write_trial(
    run_dir: Path, trial: PlannedTrial, made: FakeMethod, prepared: PreparedData, facts: Mapping[str, Any]
) -> None:
    folder = trial.folder(run_dir)
    folder.mkdir(parents=True)
    told = trial.spec.model_copy(update={"source": prepared.dataset.source})
    write_text_atomic(folder / "trial.json", told.model_dump_json())
    rng = np.random.default_rng([trial.spec.seed, *made.name.encode()])
    spec = trial.spec.model_dump(
        include={"key", "method", "seed", "budget", "command", "recipe", "slots_changed", "labels", "baseline"}
    )
    record: dict[str, Any] = {
        **facts,
        **spec,
        "status": made.status,
        "reason": made.reason,
        "preset": trial.spec.preset.name,
        "settings": trial.spec.settings(),
        "data": prepared.facts,
        "log": f"trials/{trial.name}/log.txt",
    }
    if made.status == "ok":
        record |= _scored(folder, made, prepared, rng)
        write_text_atomic(folder / "curve.csv", _curve(made, rng))
    write_record(folder / RECORD, RunRecord(**record))


def _scored(folder: Path, made: FakeMethod, prepared: PreparedData, rng: np.random.Generator) -> dict[str, Any]:
    skill = made.skill + rng.normal(0, 0.01)
    splits: dict[str, Mapping[str, Predictions]] = {
        name: {i: worsened(prepared.dataset.sample(i), skill, rng) for i in prepared.facts.splits[name]}
        for name in ("calibration", "validation")
    }
    classes = prepared.facts.classes
    truth = prepared.truth(prepared.dataset.ids)
    rule = choose_rule(splits["calibration"], truth, classes)
    scores = score(splits["validation"], truth, rule, classes)
    write_predictions(folder / PREDICTIONS, splits, classes)
    seconds = made.seconds * rng.normal(1, 0.02)
    fractions = (0.1, 0.25, 0.5, 0.75, 1.0)
    curve = [
        CurvePoint(fraction=f, seconds=f * seconds, iteration=round(f * STEPS), iou_map=scores.iou_map * f**0.4)
        for f in fractions
    ]
    cost = Cost(
        train_seconds=seconds,
        iterations=STEPS,
        seconds_per_iteration=seconds / STEPS,
        images_per_second=2 * STEPS / seconds,
        inference_ms_per_image=made.milliseconds * rng.normal(1, 0.02),
        peak_host_rss=int(made.gibibytes * 2**30),
        parameters=int(2e7 * made.gibibytes),
    )
    return {"rule": rule, "scores": scores, "learning_curve": curve, "cost": cost, "total_loss": 1.8 - skill}


def _curve(made: FakeMethod, rng: np.random.Generator) -> str:
    lines = [",".join(["step", "seconds", "data_wait", "learning_rate", *LOSSES])]
    for step in range(1, STEPS + 1):
        falls = 1 - made.skill * (1 - np.exp(-4 * step / STEPS))
        losses = [start * falls * rng.normal(1, 0.08) for start in LOSSES.values()]
        values = [step * made.seconds / STEPS, 0.01, 1e-3, *losses]
        lines.append(",".join([str(step), *(f"{value:.6g}" for value in values)]))
    return "\n".join(lines) + "\n"


def with_records(row: Row, records: Iterable[RunRecord]) -> Row:
    """The row as if it had these records."""
    return replace(row, provenance=replace(row.provenance, records=tuple(records)))


def worsened(sample: Sample, skill: float, rng: np.random.Generator) -> Predictions:
    """The annotated cells as a method of that skill might find them: missed, moved, merged, split and made up."""
    masks = sample.instances.masks
    assert masks is not None
    height, width = sample.size
    lack = 1 - skill
    planes, scores = [], []
    for i in range(len(masks)):
        kind = rng.random()
        if kind < 0.45 * lack:
            continue
        plane = _moved(_plane(masks, i, sample.size), 1 + 3 * lack, rng)
        if kind > 1 - 0.12 * lack and i + 1 < len(masks):
            plane |= _plane(masks, i + 1, sample.size)
        if kind > 1 - 0.24 * lack and kind < 1 - 0.12 * lack:
            x0, _, x1, _ = masks.boxes[i]
            half = plane.copy()
            half[:, (x0 + x1) // 2 :] = 0
            plane[:, : (x0 + x1) // 2] = 0
            planes.append(half)
            scores.append(rng.uniform(0.5, 0.9))
        planes.append(plane)
        scores.append(rng.uniform(0.55, 1.0))
    for _ in range(rng.poisson(0.5 * lack * len(masks))):
        plane = np.zeros(sample.size, np.uint8)
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        axes = (int(rng.integers(4, 12)), int(rng.integers(3, 7)))
        cv2.ellipse(plane, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
        planes.append(plane)
        scores.append(rng.uniform(0.05, 0.8))
    there = [k for k, plane in enumerate(planes) if plane.any()]
    found = CropMasks.from_planes(np.stack([planes[k] for k in there])) if there else CropMasks.empty()
    label = int(sample.instances.labels[0])
    return Predictions(sample.size, found, np.asarray(scores, np.float32)[there], np.full(len(there), label, np.int64))


def _plane(masks: CropMasks, i: int, size: tuple[int, int]) -> Any:
    plane = np.zeros(size, np.uint8)
    x0, y0, x1, y1 = masks.boxes[i]
    plane[y0:y1, x0:x1] = masks.crop(i)
    return plane


def _moved(plane: Any, by: float, rng: np.random.Generator) -> Any:
    shift = np.float32([[1, 0, rng.normal(0, by / 2)], [0, 1, rng.normal(0, by / 2)]])
    moved = cv2.warpAffine(plane, shift, plane.shape[::-1], flags=cv2.INTER_NEAREST)
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    change = cv2.dilate if rng.random() < 0.5 else cv2.erode
    return change(moved, brush) if rng.random() < by / 4 else moved


if __name__ == "__main__":
    write_run(Path(sys.argv[1]), source=sys.argv[2] if len(sys.argv) > 2 else "synthetic:images=48,size=256")
