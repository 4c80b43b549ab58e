"""Which weights of a run stay."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_worker import DATA, plan

from harness.evaluation.schema import Scores
from harness.orchestration.kept_weights import KeepWeights, KeptWeights, keep_by_default
from harness.results.io import WEIGHTS
from harness.results.schema import RunRecord

IOU = {("a", 0): 0.2, ("a", 1): 0.5, ("a", 2): 0.3, ("b", 0): 0.4, ("b", 1): 0.1, ("b", 2): 0.4}


def kept(run_dir: Path, keep: KeepWeights, earlier: bool = False) -> set[str]:
    """Names of the trials whose weights are left. earlier: whether they ended in an earlier run."""
    weights = KeptWeights(keep, run_dir)
    for trial in plan(["a", "b"], 3).trials:
        folder = trial.folder(run_dir)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / WEIGHTS).touch()
        scores = Scores(scoring_version="1", iou_map=IOU[trial.spec.method, trial.spec.seed])
        weights.done(trial, RunRecord.from_spec(trial.spec, "ok", data=DATA, scores=scores), earlier)
    return {path.parent.name for path in run_dir.glob(f"trials/*/{WEIGHTS}")}


def test_all_or_none_stay(tmp_path: Path) -> None:
    assert len(kept(tmp_path / "all", "all")) == 6
    assert kept(tmp_path / "none", "none") == set()


def test_the_best_seed_of_each_method_stays(tmp_path: Path) -> None:
    assert kept(tmp_path, "best") == {"a--seed1", "b--seed0"}


def test_weights_of_an_earlier_run_go_only_where_better_ones_came(tmp_path: Path) -> None:
    assert len(kept(tmp_path / "none", "none", earlier=True)) == 6
    assert kept(tmp_path / "best", "best", earlier=True) == {"a--seed1", "a--seed2", "b--seed0", "b--seed1", "b--seed2"}


@pytest.mark.parametrize(("trials", "keep"), [(1, "all"), (100, "all"), (101, "none")])
def test_weights_of_many_trials_go_where_nothing_is_said(trials: int, keep: str) -> None:
    assert keep_by_default(trials) == keep
