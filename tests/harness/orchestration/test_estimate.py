"""Estimates of time and memory in a dry run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fake_worker import DATA, PRESET, plan, resolved

from harness.config.preset import Evaluation
from harness.orchestration.estimate import START_SECONDS, estimate_trials, find_earlier_records, side_by_side
from harness.orchestration.plan import Contender, Manifest, make_plan
from harness.results.io import write_record
from harness.results.schema import Cost, RunRecord


def record_of(manifest: Manifest, **fields: Any) -> RunRecord:
    """A good record: 50 s for 100 steps, 10 s for evaluation, 20 s for the rest."""
    cost = Cost(train_seconds=50, evaluation_seconds=10, seconds_per_iteration=0.5, peak_host_rss=1000)
    spec = manifest.trials[0].spec
    return RunRecord.from_spec(spec, "ok", **{"cost": cost, "wall_seconds": 80.0, "data": DATA, **fields})


def test_a_trial_takes_as_long_as_an_earlier_one_of_its_method(tmp_path: Path) -> None:
    manifest = plan(["a"], budget="100it")
    (found,) = estimate_trials(manifest, tmp_path, [record_of(manifest)])
    assert (found.training_seconds, found.seconds, found.memory, found.basis) == (50, 80, 1000, "the same method")
    (twice,) = estimate_trials(plan(["a"], budget="200it"), tmp_path, [record_of(manifest)])
    assert twice.seconds == 50 + 80
    (timed,) = estimate_trials(plan(["a"], budget="2m"), tmp_path, [record_of(manifest)])
    assert timed.seconds == 120 + 30


def test_predictions_for_the_learning_curve_count(tmp_path: Path) -> None:
    looks = PRESET.model_copy(update={"evaluation": Evaluation(curve_fractions=(0.25, 0.5, 0.75), curve_images=1)})
    looking = make_plan([Contender(resolved("a"), looks, "100it")], [0], [DATA], scoring_version="1", command="")
    (found,) = estimate_trials(looking, tmp_path, [record_of(plan(["a"]))])
    assert found.seconds == 50 + 20 + 10 * (2 + 3 * 2) / 2


def test_other_methods_stand_in_for_one_without_records(tmp_path: Path) -> None:
    manifest = plan(["a", "b"], budget="100it")
    failed = record_of(manifest).model_copy(update={"status": "oom", "method": "b"})
    other = estimate_trials(manifest, tmp_path, [record_of(manifest), failed])[1]
    assert (other.seconds, other.basis) == (80, "other methods")


def test_without_records_the_rest_is_a_rule_of_thumb(tmp_path: Path) -> None:
    (timed,) = estimate_trials(plan(["a"], budget="2m"), tmp_path, [])
    assert timed.seconds is not None
    assert timed.seconds > 120 + START_SECONDS
    assert (timed.memory, timed.basis) == (None, "a rule of thumb")
    (counted,) = estimate_trials(plan(["a"], budget="10it"), tmp_path, [])
    assert (counted.training_seconds, counted.seconds) == (None, None)


def test_compiling_counts(tmp_path: Path) -> None:
    plain = plan(["a"], budget="2m")
    (trial,) = plain.trials
    preset = PRESET.model_copy(update={"model": {"compile": True}})
    compiled = trial.model_copy(update={"spec": trial.spec.model_copy(update={"preset": preset})})
    compiling = plain.model_copy(update={"trials": (compiled,)})
    a, b = (estimate_trials(manifest, tmp_path, [])[0].seconds or 0 for manifest in (plain, compiling))
    assert b > a + 60


def test_what_is_done_takes_nothing(tmp_path: Path) -> None:
    manifest = plan(["a"])
    folder = manifest.trials[0].folder(tmp_path)
    folder.mkdir(parents=True)
    write_record(folder / "record.json", record_of(manifest))
    (found,) = estimate_trials(manifest, tmp_path, [])
    assert (found.seconds, found.basis) == (0, "done")


@pytest.mark.parametrize("name", ["run", "another"])
def test_records_are_found_in_the_run_and_beside_it(tmp_path: Path, name: str) -> None:
    manifest = plan(["a"])
    folder = manifest.trials[0].folder(tmp_path / name)
    folder.mkdir(parents=True)
    write_record(folder / "record.json", record_of(manifest))
    (tmp_path / name / "trials" / "damaged").mkdir()
    (tmp_path / name / "trials" / "damaged" / "record.json").write_text("{")
    assert "a" in {record.method for record in find_earlier_records(tmp_path / "run")}


@pytest.mark.parametrize(
    ("trials", "slots", "waves", "seconds", "enough"),
    [(4, 1, 4, 40, 1), (4, 2, 2, 20, 2), (100, 64, 2, 20, 50), (3, 8, 1, 10, 3), (0, 2, 0, 0, 1)],
)
def test_waves_of_trials_side_by_side(trials: int, slots: int, waves: int, seconds: float, enough: int) -> None:
    found = side_by_side([10.0] * trials, slots)
    assert (found.waves, found.seconds, found.enough) == (waves, seconds, enough)


def test_a_free_slot_takes_the_next_trial() -> None:
    assert side_by_side([30.0, 10.0, 10.0, 10.0], 2).seconds == 30
