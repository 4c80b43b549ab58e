"""Masks that another tool has made for a run's images: scored as the others, and written as a row of its table."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.config.protocol import ScoringProtocol
from harness.config.trial_spec import TrialSpec, trial_key
from harness.contract import Predictions
from harness.data.given_masks import GivenMasks, read_given_masks
from harness.errors import HarnessError
from harness.evaluation.calibration import choose_rule
from harness.evaluation.ground_truth import GroundTruths
from harness.evaluation.prediction_file import PREDICTIONS, write_predictions
from harness.evaluation.schema import PostprocessRule, Scores
from harness.evaluation.scorer import SCORING_VERSION, score
from harness.evaluation.swapped import swapped_images
from harness.fileio import make_folder, write_json_atomic
from harness.orchestration.plan import folder_name
from harness.orchestration.run_data import RunData, load_run_data
from harness.redaction import public_path
from harness.results.io import RECORD, TRIAL, TRIALS, read_record, write_record
from harness.results.schema import Cost, OutsideMasks, RunRecord

AS_THEY_ARE = "taken as they are"

Split = Literal["calibration", "validation"]


@dataclass(frozen=True)
class RowRequest:
    """What a user says of masks.

    Attributes:
        name: of the row.
        masks: file or folder with masks of the validation images; see harness.data.given_masks.
        calibration_masks: the same of the calibration images; needed where masks have scores.
        seed: tells several trainings of one tool apart.
        as_they_are: no rule is chosen, even where masks have scores.
        missing_are_empty: an image without masks counts as one without cells.
        training_seconds, memory: the user's word on what it cost; None where unknown. memory: bytes.
        note: the user's own words, shown below the table.
        source: which data, where the run has several.
        replace: an earlier row of the same name and seed may be replaced.
    """

    name: str
    masks: Path
    calibration_masks: Path | None = None
    seed: int = 0
    as_they_are: bool = False
    missing_are_empty: bool = False
    training_seconds: float | None = None
    memory: int | None = None
    note: str = ""
    source: str | None = None
    replace: bool = False
    command: str = ""


def add_row(run_dir: Path, request: RowRequest) -> tuple[RunRecord, list[str]]:
    """Score masks and write them into a run's folder as a trial.

    Returns:
        The record, and notes for the user.

    Raises:
        HarnessError: masks are missing, doubled, of another size or unreadable; the name is taken; or masks have
            scores and there are none for the calibration images.
    """
    data = load_run_data(run_dir, request.source)
    folder = _folder(run_dir, request)
    given: dict[Split, GivenMasks] = {"validation": _read(request.masks, "validation", data, request)}
    scored = given["validation"].scored and not request.as_they_are
    if scored and request.calibration_masks is None:
        raise HarnessError(
            f"{request.masks.name}: masks with scores need those of the calibration images too, on which the score "
            "threshold is chosen: type --calibration-masks, or --as-they-are to take all masks"
        )
    if scored and request.calibration_masks is not None:
        given["calibration"] = _read(request.calibration_masks, "calibration", data, request)
    classed = all(masks.classed for masks in given.values())
    found: dict[str, dict[str, Predictions]] = {
        split: given[split].found for split in ("calibration", "validation") if split in given
    }
    truth = data.truth()
    rule, scores = score_outside(found, truth, data.facts.classes, classed, scored, data.spec.protocol)
    outside = _outside(given, truth, request, scored, classed)
    spec = _spec(data, request, outside)
    record = RunRecord.from_spec(
        spec,
        "ok",
        preset="",
        settings={},
        data=data.facts,
        rule=rule,
        scores=scores,
        outside=outside,
        cost=_cost(request),
        machine={},
        log=f"{TRIALS}/{folder.name}/log.txt",
    )
    if folder.exists():
        shutil.rmtree(folder)
    make_folder(folder)
    write_predictions(folder / PREDICTIONS, found, data.facts.classes)
    write_json_atomic(folder / TRIAL, spec.model_dump(mode="json"))
    notes = [note for masks in given.values() for note in masks.notes] + outside.warnings
    if request.calibration_masks is not None and not scored:
        notes.append("The calibration masks are not used: without scores no threshold is chosen.")
    if not classed:
        notes.append("The masks have no classes of the data; AP, which is a mean over classes, is left out.")
    return write_record(folder / RECORD, record), notes


def score_outside(
    found: Mapping[str, Mapping[str, Predictions]],
    truth: GroundTruths,
    classes: Sequence[str],
    classed: bool,
    scored: bool,
    protocol: ScoringProtocol = "",
) -> tuple[PostprocessRule, Scores]:
    """Rule and scores of masks that another tool has made.

    Args:
        found: predictions by split and image id. "calibration" is needed only where masks are scored.
        truth: annotations of all those images.
        classes: of the data.
        classed: whether labels are classes of the data.
        scored: whether a rule is chosen. Else every mask is kept.
        protocol: a published evaluation whose scores are computed besides.
    """
    if scored:
        rule = choose_rule(found["calibration"], truth, classes)
    else:
        rule = PostprocessRule(
            score_thresholds=dict.fromkeys(classes, 0.0), min_areas=dict.fromkeys(classes, 1), chosen_on=AS_THEY_ARE
        )
    scores = score(found["validation"], truth, rule, classes, protocol=protocol)
    if not classed:
        by_class = [name for name in Scores.model_fields if name.startswith("ap") or name == "boundary_ap"]
        scores = scores.model_copy(update=dict.fromkeys(by_class))
    return rule, scores


def _folder(run_dir: Path, request: RowRequest) -> Path:
    folder = run_dir / TRIALS / folder_name(request.name, request.seed)
    if not request.name.isprintable() or not request.name.strip():
        raise HarnessError(f"--name {request.name!r} is no name for a row")
    if folder.exists():
        try:
            is_row = bool(read_record(folder / RECORD).outside)
        except HarnessError:
            is_row = False
        if not is_row:
            raise HarnessError(f"{folder.name} is a trial of the run; give another --name")
        if not request.replace:
            raise HarnessError(f"{folder.name} is there already; --replace puts these masks in its place")
    return folder


def _read(path: Path, split: str, data: RunData, request: RowRequest) -> GivenMasks:
    if not path.exists():
        raise HarnessError(f"there is no {path}; give the masks of the {split} images")
    sizes = {image_id: data.dataset.sample(image_id).size for image_id in data.facts.splits[split]}
    return read_given_masks(path, sizes, data.dataset.ids, data.facts.classes, request.missing_are_empty)


def _outside(
    given: Mapping[Split, GivenMasks], truth: GroundTruths, request: RowRequest, scored: bool, classed: bool
) -> OutsideMasks:
    paths = {"validation": request.masks, "calibration": request.calibration_masks or request.masks}
    return OutsideMasks(
        given={split: public_path(str(paths[split])) for split in given},
        sha256={split: masks.sha256 for split, masks in given.items()},
        scored=scored,
        classed=classed,
        note=request.note,
        warnings=[
            f"masks given for {image_id} fit {other} far better; were files swapped?"
            for masks in given.values()
            for image_id, other in swapped_images(masks.found, truth)
        ],
    )


def _spec(data: RunData, request: RowRequest, outside: OutsideMasks) -> TrialSpec:
    """A specification that names the data, so that predictions can be scored and drawn again. It trains nothing."""
    key = trial_key(
        outside=outside.sha256,
        method=request.name,
        seed=request.seed,
        data=data.facts.fingerprint,
        split=data.facts.split_fingerprint,
        scoring=SCORING_VERSION,
    )
    blank: dict[str, object] = {
        "recipe": {},
        "slots_changed": [],
        "labels": "",
        "budget": "",
        "threshold": None,
        "tensorboard": False,
    }
    own = {"key": key, "method": request.name, "seed": request.seed, "command": request.command}
    return data.spec.model_copy(update={**blank, **own})


def _cost(request: RowRequest) -> Cost:
    said = {"training time": request.training_seconds, "memory": request.memory}
    words = [what for what, value in said.items() if value is not None]
    notes = [f"{' and '.join(words)} of {request.name}: the user's word, not measured here"] if words else []
    return Cost(train_seconds=request.training_seconds, iterations=None, peak_host_rss=request.memory, notes=notes)
