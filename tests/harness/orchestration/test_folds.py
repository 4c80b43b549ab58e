"""Cross-validation: folds are planned, run, scored together, resumed, and one row of the table."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from fake_worker import PRESET, RecordingReporter, resolved, run

from harness.cli import harness
from harness.config.preset import Preset, with_settings
from harness.config.split_spec import SplitSpec
from harness.data.sources import load
from harness.errors import HarnessError
from harness.evaluation.calibration import choose_rule
from harness.evaluation.prediction_file import PREDICTIONS, read_predictions
from harness.orchestration.plan import Contender, Manifest
from harness.orchestration.plan_from_data import plan_trials
from harness.orchestration.prepared_data import PreparedData, prepare_planned_data
from harness.reporting.leaderboard import leaderboard_of_runs
from harness.results.io import read_records
from harness.results.schema import DataFacts
from harness.results.trained_trial import find_trained_trial

DATA = "synthetic:images=8,size=64"


def planned(folds: int = 4, seeds: int = 1, methods: tuple[str, ...] = ("recalls",)) -> Manifest:
    contenders = [Contender(resolved(name), PRESET, "10it") for name in methods]
    return plan_trials(contenders, range(seeds), [DATA], split=SplitSpec(folds=folds))


def names(run_dir: Path) -> list[str]:
    return sorted(path.name for path in (run_dir / "trials").iterdir())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("folds") / "run"
    assert run(run_dir, planned(seeds=2)) == 0
    return run_dir


def test_every_fold_of_every_seed_is_a_trial_with_a_key_of_its_own() -> None:
    trials = planned(folds=4, seeds=2).trials
    assert [trial.name for trial in trials[:2]] == ["recalls--seed0--fold1of4", "recalls--seed0--fold2of4"]
    assert len({trial.spec.key for trial in trials}) == 8
    assert len({trial.spec.folds_key for trial in trials}) == 2
    assert trials[0].spec.split_fingerprint != trials[4].spec.split_fingerprint, "each seed draws its own folds"
    assert len(planned(folds=4).data) == 4
    with pytest.raises(HarnessError, match="too few for 9 folds; 9 are the least"):
        planned(folds=9)


def test_all_folds_of_all_seeds_have_the_preset_that_is_fitted_to_all_images() -> None:
    """With a preset for each fold they could not be scored together."""

    def fit(preset: Preset, data: PreparedData, facts: DataFacts) -> Preset:
        return with_settings(preset, {"model.scale": 1 + sum(len(i) for i in facts.splits["train"]) / 1000})

    contenders = [Contender(resolved("recalls"), PRESET, "10it")]
    trials = plan_trials(contenders, range(2), [DATA], split=SplitSpec(folds=3), fit=fit).trials
    assert len({trial.spec.preset.scale for trial in trials}) == 1
    assert trials[0].spec.preset.scale == 1 + sum(map(len, load(DATA).ids)) / 1000
    assert len({trial.spec.folds_key for trial in trials}) == 2


def test_every_image_is_scored_once_under_the_rule_of_the_other_folds(finished: Path) -> None:
    records, problems = read_records(finished)
    assert not problems
    (whole,) = [r for r in records if r.folds and r.seed == 0]
    assert whole.scores is not None
    assert sorted(whole.scores.by_image) == sorted(i for fold in whole.folds for i in fold.images)
    assert len(whole.scores.by_image) == 8
    assert 0 < whole.scores.iou_map < 1
    assert whole.cost.iterations == 2, "the mean of 1 to 4"

    stored = {}
    for fold in whole.folds:
        stored |= dict(read_predictions(finished / "trials" / fold.trial / PREDICTIONS).splits["validation"])
    data = prepare_planned_data(planned().trials[0].spec)
    for fold in whole.folds:
        others = {image_id: found for image_id, found in stored.items() if image_id not in fold.images}
        alone = choose_rule(others, data.truth(data.dataset.ids), data.dataset.classes)
        assert fold.rule.score_thresholds == alone.score_thresholds
        assert fold.rule.min_areas == alone.min_areas
        assert fold.rule.chosen_on == "the other folds"


def test_a_method_is_one_row_over_all_images(finished: Path) -> None:
    (row,) = leaderboard_of_runs([finished]).rows
    assert (row.ranked, row.provenance.seeds, row.provenance.status) == (True, 2, "ok")
    assert row.quality.iou == pytest.approx(np.mean([r.scores.iou_map for r in row.good_records if r.scores]))


def test_methods_are_compared_over_the_folds(finished: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    assert run(run_dir, planned(methods=("recalls", "recalls_less"))) == 0
    board = leaderboard_of_runs([run_dir])
    best, worse = board.rows
    assert (best.method, worse.method) == ("recalls", "recalls_less")
    difference = worse.quality.vs_best
    assert difference is not None
    assert (difference.scope, difference.units) == ("methods", 4)
    assert best.quality.fold_std is not None
    done = CliRunner().invoke(harness, ["compare", f"{run_dir}:recalls", f"{run_dir}:recalls_less", "--json"])
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert (facts["folds"], facts["pairs_of_trainings"]) == (4, 4)
    assert facts["p_methods"] is not None
    assert facts["probability_first_beats_second"] > 0.5
    page = CliRunner().invoke(harness, ["report", str(run_dir)])
    assert page.exit_code == 0, page.output
    assert "no gallery" not in page.output


def test_a_fold_predicts_with_the_rule_of_the_others(finished: Path) -> None:
    with pytest.raises(HarnessError, match="was trained in folds; type --method recalls--seed0--fold1of4 or"):
        find_trained_trial(finished, "recalls")
    trial = find_trained_trial(finished, "recalls--seed0--fold1of4")
    assert trial.rule.chosen_on == "the other folds"


def test_killed_in_the_third_fold_and_resumed(tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_dir = tmp_path / "run"
    monkeypatch.setenv("HARNESS_FAKE_KILL", "3")
    assert run(run_dir, planned()) == 1
    (row,) = leaderboard_of_runs([run_dir]).rows
    assert not row.ranked
    assert row.quality.iou is None
    assert row.provenance.reason.startswith("3 of 4 folds ended well; fold 3: interrupted")
    assert "recalls--seed0--folds4" not in names(run_dir)

    monkeypatch.delenv("HARNESS_FAKE_KILL")
    reporter = RecordingReporter()
    assert run(run_dir, planned(), reporter) == 0
    assert [name for what, name in reporter.events if what == "started"] == ["recalls--seed0--fold3of4"]
    assert reporter.events[-1][0] in ("kept", "folds scored")
    assert ("folds scored", "ok") in reporter.events

    def scores(folder: Path) -> dict[str, float]:
        (record,) = [r for r in read_records(folder)[0] if r.folds and r.seed == 0]
        assert record.scores is not None
        return record.scores.by_image

    assert scores(run_dir) == scores(finished)
    again = RecordingReporter()
    assert run(run_dir, planned(), again) == 0
    assert {what for what, _ in again.events} == {"kept"}


def test_folds_that_have_not_run_are_said(tmp_path: Path) -> None:
    manifest = planned()
    some = manifest.model_copy(update={"trials": manifest.trials[:2]})
    assert run(tmp_path / "run", some) == 0
    (row,) = leaderboard_of_runs([tmp_path / "run"]).rows
    assert row.provenance.status == "incomplete"
    assert row.provenance.reason == "2 of 4 folds ended well; folds 3, 4 not run"


def test_score_scores_folds_together_and_makes_a_lost_record_again(finished: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    shutil.copytree(finished, run_dir)
    shutil.rmtree(run_dir / "trials" / "recalls--seed0--folds4")
    board = leaderboard_of_runs([run_dir])
    assert "not scored together yet" in board.rows[-1].provenance.reason or board.rows[0].provenance.seeds == 1
    done = CliRunner().invoke(harness, ["score", str(run_dir), "--json"])
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)["records"]
    assert [row["before"] is None for row in rows] == [True, False]
    assert leaderboard_of_runs([run_dir]).rows[0].provenance.seeds == 2


def test_a_damaged_prediction_is_a_row_that_says_so(finished: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    shutil.copytree(finished, run_dir)
    shutil.rmtree(run_dir / "trials" / "recalls--seed0--folds4")
    (run_dir / "trials" / "recalls--seed0--fold2of4" / PREDICTIONS).write_bytes(b"no gzip")
    run(run_dir, planned())
    (row,) = leaderboard_of_runs([run_dir]).rows
    assert row.provenance.status == "1 of 2 ok; crash"
    assert PREDICTIONS in row.provenance.reason
