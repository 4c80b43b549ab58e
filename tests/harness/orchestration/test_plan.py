from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fake_worker import DATA, PRESET, plan, resolved

from harness.errors import HarnessError
from harness.orchestration.plan import Contender, make_plan, read_manifest, write_manifest
from harness.orchestration.wall_limit import ALLOWANCE, wall_limit
from harness.results.schema import DataFacts


def key(name: str = "healthy", seed: int = 0, data: DataFacts = DATA, budget: str = "60it", **how: Any) -> str:
    scoring = how.pop("scoring_version", "1")
    preset = how.pop("preset", PRESET)
    contenders = [Contender(resolved(name), preset, budget)]
    return make_plan(contenders, [seed], [data], scoring_version=scoring, command="x", **how).trials[0].spec.key


def test_the_key_follows_what_makes_the_work() -> None:
    training = PRESET.training.model_copy(update={"learning_rate": 0.2})
    others = [
        key("raises"),
        key(seed=1),
        key(data=DATA.model_copy(update={"fingerprint": "f" * 64})),
        key(data=DATA.model_copy(update={"split_fingerprint": "f" * 64})),
        key(budget="61it"),
        key(budget="60s"),
        key(scoring_version="2"),
        key(preset=PRESET.model_copy(update={"training": training})),
        key(device="cuda"),
        key(deterministic=True),
        key(threshold=0.5),
        key(precision="float32"),
        key(precision="bfloat16"),
    ]
    assert len({key(), *others}) == len(others) + 1


def test_the_key_does_not_follow_what_does_not() -> None:
    assert key(budget="600s") == key(budget="10m")
    assert key(device="cuda:0") == key(device="cuda:1")
    assert key(micro_batches=2) == key(checkpoint_seconds=5.0) == key(tensorboard=True) == key()
    assert key(data=DATA.model_copy(update={"source": "elsewhere"})) == key()


def test_all_of_a_seed_before_the_next() -> None:
    names = [trial.name for trial in plan(["b", "a"], 2).trials]
    assert names == ["b--seed0", "a--seed0", "b--seed1", "a--seed1"]


def test_folders_of_trials_are_plain_names() -> None:
    other = DATA.model_copy(update={"fingerprint": "f" * 64, "source": "coco:a/b.json,c"})
    awkward = ["../../x", "timm:a/b", "$(rm)", "a+b(p=0.5)", "ü" * 300, "..", "x;y", "x y"]
    contenders = [Contender(resolved(name), PRESET, "60it") for name in awkward]
    trials = make_plan(contenders, [0], [DATA, other], scoring_version="1", command="x").trials
    names = [trial.name for trial in trials]
    assert len(set(names)) == 2 * len(awkward)
    assert all(len(name) < 150 and not name.startswith(".") for name in names)
    assert not set("".join(names)) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.+-")


def test_a_bad_budget_is_said_before_anything_runs() -> None:
    with pytest.raises(HarnessError, match="budget 'soon'"):
        plan(["a"], budget="soon")


def test_what_is_written_is_read_and_added_to(tmp_path: Path) -> None:
    first = plan(["a"], 1)
    write_manifest(tmp_path, first)
    assert read_manifest(tmp_path) == first
    write_manifest(tmp_path, plan(["b"], 1))
    assert [trial.name for trial in read_manifest(tmp_path).trials] == ["a--seed0", "b--seed0"]


def test_a_damaged_plan_is_left_aside(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{")
    write_manifest(tmp_path, plan(["a"]))
    assert len(read_manifest(tmp_path).trials) == 1
    assert (tmp_path / "manifest.damaged.json").read_text("utf-8") == "{"


def test_paths_that_are_too_long_are_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.orchestration.plan.path_limit", lambda: 259)
    write_manifest(tmp_path / "short", plan(["a"]))
    long = tmp_path / ("x" * 200)
    with pytest.raises(HarnessError, match=r"paths of \d{3} characters, and this system takes 259.*shorter folder"):
        write_manifest(long, plan(["a"]))
    assert not long.exists()


def test_methods_whose_names_differ_in_case_have_folders_that_do_not() -> None:
    names = [trial.name.casefold() for trial in plan(["Mine", "mine"], 1).trials]
    assert len(set(names)) == 2


def test_an_untrusted_plan_cannot_name_another_folder(tmp_path: Path) -> None:
    plain = json.loads(plan(["a"]).model_dump_json())
    plain["trials"][0]["name"] = "../../home"
    (tmp_path / "manifest.json").write_text(json.dumps(plain))
    with pytest.raises(HarnessError, match="not the name of a trial"):
        read_manifest(tmp_path)


def spec_with(budget: str) -> Any:
    return plan(["a"], budget=budget).trials[0].spec


def test_the_wall_limit_follows_the_budget() -> None:
    assert wall_limit(spec_with("100s"), DATA) == ALLOWANCE + 200 + 20
    assert wall_limit(spec_with("10it"), DATA) > ALLOWANCE + 10
    assert wall_limit(spec_with("10ep"), DATA) > ALLOWANCE + 10
