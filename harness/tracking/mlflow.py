"""Logs trials to MLflow from their records: each trial is one MLflow run, logged as a whole when it has ended.

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
"""MLflow's own default: a file in the current folder."""
POINTS = 1000
"""The most points that are logged of a curve, evenly spaced. The whole curve is an artifact."""
IDENTITY = "harness.record"
"""The tag that identifies a trial: its key and the time it ended. Scoring it again changes neither."""

_LOCK = ".mlflow.lock"
_LOCK_SECONDS = 60.0
_BATCH = 100
"""The most parameters that MLflow takes in one request. It takes ten times as many metrics."""
_VALUE_LIMIT = 500
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    # MLflow's defaults would delay a run by minutes where the server does not answer.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}


def checked_uri(uri: str) -> str:
    """The URI for MLflow. An empty one stands for MLFLOW_TRACKING_URI, or for DEFAULT where that is not set.

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
    """Logs the trials of one run's folder, in an experiment that has the folder's name."""

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
        except Exception as error:  # every kind of store raises errors of its own
            raise HarnessError(
                f"--mlflow: {urlsplit(uri).scheme or uri} cannot be used: {one_line(error)}; without --mlflow the run "
                "goes as ever, and the same command with it logs what is there"
            ) from error

    def track(self, folder: Path, record: RunRecord) -> str:
        """Log a trial that has ended, unless it is logged already. Returns a line where that fails, else ""."""
        from filelock import FileLock

        if record.status != "ok" and record.status not in FAILED:
            return ""
        try:
            # Otherwise two runs on one folder could both find that it is not logged yet.
            with FileLock(self._run_dir / _LOCK).acquire(timeout=_LOCK_SECONDS):
                if not self._is_logged(record):
                    self._log(folder, record)
        except Exception as error:  # a tracking server must never end a run
            return f"{folder.name} is not logged to MLflow: {one_line(error)}; the same command logs it later"
        return ""

    def _is_logged(self, record: RunRecord) -> bool:
        """Whether the trial is logged completely. What an interrupted attempt has left is removed."""
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
    """What a trial's result depends on, by name: the recipe slot by slot, the settings, the data."""
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
    """Scores and costs by name, without those that are not known or not finite."""
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
        yield Metric(name, value, when, record.cost.iterations or 0)


def _curves(folder: Path, record: RunRecord, begin: int) -> Iterator[Metric]:
    """Losses, learning rate and images a second, named as in TensorBoard's files, and the validation IoU."""
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
    """The text without characters that MLflow does not accept in a name."""
    return re.sub(r"[^A-Za-z0-9_. -]", "_", text)[:200].strip(".") or "_"


def _milliseconds(time: str) -> int:
    return round(1000 * datetime.fromisoformat(time).timestamp())
