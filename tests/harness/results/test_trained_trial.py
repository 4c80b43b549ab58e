from __future__ import annotations

from pathlib import Path

import pytest
from fake_worker import plan

from harness.errors import HarnessError
from harness.evaluation.schema import PostprocessRule
from harness.orchestration.trial_folder import prepare_folder
from harness.results.io import write_record
from harness.results.schema import RunRecord
from harness.results.trained_trial import find_trained_trial

RULE = PostprocessRule(score_thresholds={"trial": 0.5}, min_areas={"trial": 1}, chosen_on="calibration")


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`healthy` with seeds 0 and 1, on two data sets with seed 1; `raises` that crashed; a record that is damaged."""
    tmp_path = tmp_path_factory.mktemp("run")
    trials = [(trial.name, trial.spec, "ok") for trial in plan(["healthy"], 2).trials]
    other = trials[1][1].model_copy(update={"key": "other"})
    trials.append(("healthy--seed1--coco-12345678", other, "ok"))
    trials.append(("raises--seed0", plan(["raises"]).trials[0].spec, "crash"))
    for name, spec, status in trials:
        folder = tmp_path / "trials" / name
        prepare_folder(folder, spec)
        write_record(folder / "record.json", RunRecord.from_spec(spec, status, rule=RULE if status == "ok" else None))
    (tmp_path / "trials" / "damaged--seed0").mkdir()
    (tmp_path / "trials" / "damaged--seed0" / "record.json").write_text("{")
    return tmp_path


def test_by_method_seed_or_folder(run_dir: Path) -> None:
    found = find_trained_trial(run_dir, "healthy")
    assert (found.folder.name, found.spec.seed, found.rule) == ("healthy--seed0", 0, RULE)
    assert find_trained_trial(run_dir, "healthy--seed1").spec.seed == 1
    assert find_trained_trial(run_dir, "healthy--seed1--coco-12345678").spec.key == "other"


@pytest.mark.parametrize(
    ("method", "seed", "line"),
    [
        ("healthi", None, "has no method 'healthi'; did you mean 'healthy'\\?; it has: healthy, raises"),
        ("damaged", None, "has no method 'damaged'.*damaged--seed0.record.json: not JSON"),
        ("healthy", 3, "has no seed 3 of healthy; it has: 0, 1"),
        ("healthy", 1, "type --method healthy--seed1 or healthy--seed1--coco-12345678"),
        ("raises", None, "raises--seed0 did not end well \\(crash: \\)"),
    ],
)
def test_what_cannot_be_had_is_one_line(run_dir: Path, method: str, seed: int | None, line: str) -> None:
    with pytest.raises(HarnessError, match=line) as error:
        find_trained_trial(run_dir, method, seed)
    assert "\n" not in str(error.value)


def test_no_run_at_all(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="no folder"):
        find_trained_trial(tmp_path / "none", "healthy")
    with pytest.raises(HarnessError, match="it has: none"):
        find_trained_trial(tmp_path, "healthy")
