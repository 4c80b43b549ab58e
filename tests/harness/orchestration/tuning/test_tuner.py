"""Searches whose IoU is a function of the setting, so that nothing is trained."""

from __future__ import annotations

import math
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_tuning_worker import run_trial
from fake_worker import DATA, PRESET, RecordingReporter, resolved

import harness.orchestration.tuning.tuner
from harness.config.preset import load_preset
from harness.config.space import Parameter, SearchSpace
from harness.config.split_spec import SplitSpec
from harness.errors import HarnessError
from harness.monitoring.progress import ProgressFile
from harness.orchestration.plan import Contender, Manifest
from harness.orchestration.process.launchers import SubprocessLauncher
from harness.orchestration.scheduler import RunOptions
from harness.orchestration.trial_folder import existing_record, prepare_folder
from harness.orchestration.tuning.contenders import tuned_contenders
from harness.orchestration.tuning.record import TuningRecord, read_tuning
from harness.orchestration.tuning.tuner import Search, Tuner
from harness.reporting.tuning import as_markdown, write_report
from harness.results.io import RECORD, read_trial_spec, write_record
from harness.results.schema import RunRecord
from harness.results.status import status_from_exception

pytest.importorskip("optuna", reason="needs the extra `tune`")

WORKER = Path(__file__).parents[3] / "helpers" / "fake_tuning_worker.py"
SPACE = SearchSpace(parameters={"training.learning_rate": Parameter(low=1e-3, high=10.0, log=True)})
SEARCH = Search(PRESET, "40it", SPACE, 6, "random", True, 0, "harness tune", {"device": "cpu"})


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials run in this process: starting one of their own takes a second each."""
    monkeypatch.setattr(harness.orchestration.tuning.tuner, "run_plan", run_here)


def run_here(manifest: Manifest, folder: Path, options: RunOptions, reporter: Any, write_tables: Any) -> int:
    (planned,) = manifest.trials
    trial = planned.folder(folder)
    record = existing_record(trial, planned.spec.key)
    if record is not None:
        reporter.kept(planned, record)
        return 0
    reporter.started(planned, 1, 1)
    prepare_folder(trial, planned.spec)
    try:
        record = run_trial(planned.spec, trial, ProgressFile())
    except Exception as error:
        record = RunRecord.from_spec(planned.spec, *status_from_exception(error))
    write_record(trial / RECORD, record)
    return 0


class Data:
    """Facts of data that nobody reads."""

    facts = DATA

    class dataset:  # noqa: N801
        source = "synthetic"


def tuner(folder: Path, search: Search = SEARCH, methods: tuple[str, ...] = ("wide", "narrow"), **more: Any) -> Tuner:
    contenders = [Contender(resolved(name), PRESET, search.budget) for name in methods]
    options = RunOptions(launcher=SubprocessLauncher((sys.executable, str(WORKER))))
    data: Any = Data()
    return Tuner(
        contenders, search, data, SplitSpec(), folder, options, more.pop("reporter", RecordingReporter()), **more
    )


def found(folder: Path, *arguments: Any, **more: Any) -> TuningRecord:
    record = tuner(folder, *arguments, **more).run()
    assert record is not None
    return record


@pytest.mark.usefixtures("here")
def test_every_method_gets_as_many_trials_of_the_same_settings_and_its_own_preset_first(tmp_path: Path) -> None:
    record = found(tmp_path)
    wide, narrow = record.methods
    assert [trial.number for trial in wide.trials] == [trial.number for trial in narrow.trials] == list(range(6))
    assert [trial.values for trial in wide.trials] == [trial.values for trial in narrow.trials]
    assert wide.trials[0].values == {"training.learning_rate": PRESET.training.learning_rate}
    assert len({trial.values["training.learning_rate"] for trial in wide.trials}) == 6
    for method in record.methods:
        assert method.chosen is not None
        assert method.trials[0].iou is not None
        assert method.chosen.iou == max(trial.iou or 0 for trial in method.trials) >= method.trials[0].iou


@pytest.mark.usefixtures("here")
def test_trials_are_scored_on_calibration_images_and_told_of_earlier_ones(tmp_path: Path) -> None:
    record = found(tmp_path)
    for number in range(6):
        spec = read_trial_spec(tmp_path / "trials" / f"wide--trial{number:02d}")
        assert spec.score_on == "calibration"
        assert spec.preset.evaluation.curve_fractions == (0.25, 0.5)
        assert spec.earlier_looks == tuple(trial.looks for trial in record.methods[0].trials[:number])
    assert {trial.status for method in record.methods for trial in method.trials} == {"ok", "pruned"}


@pytest.mark.usefixtures("here")
def test_a_search_that_was_stopped_goes_on_to_the_same_end(tmp_path: Path) -> None:
    whole = found(tmp_path / "whole", replace(SEARCH, sampler="tpe"))
    found(tmp_path / "parts", replace(SEARCH, sampler="tpe", trials=3))
    reporter = RecordingReporter()
    rest = found(tmp_path / "parts", replace(SEARCH, sampler="tpe"), reporter=reporter)
    kinds = [kind for kind, _ in reporter.events]
    assert (kinds.count("kept"), kinds.count("started")) == (6, 6)
    settings = [[(t.values, t.iou, t.looks) for t in m.trials] for m in whole.methods]
    assert settings == [[(t.values, t.iou, t.looks) for t in m.trials] for m in rest.methods]


def test_a_crash_is_a_failed_trial_that_counts(tmp_path: Path) -> None:
    record = found(tmp_path, replace(SEARCH, trials=3), methods=("crashes_elsewhere", "wide"))
    crashed, wide = record.methods
    statuses = [trial.status for trial in crashed.trials]
    assert len(statuses) == len(wide.trials) == 3
    assert "crash" in statuses
    facts = record.facts_of(crashed)
    assert facts.failed == statuses.count("crash")
    assert facts.trials == 3
    assert "ValueError" in as_markdown(record)


@pytest.mark.usefixtures("here")
def test_another_search_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    found(tmp_path, replace(SEARCH, trials=1))
    with pytest.raises(HarnessError, match="holds a search with another sampler; give another folder with --out"):
        tuner(tmp_path, replace(SEARCH, sampler="tpe")).run()


@pytest.mark.usefixtures("here")
def test_each_method_has_a_preset_that_run_takes(tmp_path: Path) -> None:
    record = found(tmp_path)
    assert read_tuning(tmp_path) == record
    for method in record.methods:
        assert method.chosen is not None
        preset = load_preset(str(tmp_path / method.preset_file))
        assert preset.training.learning_rate == method.chosen.values["training.learning_rate"]
        assert preset.evaluation == PRESET.evaluation
        assert preset.budget == "40it"
        assert method.method in (tmp_path / method.preset_file).read_text("utf-8").splitlines()[0]


@pytest.mark.usefixtures("here")
def test_a_run_takes_each_methods_own_preset_and_says_who_has_none(tmp_path: Path) -> None:
    record = found(tmp_path)
    told: list[str] = []
    untuned = [Contender(resolved(name), PRESET, "40it") for name in ("wide", "narrow", "healthy")]
    wide, narrow, healthy = tuned_contenders(untuned, record, told.append)
    for contender, method in zip((wide, narrow), record.methods, strict=True):
        assert method.chosen is not None
        assert contender.preset.training.learning_rate == method.chosen.values["training.learning_rate"]
        assert contender.preset.name == "fake (tuned)"
        assert contender.tuned is not None
        assert contender.tuned.trials == 6
        assert contender.tuned.best[-1] == method.chosen.iou
    assert wide.tuned is not None
    assert narrow.tuned is not None
    assert wide.tuned.search == narrow.tuned.search
    assert (healthy.tuned, healthy.preset.training) == (None, PRESET.training)
    assert told == ["not tuned, and run with the preset fake as it is: healthy"]
    with pytest.raises(HarnessError, match="none of healthy was tuned; --tuned has: wide, narrow"):
        tuned_contenders(untuned[2:], record, told.append)


@pytest.mark.usefixtures("here")
def test_a_folder_without_a_search_gets_a_line(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"holds no tuning.json; `python -m harness tune` makes such a folder"):
        read_tuning(tmp_path)
    (tmp_path / "tuning.json").write_text("{}")
    with pytest.raises(HarnessError, match=r"tuning.json: command: Field required"):
        read_tuning(tmp_path)


@pytest.mark.usefixtures("here")
def test_the_report_shows_every_trial_and_what_mattered(tmp_path: Path) -> None:
    record = found(tmp_path, replace(SEARCH, trials=10, early_stopping=False))
    path = write_report(tmp_path, record)
    text = path.read_text("utf-8")
    assert text.count("\n| wide |") == 12, "once in the summary, once in what mattered, and each trial"
    assert "Validation images were not predicted." in text
    assert "PED-ANOVA" in text
    assert "(tuning.png)" in text
    assert (tmp_path / "tuning.png").stat().st_size > 10_000
    fewer = found(tmp_path / "few", replace(SEARCH, trials=2))
    few = as_markdown(fewer)
    assert "too few to say" in few


@pytest.mark.usefixtures("here")
def test_tpe_comes_nearer_to_the_best_setting_than_its_first_trials(tmp_path: Path) -> None:
    record = found(tmp_path, replace(SEARCH, sampler="tpe", trials=16, early_stopping=False), ("narrow",))
    rates = [trial.values["training.learning_rate"] for trial in record.methods[0].trials]
    distance = [abs(math.log10(rate)) for rate in rates]
    assert sum(distance[8:]) / 8 < sum(distance[:4]) / 4
    assert os.path.isdir(tmp_path / "presets")
