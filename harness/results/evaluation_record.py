"""The record of a trained model on other labelled data: what it was trained on, what it was tested on, its scores.

Layout, below the folder of the run that trained the model:

    evaluations/<trial>--on-<kind>-<fingerprint>[--recalibrated]/
        record.json            an EvaluationRecord
        predictions.json.gz    calibration images, where the rule was chosen anew, and tested images, before any rule
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import HarnessError
from harness.evaluation.schema import PostprocessRule, Scores
from harness.fileio import write_json_atomic
from harness.redaction import redact_home
from harness.results.io import RECORD, checksum, read_json
from harness.results.schema import DataFacts
from harness.results.status import printable

EVALUATIONS = "evaluations"
SCHEMA_VERSION = 1


class EvaluationRecord(BaseModel):
    """One trained model on one other data set.

    trial_key: of the trial that trained the model. trained_on, tested_on: the splits of tested_on are "calibration",
    empty where the rule is the run's, and "validation", which is scored.
    rule_from: "run" or "recalibrated". classes_by: "name", or "one class" where the class names do not match.
    left_out: images that are not scored since the model was trained on the same pixels.
    checksum: over all other fields.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int = SCHEMA_VERSION
    trial_key: str
    method: str
    seed: int
    trained_on: DataFacts
    tested_on: DataFacts
    rule: PostprocessRule
    rule_from: Literal["run", "recalibrated"]
    classes_by: Literal["name", "one class"]
    scores: Scores
    left_out: list[str] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)
    inference_ms_per_image: float | None = None
    command: str = ""
    machine: dict[str, Any] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    git_commit: str = ""
    finished: str = ""
    checksum: str = ""


def write_evaluation(folder: Path, record: EvaluationRecord) -> EvaluationRecord:
    """Write a record with its checksum and without the home folder's path. Returns it as written."""
    plain: dict[str, Any] = redact_home(json.loads(record.model_dump_json(exclude={"checksum"})))
    plain["checksum"] = checksum(plain)
    write_json_atomic(folder / RECORD, plain)
    return EvaluationRecord.model_validate(plain)


def read_evaluations(run_dir: Path) -> tuple[list[EvaluationRecord], list[str]]:
    """All good records of evaluations below a run's folder, and a line for each that is not."""
    found: list[EvaluationRecord] = []
    problems: list[str] = []
    for path in sorted((run_dir / EVALUATIONS).glob(f"*/{RECORD}")):
        try:
            found.append(_read(path))
        except HarnessError as error:
            problems.append(printable(f"left aside: {error}", 1000))
    return found, problems


def _read(path: Path) -> EvaluationRecord:
    plain = read_json(path)
    if not isinstance(plain, dict) or plain.get("schema_version") != SCHEMA_VERSION:
        raise HarnessError(f"{path}: not the record of an evaluation that this harness reads")
    if plain.get("checksum") != checksum(plain):
        raise HarnessError(f"{path}: its checksum is wrong: the record is damaged or was edited by hand")
    try:
        return EvaluationRecord.model_validate(plain)
    except ValidationError as error:
        first = error.errors()[0]
        where = printable(".".join(str(step) for step in first["loc"]))
        raise HarnessError(f"{path}: {where}: {first['msg']}") from error
