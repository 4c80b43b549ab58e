"""Trials in MLflow: complete, once, and without harm to the run. Uses the real package if installed."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from harness.cli import harness
from harness.errors import HarnessError
from harness.evaluation.schema import Scores
from harness.results.schema import Cost, CurvePoint, DataFacts, RunRecord
from harness.tracking import mlflow as mlflow_log
from harness.tracking.mlflow import DEFAULT, IDENTITY, POINTS, MlflowLog, checked_uri
from harness.training.trace import Trace

ADAPTER = str(Path(__file__).parents[2] / "helpers" / "brightness_method.py")
DATA = DataFacts(
    source="synthetic",
    fingerprint="d" * 64,
    classes=["cell"],
    images=10,
    cells=100,
    splits={"train": ["a"], "calibration": ["b"], "validation": ["c"]},
    split_fingerprint="e" * 64,
)


@pytest.fixture(scope="module")
def without_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database to copy: making its tables takes MLflow seconds."""
    if any(importlib.util.find_spec(name) is None for name in ("mlflow", "sqlalchemy", "alembic")):
        pytest.skip("MLflow is not installed; pip install -e '.[mlflow]'")
    from mlflow.tracking import MlflowClient

    file = tmp_path_factory.mktemp("database") / "runs.db"
    MlflowClient(tracking_uri=f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def uri(without_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    shutil.copy(without_runs, tmp_path / "runs.db")
    monkeypatch.chdir(tmp_path)  # artifacts go beside the database
    return f"sqlite:///{tmp_path}/runs.db"


def logged(uri: str, name: str = "run") -> list[Any]:
    """The runs of an experiment, the latest last."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(name)
    return [] if experiment is None else client.search_runs([experiment.experiment_id], order_by=["start_time"])


def history(uri: str, run: Any, name: str) -> list[tuple[int, float]]:
    from mlflow.tracking import MlflowClient

    return [(m.step, m.value) for m in MlflowClient(tracking_uri=uri).get_metric_history(run.info.run_id, name)]


def artifacts(uri: str, run: Any) -> list[str]:
    from mlflow.tracking import MlflowClient

    return [found.path for found in MlflowClient(tracking_uri=uri).list_artifacts(run.info.run_id)]


def record(**fields: Any) -> RunRecord:
    plain: dict[str, Any] = {
        "key": "0123456789abcdef",
        "status": "ok",
        "method": "mask_rcnn+copy_paste(p=0.5)",
        "seed": 3,
        "preset": "quick",
        "budget": "90s",
        "command": "python -m harness run",
        "recipe": {"backbone": {"name": "resnet", "factory": "a:b", "options": {"depth": 18}}},
        "settings": {"training": {"batch": 4, "learning_rate": 0.01}, "device": "cpu"},
        "data": DATA,
        "scores": Scores(scoring_version="1", iou_map=0.25, by_type={"astro, odd": 0.5, "none": math.nan}, ap=0.125),
        "cost": Cost(train_seconds=90.0, iterations=3000, peak_host_rss=10**9),
        "learning_curve": [CurvePoint(fraction=0.5, seconds=45, iteration=1500, iou_map=0.2)],
        "final_losses": {"loss_mask": 0.1},
        "total_loss": 0.1,
        "started": "2026-01-02T03:04:05+00:00",
        "finished": "2026-01-02T03:06:05+00:00",
        "wall_seconds": 120.0,
    }
    return RunRecord(**{**plain, **fields})


def trial(tmp_path: Path, steps: int = 0) -> Path:
    """A trial's folder, as a run leaves it."""
    folder = tmp_path / "run" / "trials" / "a--seed3"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "record.json").write_text("{}")
    if steps:
        trace = Trace()
        for i in range(steps):
            trace.add(0.5 * (i + 1), 0.0, 0.25, {"loss_mask": float(i), "late": math.nan if i == 0 else 1.0})
        (folder / "curve.csv").write_text(trace.to_csv())
    return folder


def test_a_trial_is_logged_whole(tmp_path: Path, uri: str) -> None:
    folder, log = trial(tmp_path, steps=3000), MlflowLog(uri, tmp_path / "run")
    begin = time.monotonic()
    assert log.track(folder, record()) == ""
    assert time.monotonic() - begin < 30
    (run,) = logged(uri)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "a--seed3")
    assert run.info.end_time - run.info.start_time == 120_000
    expected = {
        "method": "mask_rcnn+copy_paste(p=0.5)",
        "seed": "3",
        "budget": "90s",
        "recipe.backbone": 'resnet {"depth": 18}',
        "data.fingerprint": "d" * 64,
        "training.learning_rate": "0.01",
    }
    assert expected.items() <= run.data.params.items()
    expected_numbers = {
        "scores/iou_map": 0.25,
        "scores/ap": 0.125,
        "iou_map of/astro_ odd": 0.5,
        "cost/train_seconds": 90.0,
        "cost/peak_host_rss": 1e9,
        "final_loss/loss_mask": 0.1,
    }
    assert expected_numbers.items() <= run.data.metrics.items()
    assert "iou_map of/none" not in run.data.metrics
    assert run.data.tags["harness.status"] == "ok"

    losses = history(uri, run, "loss/loss_mask")
    assert len(losses) == POINTS
    assert losses[0] == (1, 0.0)
    assert losses[-1] == (3000, 2999.0)
    assert all(value == step - 1 for step, value in losses)
    assert len(history(uri, run, "loss/late")) == POINTS - 1
    assert {value for _, value in history(uri, run, "learning_rate")} == {0.25}
    assert {value for _, value in history(uri, run, "images_per_second")} == {8.0}
    assert history(uri, run, "validation iou_map") == [(1500, 0.2)]
    assert sorted(artifacts(uri, run)) == ["curve.csv", "record.json"]


def test_a_failed_trial_is_a_failed_run_and_one_that_goes_on_is_none(tmp_path: Path, uri: str) -> None:
    folder, log = trial(tmp_path), MlflowLog(uri, tmp_path / "run")
    for status in ("interrupted", "skipped"):
        assert log.track(folder, record(status=status)) == ""
    assert logged(uri) == []
    assert log.track(folder, record(status="oom", reason="no memory left", scores=None, learning_curve=[])) == ""
    (run,) = logged(uri)
    assert (run.info.status, run.data.tags["harness.reason"]) == ("FAILED", "no memory left")


def test_a_trial_is_logged_once(tmp_path: Path, uri: str) -> None:
    folder = trial(tmp_path)
    for again in (record(), record(), record(scores=Scores(scoring_version="2", iou_map=0.5))):
        assert MlflowLog(uri, tmp_path / "run").track(folder, again) == ""
    assert len(logged(uri)) == 1
    # Trained again, it is another run.
    assert MlflowLog(uri, tmp_path / "run").track(folder, record(finished="2026-01-03T00:00:00+00:00")) == ""
    assert len(logged(uri)) == 2


def test_what_was_broken_off_is_logged_anew(tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, log = trial(tmp_path, steps=5), MlflowLog(uri, tmp_path / "run")

    def fail(*_: Any, **__: Any) -> None:
        raise ConnectionError("the server\nis gone")

    with monkeypatch.context() as patch:
        patch.setattr(log._client, "log_artifact", fail)
        said = log.track(folder, record())
    assert said == "a--seed3 is not logged to MLflow: the server is gone; the same command logs it later"
    (half,) = logged(uri)
    assert half.info.status == "RUNNING"
    assert log.track(folder, record()) == ""
    (whole,) = logged(uri)
    assert (whole.info.status, whole.data.tags[IDENTITY]) == ("FINISHED", half.data.tags[IDENTITY])
    assert sorted(artifacts(uri, whole)) == ["curve.csv", "record.json"]


def test_two_runs_do_not_log_a_trial_twice(tmp_path: Path, uri: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    folder = trial(tmp_path, steps=50)
    logs = [MlflowLog(uri, tmp_path / "run") for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda log: log.track(folder, record()), logs)) == ["", ""]
    assert len(logged(uri)) == 1


def test_a_curve_that_is_damaged_is_a_line(tmp_path: Path, uri: str) -> None:
    folder = trial(tmp_path, steps=5)
    (folder / "curve.csv").write_text("step,seconds\n1,x\n")
    assert "a--seed3 is not logged to MLflow" in MlflowLog(uri, tmp_path / "run").track(folder, record())


def typed(*words: str | Path) -> Result:
    return CliRunner().invoke(harness, [str(word) for word in words])


@pytest.mark.timeout(200)
def test_a_run_is_logged_and_a_later_one_logs_only_what_is_missing(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(ADAPTER).parent), prepend=os.pathsep)
    monkeypatch.syspath_prepend(str(Path(ADAPTER).parent))
    how = ["--adapter", ADAPTER, "--preset", "smoke", "--data", "synthetic:images=12,size=64", "--device", "cpu"]
    words = ["run", "--methods", "brightness", *how, "--out", tmp_path / "run", "--quiet"]
    without = typed(*words)
    assert without.exit_code == 0, without.output
    assert logged(uri) == []

    # Finished trials of the earlier run are logged too, and the second seed when it ends.
    both = typed(*words, "--seeds", "2", "--mlflow", uri)
    assert both.exit_code == 0, both.output
    assert "warning" not in both.output
    runs = logged(uri)
    assert sorted(run.info.run_name for run in runs) == ["brightness--seed0", "brightness--seed1"]
    for run in runs:
        stored = json.loads((tmp_path / "run" / "trials" / run.info.run_name / "record.json").read_text("utf-8"))
        assert run.data.metrics["scores/iou_map"] == stored["scores"]["iou_map"]
        assert run.data.params["data.fingerprint"] == stored["data"]["fingerprint"]
        assert [step for step, _ in history(uri, run, "loss/brightness")] == [1, 2, 3]

    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    third = typed(*words, "--seeds", "2", "--mlflow")
    assert third.exit_code == 0, third.output
    assert len(logged(uri)) == 2

    # A failing server changes no row.
    monkeypatch.setattr(MlflowLog, "_is_logged", lambda *_: 1 / 0)
    fourth = typed(*words, "--seeds", "3", "--mlflow", uri)
    assert fourth.exit_code == 0, fourth.output
    assert fourth.output.count("warning: brightness--seed") == 3
    assert json.loads((tmp_path / "run/trials/brightness--seed2/record.json").read_text("utf-8"))["status"] == "ok"


def test_a_server_that_is_not_there_is_one_line_before_anything_trains(tmp_path: Path, uri: str) -> None:
    words = ["run", "--methods", "otsu_watershed", "--preset", "smoke", "--device", "cpu", "--out", tmp_path / "run"]
    result = typed(*words, "--mlflow", "http://127.0.0.1:9")
    assert (result.exit_code, result.output.count("\n")) == (2, 1), result.output
    assert "error: --mlflow: http cannot be used" in result.output
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("missing", "uri", "install"),
    [
        ({"mlflow"}, "http://host", "pip install mlflow-skinny"),
        ({"mlflow", "sqlalchemy"}, "", "pip install mlflow-skinny sqlalchemy"),
        ({"alembic"}, "sqlite:///x.db", "pip install alembic"),
    ],
)
def test_without_a_package_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: set[str], uri: str, install: str
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(mlflow_log, "find_spec", lambda name: None if name in missing else sys)
    words = ["run", "--methods", "mask_rcnn", "--preset", "smoke", "--out", tmp_path / "run", "--dry-run"]
    result = typed(*words, "--mlflow", *([uri] if uri else []))
    assert (result.exit_code, result.output.count("\n")) == (2, 1), result.output
    assert result.output.rstrip().endswith(install)


def test_a_password_is_kept_out_of_the_records(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HarnessError, match="set MLFLOW_TRACKING_URI to it"):
        checked_uri("postgresql://me:secret@host/runs")
    monkeypatch.setattr(mlflow_log, "find_spec", lambda name: sys)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:secret@host/runs")
    assert checked_uri("") == "postgresql://me:secret@host/runs"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert checked_uri("") == DEFAULT
    assert checked_uri("http://host:5000") == "http://host:5000"


@pytest.mark.parametrize("steps", [0, 1, 4])
def test_a_trace_comes_back_from_its_csv(steps: int) -> None:
    trace = Trace()
    for i in range(steps):
        trace.add(i + 0.5, 0.25, 0.125, {"a": 1.5 * i, **({"b": 2.0} if i else {})})
    back = Trace.from_csv(trace.to_csv())
    assert back.to_csv() == trace.to_csv()
    assert (back.seconds, back.wait, back.rate) == (trace.seconds, trace.wait, trace.rate)
    for bad in ("", "step,seconds\n1,2\n", trace.to_csv() + "x\n"):
        with pytest.raises((ValueError, KeyError)):
            Trace.from_csv(bad)
