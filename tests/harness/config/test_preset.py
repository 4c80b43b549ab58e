"""Presets: the four that come with the harness, and one clear line for each mistake in one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.catalog import Catalog, load_catalog
from harness.config.preset import Preset, check_settings, load_preset, preset_names
from harness.contract import Init
from harness.errors import HarnessError
from harness.stacks import resolve

ENGINES = ("mask_rcnn", "torchvision_starter", "torchvision_starter_v2")


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def with_model(**model: Any) -> Preset:
    return load_preset("quick").model_copy(update={"model": model})


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", preset_names())
def test_every_engine_takes_every_preset(catalog: Catalog, engine: str, name: str) -> None:
    preset = load_preset(name)
    check_settings(preset, resolve(catalog, engine, preset.size, Init("scratch")))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"anchor_scal": 4}, "no setting 'anchor_scal'; did you mean 'anchor_scale'? (there are: anchor_ratios, "),
        ({"anchor_scale": -1}, "anchor_scale=-1 must be a number above 0"),
        ({"width": 12.5}, "width=12.5 must be a whole number, 1 or more"),
        ({"proposals": "many"}, "proposals='many' must be a whole number, 1 or more"),
    ],
)
def test_a_mistake_in_the_model_table_is_one_line(catalog: Catalog, engine: str, model: Any, said: str) -> None:
    with pytest.raises(HarnessError) as caught:
        check_settings(with_model(**model), resolve(catalog, engine, "small", Init("scratch")))
    assert str(caught.value).startswith(f"preset quick, table [model]: {said}")
    assert "\n" not in str(caught.value)


def test_a_key_of_another_engine_is_no_mistake(catalog: Catalog) -> None:
    starter = resolve(catalog, "torchvision_starter", "small", Init("scratch"))
    check_settings(with_model(compile=True), starter)
    alone = replace(starter, known_settings=frozenset(starter.recipe.engine.settings.model_fields))
    with pytest.raises(HarnessError, match="no setting 'compile'"):
        check_settings(with_model(compile=True), alone)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("crop = 128", "crpo = 128", "no option 'training.crpo'; did you mean 'crop'? (there are: crop, batch, "),
        ("crop = 128", "", "training.crop is missing"),
        ("batch = 4", "batch = 0", "training.batch=0 must be a whole number above 0"),
        ('decay = "linear"', 'decay = "lin"', "training.decay='lin' must be one of constant, linear, cosine, step"),
        ('size = "small"', 'size = "tiny"', "size='tiny' must be one of small, full"),
        ("batch = 4", "batch = ", "Invalid value"),
    ],
)
def test_a_mistake_in_a_preset_file_is_one_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = (Path(load_preset.__code__.co_filename).parent / "presets" / "quick.toml").read_text(encoding="utf-8")
    assert text.count(old) == 1
    path = tmp_path / "own.toml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(HarnessError) as caught:
        load_preset(str(path))
    assert str(caught.value).startswith(f"preset {path}: {said}")
    assert "\n" not in str(caught.value)


def test_a_mistake_in_the_training_settings_of_a_row_names_the_row(tmp_path: Path) -> None:
    text = (Path(load_preset.__code__.co_filename).parent / "presets" / "paper.toml").read_text(encoding="utf-8")
    path = tmp_path / "own.toml"
    path.write_text(text.replace("training = { learning_rate", "training = { learning_rat"), encoding="utf-8")
    with pytest.raises(HarnessError, match=r"row 'mask.*no option 'learning_rat'; did you mean 'learning_rate'"):
        load_preset(str(path))


def test_the_copy_paste_row_of_the_papers_preset_is_the_code_that_its_parameters_name(catalog: Catalog) -> None:
    """copy-paste-aug `copy_paste.py`: the partner is any image, and an object leaves only where nothing is seen."""
    (row,) = [row for row in load_preset("paper").rows if "copy_paste" in row.method]
    options = resolve(catalog, row.method, "full", Init("scratch")).recipe.augment.options
    assert {name: options[name] for name in ("within_type", "min_visible", "blend", "sigma", "pct_objects_paste")} == {
        "within_type": False,
        "min_visible": 0,
        "blend": True,
        "sigma": 1,
        "pct_objects_paste": 0.5,
    }


def test_a_preset_that_is_not_there_names_the_nearest() -> None:
    with pytest.raises(HarnessError, match="no preset 'quik'; did you mean 'quick'"):
        load_preset("quik")
