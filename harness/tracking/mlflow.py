"""Trials in MLflow, from their records: each is one MLflow run, logged whole once its trial has ended.

From records and not as training goes on (TensorBoard's event files do that): a trial that was killed and resumed is one
run all the same, and a tracking server that is slow or gone costs the time between two trials, never a step or a row.
A trial that is not logged is told in one line, and logged by the next run of the same command.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from harness.errors import HarnessError
from harness.results.io import RECORD
from harness.results.schema import RunRecord
from harness.results.status import FAILED, one_line
from harness.training.trace import CURVE, Trace

if TYPE_CHECKING:
    from mlflow.entities import Metric

DEFAULT = "sqlite:///mlflow.db"
"""Where MLflow itself keeps runs if nothing else is said: a file in the current folder."""
POINTS = 1000
"""Steps of a curve that are logged at most, evenly spaced; the whole curve is an artifact."""
IDENTITY = "harness.record"
"""The tag by which a trial is known again: its key and when it ended, which a new scoring leaves alone."""

_LOCK = ".mlflow.lock"
_LOCK_SECONDS = 60.0
_BATCH = 100
"""MLflow takes so many parameters, and ten times as many metrics, at once."""
_VALUE_LIMIT = 500
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    # Its own would hold a run up for minutes where the server is gone.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}


def checked_uri(uri: str) -> str:
    """As MLflow takes it; "" means MLFLOW_TRACKING_URI, or DEFAULT where that is not set.

    Raises HarnessError where a package for it is missing, or it holds a password.
    """
    if "@" in urlsplit(uri).netloc:
        raise HarnessError(
            "--mlflow: a URI with a password would be written into the records, with the command; "
            "set MLFLOW_TRACKING_URI to it and type --mlflow alone"
        )
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI", "") or DEFAULT
    needed = {"mlflow": "mlflow-skinny"}
    if urlsplit(uri).scheme not in ("", "file", "http", "https"):
        needed |= {"sqlalchemy": "sqlalchemy", "alembic": "alembic"}
    missing = [package for module, package in needed.items() if find_spec(module) is None]
    if missing:
        raise HarnessError(f"--mlflow needs more packages; type: pip install {' '.join(missing)}")
    return uri


class MlflowLog:
    """The runs of one run's folder, in the experiment of its name."""

    def __init__(self, uri: str, run_dir: Path) -> None:
        """uri: as checked_uri gives it. Raises HarnessError where MLflow cannot be reached."""
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        from mlflow.tracking import MlflowClient

        self._run_dir, name = run_dir, run_dir.resolve().name
        try:
            self._client = MlflowClient(tracking_uri=uri)
            known = self._client.get_experiment_by_name(name)
            self._experiment = known.experiment_id if known else self._client.create_experiment(name)
        except Exception as error:  # each of its stores has errors of its own
            raise HarnessError(
                f"--mlflow: {urlsplit(uri).scheme or uri} cannot be used: {one_line(error)}; without --mlflow the run "
                "goes as ever, and the same command with it logs what is there"
            ) from error

    def track(self, folder: Path, record: RunRecord) -> str:
        """Log a trial of that folder, unless it is logged already or has not run to an end; a line where that fails."""
        from filelock import FileLock

        if record.status != "ok" and record.status not in FAILED:
            return ""
        try:
            # Two runs on one folder would both find that it is not logged yet.
            with FileLock(self._run_dir / _LOCK).acquire(timeout=_LOCK_SECONDS):
                if not self._is_logged(record):
                    self._log(folder, record)
        except Exception as error:  # nothing that a tracking server does may end a run
            return f"{folder.name} is not logged to MLflow: {one_line(error)}; the same command logs it later"
        return ""

    def _is_logged(self, record: RunRecord) -> bool:
        """Whether it is there whole; what an attempt has left that was broken off is removed."""
        found = self._client.search_runs([self._experiment], f"tags.`{IDENTITY}` = '{_identity(record)}'")
        for run in found:
            if run.info.status == "RUNNING":
                self._client.delete_run(run.info.run_id)
        return any(run.info.status != "RUNNING" for run in found)

    def _log(self, folder: Path, record: RunRecord) -> None:
        from mlflow.entities import Param

        begin, end = _milliseconds(record.started), _milliseconds(record.finished)
        tags = {IDENTITY: _identity(record), **_tags(record)}
        run = self._client.create_run(self._experiment, start_time=begin, tags=tags, run_name=folder.name)
        run_id = run.info.run_id
        params = [Param(name, value) for name, value in parameters(record).items()]
        for k in range(0, len(params), _BATCH):
            self._client.log_batch(run_id, params=params[k : k + _BATCH])
        numbers = [*_finals(record, end), *_curves(folder, record, begin)]
        for k in range(0, len(numbers), 10 * _BATCH):
            self._client.log_batch(run_id, metrics=numbers[k : k + 10 * _BATCH])
        for name in (RECORD, CURVE):
            if (folder / name).is_file():
                self._client.log_artifact(run_id, str(folder / name))
        self._client.set_terminated(run_id, "FINISHED" if record.status == "ok" else "FAILED", end_time=end)


def parameters(record: RunRecord) -> dict[str, str]:
    """What decides a trial's result, by name: the recipe slot by slot, the settings, the data."""
    facts: dict[str, Any] = {name: getattr(record, name) for name in ("method", "seed", "preset", "budget", "labels")}
    for slot, part in record.recipe.items():
        options = f" {json.dumps(part['options'], sort_keys=True)}" if part.get("options") else ""
        facts[f"recipe.{slot}"] = f"{part['name']}{options}"
    if record.data is not None:
        for name in ("source", "fingerprint", "split_fingerprint", "images", "cells"):
            facts[f"data.{name}"] = getattr(record.data, name)
    if record.scores is not None:
        facts["scoring_version"] = record.scores.scoring_version
    facts.update(_flat(record.settings))
    return {_name(name): str(value)[:_VALUE_LIMIT] for name, value in facts.items()}


def metrics(record: RunRecord) -> dict[str, float]:
    """Scores and costs at the end, by name; what is not known or not finite is left out."""
    scores = record.scores.model_dump() if record.scores else {}
    groups: dict[str, Mapping[str, Any]] = {
        "scores": scores,
        "iou_map of": scores.get("by_type", {}),
        "iou_map at": scores.get("by_threshold", {}),
        "errors": scores.get("errors", {}),
        "cost": {**record.cost.model_dump(), "wall_seconds": record.wall_seconds},
        "final_loss": {**record.final_losses, "total": record.total_loss},
    }
    return {
        f"{group}/{_name(name)}": float(value)
        for group, values in groups.items()
        for name, value in values.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }


def _identity(record: RunRecord) -> str:
    return f"{record.key} {record.finished}"


def _tags(record: RunRecord) -> dict[str, str]:
    facts = {"status": record.status, "reason": record.reason, "command": record.command, "commit": record.git_commit}
    facts["slots"] = ", ".join(record.slots_changed)
    return {f"harness.{name}": value for name, value in facts.items() if value}


def _finals(record: RunRecord, when: int) -> Iterator[Metric]:
    from mlflow.entities import Metric

    for name, value in metrics(record).items():
        yield Metric(name, value, when, record.cost.iterations)


def _curves(folder: Path, record: RunRecord, begin: int) -> Iterator[Metric]:
    """Losses, learning rate and images a second, as TensorBoard's files name them, and the validation IoU."""
    from mlflow.entities import Metric

    for point in record.learning_curve:
        if math.isfinite(point.iou_map):
            yield Metric("validation iou_map", point.iou_map, begin + round(1000 * point.seconds), point.iteration)
    if not (folder / CURVE).is_file():
        return
    trace, batch = Trace.from_csv((folder / CURVE).read_text(encoding="utf-8")), record.settings["training"]["batch"]
    for i in np.unique(np.linspace(0, len(trace) - 1, min(len(trace), POINTS)).round().astype(int)).tolist():
        seconds = trace.recent_step_seconds(i + 1)
        values = {f"loss/{_name(name)}": loss[i] for name, loss in trace.losses.items()}
        values |= {"learning_rate": trace.rate[i], "images_per_second": batch / seconds if seconds > 0 else math.nan}
        for name, value in values.items():
            if math.isfinite(value):
                yield Metric(name, value, begin + round(1000 * trace.seconds[i]), i + 1)


def _flat(plain: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in plain.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def _name(text: str) -> str:
    """Text with everything replaced that MLflow takes in no name."""
    return re.sub(r"[^A-Za-z0-9_. -]", "_", text)[:200].strip(".") or "_"


def _milliseconds(time: str) -> int:
    return round(1000 * datetime.fromisoformat(time).timestamp())
