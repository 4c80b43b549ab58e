from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from harness.config.preset import Preset, load_preset, preset_names
from harness.config.preset_file import preset_text
from harness.config.space import load_space, with_values
from harness.errors import HarnessError

QUICK = load_preset("quick")


def space_of(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "space.toml"
    path.write_text(text)
    return path


def test_the_default_space_holds_what_the_default_preset_has() -> None:
    space = load_space(None, [], QUICK)
    own = space.own_values(QUICK)
    assert space.contains(own)
    assert own["training.learning_rate"] == QUICK.training.learning_rate
    assert not space.contains({**own, "training.learning_rate": 1.0})


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("training.lerning_rate = {low = 1, high = 2}", "did you mean 'training.learning_rate'?"),
        ("model.anchor_scal = {choices = [2, 4]}", "did you mean 'model.anchor_scale'?"),
        ("evaluation.validation = {choices = [0.1]}", "no setting 'evaluation.validation'"),
        ("budget = {choices = ['1it']}", "only settings of [training] and [model] are searched"),
        ("training.learning_rate = 0.1", "training.learning_rate: type it as in {low"),
        ("training.learning_rate = {low = 0.1, hihg = 1}", "did you mean 'high'?"),
        ("training.learning_rate = {low = 0.1}", "needs low and high, or choices"),
        ("training.learning_rate = {low = 0.1, high = 0.01}", "low 0.1 must be below high 0.01"),
        ("training.learning_rate = {low = 0, high = 1, log = true}", "log needs a low above 0"),
        ("training.momentum = {low = 0.5, high = 1.5}", "momentum=1.5 must be a number"),
        ("training.decay = {choices = ['linear', 'cosin']}", "decay='cosin' must be one of"),
        ("training.decay = {choices = ['linear'], low = 1}", "has choices and a range"),
        ("", "holds no setting"),
        ("training.learning_rate = {", "space.toml:"),
    ],
)
def test_a_mistake_in_a_space_gets_one_line(tmp_path: Path, text: str, line: str) -> None:
    with pytest.raises(HarnessError) as caught:
        load_space(space_of(tmp_path, text), ["anchor_scale"], QUICK)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_space_reaches_the_settings_of_the_engines(tmp_path: Path) -> None:
    path = space_of(tmp_path, "[model]\nanchor_scale = {low = 1, high = 8}\n")
    space = load_space(path, ["anchor_scale"], QUICK)
    assert space.own_values(QUICK) == {"model.anchor_scale": 2}
    assert with_values(QUICK, {"model.anchor_scale": 4}).model["anchor_scale"] == 4
    assert QUICK.model["anchor_scale"] == 2


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_written_as_toml_is_read_as_the_same(name: str) -> None:
    preset = load_preset(name)
    text = preset_text(preset, "a comment\nof two lines")
    assert Preset(name=name, **tomllib.loads(text)) == preset
