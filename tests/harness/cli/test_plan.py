"""`plan` prints the preset that `run` derives; `--set` changes one setting of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli import harness
from harness.config.preset import load_preset
from harness.orchestration.plan import Contender, Manifest
from harness.orchestration.request import RunRequest

SOURCE = "synthetic:images=12,size=96,density=0.4"


def typed(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(harness, list(words))
    return result.exit_code, result.stdout, result.stderr


def planned(request: RunRequest) -> Manifest:
    from harness.catalog import load_catalog
    from harness.orchestration.request import find_contenders

    preset = request.base_preset()
    contenders: list[Contender] = find_contenders(request, load_catalog(()), preset)
    return request.plan(contenders, preset, lambda note: None)


def test_the_plan_is_a_preset_with_its_reasons(tmp_path: Path) -> None:
    code, out, _ = typed("plan", SOURCE, "--device", "cpu")
    assert code == 0
    assert out.startswith("# cells are ")
    path = tmp_path / "mine.toml"
    path.write_text(out, encoding="utf-8")
    found = load_preset(str(path))
    assert found.source == SOURCE
    assert found.training.crop == 96, "no larger than the images"


def test_a_typed_setting_is_kept_by_the_plan() -> None:
    code, out, _ = typed("plan", SOURCE, "--device", "cpu", "--set", "model.scale=0.5")
    assert code == 0
    assert "scale = 0.5\n" in out


def test_a_mistyped_setting_is_one_line() -> None:
    code, _, err = typed("plan", SOURCE, "--device", "cpu", "--set", "scale=0.5")
    assert code == 2
    assert err.startswith("error: --set: 'scale' names no setting")


def test_every_method_of_a_run_has_the_same_fitted_preset() -> None:
    manifest = planned(RunRequest(methods="mask_rcnn,copy_paste", sources=(SOURCE,)))
    presets = [trial.spec.preset for trial in manifest.trials]
    assert presets[0] == presets[1]
    assert presets[0].fit
    assert presets[0].training.crop == 96
    assert "fitted to the data: cells are" in manifest.trials[0].spec.cost_notes()[0]


def test_the_same_command_plans_the_same_work() -> None:
    first, second = (planned(RunRequest(methods="mask_rcnn", sources=(SOURCE,))) for _ in range(2))
    assert first.trials[0].spec.key == second.trials[0].spec.key
    other = planned(RunRequest(methods="mask_rcnn", sources=(SOURCE,), settings=("model.scale=0.5",)))
    assert other.trials[0].spec.key != first.trials[0].spec.key


def test_each_data_set_has_its_own_fit() -> None:
    both = planned(RunRequest(methods="mask_rcnn", sources=(SOURCE, "synthetic:images=12,size=64")))
    assert {trial.spec.preset.training.crop for trial in both.trials} == {96, 64}


@pytest.mark.parametrize("preset", ["quick", "smoke"])
def test_a_named_preset_is_not_fitted(preset: str) -> None:
    manifest = planned(RunRequest(methods="mask_rcnn", sources=(SOURCE,), preset=preset))
    assert manifest.trials[0].spec.preset == load_preset(preset)
