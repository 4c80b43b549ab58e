"""`score` and `compare` on a run's folder, as a shell would call them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from harness.cli.compare import compare, side_labels
from harness.cli.score import score
from harness.config.preset import load_preset
from harness.config.trial_spec import TrialSpec
from harness.contract import Predictions
from harness.data.dataset import Dataset
from harness.data.sources import load
from harness.errors import HarnessError
from harness.evaluation.calibration import choose_rule
from harness.evaluation.ground_truth import GroundTruth
from harness.evaluation.prediction_file import PREDICTIONS, write_predictions
from harness.evaluation.schema import Scores
from harness.evaluation.scorer import score as score_all
from harness.reporting.leaderboard import leaderboard_of_runs
from harness.reporting.table import as_frame, as_markdown
from harness.results.io import read_record, write_record
from harness.results.schema import DataFacts, RunRecord

SOURCE = "synthetic:images=9,size=64"
SPLITS = {"train": (0, 1), "calibration": (2, 3, 4), "validation": (5, 6, 7, 8)}


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """Two methods, two seeds: one that sees nearly all cells, one that sees half of them."""
    dataset = load(SOURCE)
    for method, seen in (("good", 0.95), ("poor", 0.5)):
        for seed in (0, 1):
            rng = np.random.default_rng([seed, int(seen * 100)])
            write_trial(tmp_path / "trials" / f"{method}--seed{seed}", method, seed, seen, rng, dataset)
    return tmp_path


def facts_of(dataset: Dataset, ids: dict[str, list[str]]) -> DataFacts:
    return DataFacts(
        source=SOURCE,
        fingerprint=dataset.fingerprint,
        classes=list(dataset.classes),
        images=len(dataset),
        cells=dataset.cells,
        splits=ids,
        split_fingerprint="split",
    )


def write_trial(folder: Path, method: str, seed: int, seen: float, rng: np.random.Generator, dataset) -> None:
    folder.mkdir(parents=True)
    ids = {split: [dataset.ids[i] for i in numbers] for split, numbers in SPLITS.items()}
    truth = {i: GroundTruth.of(dataset.sample(i)) for i in dataset.ids}
    found = {}
    for split in ("calibration", "validation"):
        found[split] = {}
        for image_id in ids[split]:
            cells = truth[image_id].cells
            kept = np.flatnonzero(rng.random(len(cells)) < seen)
            scores = rng.uniform(0.3, 1, len(kept)).astype(np.float32)
            labels = truth[image_id].labels[kept]
            found[split][image_id] = Predictions(truth[image_id].size, cells.select(kept), scores, labels)
    write_predictions(folder / PREDICTIONS, found, dataset.classes)
    key = f"{method}{seed}"
    spec = TrialSpec(
        key=key,
        method=method,
        seed=seed,
        source=SOURCE,
        data_fingerprint=dataset.fingerprint,
        split_fingerprint="split",
        budget="3it",
        preset=load_preset("smoke"),
        recipe={},
        slots_changed=[],
    )
    (folder / "trial.json").write_text(spec.model_dump_json())
    rule = choose_rule(found["calibration"], truth, dataset.classes)
    record = RunRecord(
        key=key,
        status="ok",
        method=method,
        seed=seed,
        preset="smoke",
        budget="3it",
        command="",
        data=facts_of(dataset, ids),
        rule=rule,
        scores=score_all(found["validation"], truth, rule, dataset.classes),
    )
    write_record(folder / "record.json", record)


def records(run_dir: Path) -> dict[str, RunRecord]:
    return {path.parent.name: read_record(path) for path in sorted(run_dir.glob("trials/*/record.json"))}


def call(command, *arguments: str):
    return CliRunner().invoke(command, [str(a) for a in arguments], catch_exceptions=False)


def test_scoring_again_gives_the_same_records(run_dir: Path) -> None:
    before = records(run_dir)
    printed = json.loads(call(score, run_dir, "--json").output)
    assert printed["failed"] == []
    assert len(printed["records"]) == 4
    assert all(row["before"] == row["iou_map"] for row in printed["records"])
    for name, record in records(run_dir).items():
        assert record.scores == before[name].scores
        assert record.rule == before[name].rule


def test_scores_come_from_the_predictions_and_not_from_the_record(run_dir: Path) -> None:
    path = run_dir / "trials/good--seed0/record.json"
    right = read_record(path)
    write_record(path, right.model_copy(update={"scores": Scores(scoring_version="0", iou_map=0.1)}))
    assert call(score, run_dir).exit_code == 0
    assert read_record(path).scores == right.scores


def test_a_fixed_threshold_is_used_and_recorded(run_dir: Path) -> None:
    before = records(run_dir)["good--seed0"]
    call(score, run_dir, "--threshold", "0.9")
    after = records(run_dir)["good--seed0"]
    assert set(after.rule.score_thresholds.values()) == {0.9}
    assert after.settings["threshold"] == 0.9
    assert after.scores.iou_map < before.scores.iou_map
    assert after.scores.ap == before.scores.ap


def test_only_the_metrics_asked_for_are_printed(run_dir: Path) -> None:
    printed = json.loads(call(score, run_dir, "--metric", "ap50", "--metric", "errors", "--json").output)
    assert set(printed["records"][0]) == {"method", "seed", "before", "ap50", "errors"}
    assert "ap50" in call(score, run_dir, "--metric", "ap50").output


def test_a_published_protocol_is_scored_besides_and_has_columns(run_dir: Path) -> None:
    before = records(run_dir)
    printed = json.loads(call(score, run_dir, "--protocol", "livecell", "--json").output)
    assert all(0 < row["livecell"]["ap"] <= 1 for row in printed["records"])
    for name, record in records(run_dir).items():
        assert set(record.scores.livecell) == {"ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "afnr"}
        assert record.scores.model_copy(update={"livecell": {}}) == before[name].scores
    with_protocol = {name: record.scores for name, record in records(run_dir).items()}
    call(score, run_dir)
    assert {name: record.scores for name, record in records(run_dir).items()} == with_protocol, "they stay"
    good, poor = leaderboard_of_runs([run_dir]).rows
    assert good.quality.livecell["afnr"] < poor.quality.livecell["afnr"]
    table = as_markdown(leaderboard_of_runs([run_dir]))
    assert "LIVECell AP50" in table
    assert "AFNR: the part of the cells that is not found" in table
    assert as_frame(leaderboard_of_runs([run_dir]))["livecell_afnr"][0] == good.quality.livecell["afnr"]


def test_a_metric_that_is_none_is_refused_with_the_nearest(run_dir: Path) -> None:
    with pytest.raises(HarnessError, match="iou_map"):
        call(score, run_dir, "--metric", "iou_mapp")


def test_changed_data_are_refused_and_the_record_stays(run_dir: Path) -> None:
    path = run_dir / "trials/good--seed0/record.json"
    record = read_record(path)
    other = record.data.model_copy(update={"fingerprint": "0" * 64})
    write_record(path, record.model_copy(update={"data": other}))
    text = path.read_text("utf-8")
    result = call(score, run_dir)
    assert result.exit_code == 1
    assert "has changed" in result.output
    assert path.read_text("utf-8") == text


def test_damaged_predictions_leave_the_others_scored(run_dir: Path) -> None:
    (run_dir / "trials/good--seed0" / PREDICTIONS).write_bytes(b"nonsense")
    result = call(score, run_dir, "--json")
    assert result.exit_code == 1
    assert "predictions.json.gz" in result.output


def test_a_folder_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="no record with scores"):
        call(score, tmp_path)
    with pytest.raises(HarnessError, match="no folder"):
        call(score, tmp_path / "nowhere")


def test_scoring_needs_no_torch(run_dir: Path) -> None:
    code = (
        "import sys; from harness.cli.score import score; score([sys.argv[1]], standalone_mode=False); "
        "assert 'torch' not in sys.modules, 'torch was imported'"
    )
    subprocess.run([sys.executable, "-c", code, str(run_dir)], check=True, capture_output=True)


def test_compare_tells_a_better_method(run_dir: Path) -> None:
    facts = json.loads(call(compare, f"{run_dir}:good", f"{run_dir}:poor", "--json").output)
    assert (facts["first"], facts["second"]) == ("good", "poor")
    assert facts["difference"] > 0.1
    low, high = facts["interval_95"]
    assert low < facts["difference"] < high
    assert (facts["images"], facts["seeds"]) == (4, [2, 2])
    assert facts["first_better_on"][0][1] == max(value for _, value in facts["first_better_on"])
    scores = {name: np.mean(list(r.scores.by_image.values())) for name, r in records(run_dir).items()}
    good, poor = (np.mean([scores[f"{m}--seed{s}"] for s in (0, 1)]) for m in ("good", "poor"))
    assert facts["difference"] == pytest.approx(good - poor)


def test_compare_says_where_either_side_is_better_by_how_much(run_dir: Path) -> None:
    said = call(compare, f"{run_dir}:poor", f"{run_dir}:good").output.splitlines()
    facts = json.loads(call(compare, f"{run_dir}:poor", f"{run_dir}:good", "--json").output)
    assert "poor minus good" in "".join(said)
    assert all(value < 0 for _, value in facts["first_worse_on"]), "first minus second, whichever list"
    assert facts["first_worse_on"][0][1] == min(value for _, value in facts["first_worse_on"])
    image, value = facts["first_worse_on"][0]
    (line,) = [line for line in said if line.startswith("good is better most on: ")]
    assert line.startswith(f"good is better most on: {image} {-value:+.3f}")
    assert "-0." not in line


@pytest.mark.parametrize(
    ("first", "second", "called"),
    [
        ("half", "whole", ("half", "whole")),
        ("results/half", "./results/whole/", ("half", "whole")),
        ("/home/somebody/a/run", "/home/somebody/b/run", ("a/run", "b/run")),
        ("a/x/run", "b/x/run", ("a/x/run", "b/x/run")),
        ("run", "elsewhere/run", ("run", "elsewhere/run")),
        ("same", "same", ("same", "same")),
    ],
)
def test_two_runs_of_one_method_are_called_by_their_folders(first: str, second: str, called: tuple[str, str]) -> None:
    assert side_labels((first, "m"), (second, "m")) == (f"{called[0]}:m", f"{called[1]}:m")
    assert side_labels((first, "m"), (second, "n")) == ("m", "n")


def test_a_run_that_is_typed_as_dots_is_called_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "half" / "trials").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "half")
    assert side_labels((".", "m"), ("../whole", "m")) == ("half:m", "whole:m")
    monkeypatch.chdir("trials")
    assert side_labels(("..:m", "m"), ("../../whole", "m")) == ("half:m", "whole:m")


def test_compare_of_two_runs_of_one_method(run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other") / "half"
    shutil.copytree(run_dir, other)
    for poor in other.glob("trials/poor*/record.json"):
        write_record(poor, read_record(poor).model_copy(update={"method": "good"}))
    for good in other.glob("trials/good*"):
        shutil.rmtree(good)
    output = call(compare, f"{run_dir}:good", other).output
    assert f"{run_dir.name}:good minus half:good" in output
    assert f"{run_dir.name}:good is better most on: " in output
    assert str(other.parent) not in output
    assert json.loads(call(compare, f"{run_dir}:good", other, "--json").output)["second"] == "half:good"


def test_compare_has_a_row_for_each_cell_type(run_dir: Path) -> None:
    types = {t for record in records(run_dir).values() for t in record.scores.cell_types.values()}
    output = call(compare, f"{run_dir}:good", f"{run_dir}:poor").output
    assert types
    assert all(name in output for name in types)


def test_compare_with_one_seed_claims_nothing(run_dir: Path) -> None:
    for method in ("good", "poor"):
        (run_dir / f"trials/{method}--seed1/record.json").unlink()
    output = call(compare, f"{run_dir}:good", f"{run_dir}:poor").output
    assert "p, methods: unknown" in output
    assert "--seeds 3" in output
    facts = json.loads(call(compare, f"{run_dir}:good", f"{run_dir}:poor", "--json").output)
    assert (facts["p_methods"], facts["different"]) == (None, False)
    assert 0 <= facts["p_networks"] <= 1


def test_compare_asks_which_method_is_meant(run_dir: Path) -> None:
    with pytest.raises(HarnessError, match="good, poor"):
        call(compare, run_dir, f"{run_dir}:poor")
    with pytest.raises(HarnessError, match="it has good, poor"):
        call(compare, f"{run_dir}:goood", f"{run_dir}:poor")


def test_compare_refuses_other_data(run_dir: Path) -> None:
    path = run_dir / "trials/good--seed0/record.json"
    record = read_record(path)
    other = record.data.model_copy(update={"split_fingerprint": "other"})
    write_record(path, record.model_copy(update={"data": other}))
    with pytest.raises(HarnessError, match="split"):
        call(compare, f"{run_dir}:good", f"{run_dir}:poor")
