"""What is typed becomes a plan: published splits, whole sources, and options that contradict each other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from example_sources import livecell
from fake_worker import PRESET, resolved

from harness.catalog import load_catalog
from harness.config.preset import load_preset
from harness.errors import HarnessError
from harness.orchestration.plan import Contender, Manifest
from harness.orchestration.request import RunRequest, find_contenders


def planned(**options: object) -> Manifest:
    request = RunRequest.model_validate(options)
    return request.plan([Contender(resolved("healthy"), PRESET, "10it")], PRESET, lambda note: None)


def test_livecell_is_planned_with_its_published_split(tmp_path: Path) -> None:
    livecell(tmp_path)
    (trial,) = planned(sources=(f"livecell:{tmp_path}",)).trials
    assert trial.spec.source == f"livecell:{tmp_path},train"
    assert trial.spec.split.calibration == (f"livecell:{tmp_path},val",)
    facts = planned(sources=(f"livecell:{tmp_path}",)).facts_of(trial.spec)
    assert facts.splits == {"train": ["a"], "calibration": ["b"], "validation": ["c"]}


def test_three_coco_files_are_the_same_split(tmp_path: Path) -> None:
    livecell(tmp_path)
    files = [f"coco:{tmp_path}/annotations/LIVECell/livecell_coco_{part}.json,{tmp_path}/images"
             for part in ("train", "val", "test")]  # fmt: skip
    manifest = planned(sources=files[:1], calibration=files[1:2], validation=files[2:])
    (trial,) = manifest.trials
    published = planned(sources=(f"livecell:{tmp_path}",)).trials[0]
    assert trial.spec.split_fingerprint == published.spec.split_fingerprint
    assert trial.spec.data_fingerprint == published.spec.data_fingerprint


def test_an_image_in_two_sources_is_refused_by_name_and_by_pixels(tmp_path: Path) -> None:
    livecell(tmp_path)
    files = {part: tmp_path / "annotations" / "LIVECell" / f"livecell_coco_{part}.json" for part in ("train", "test")}
    tables = {part: json.loads(file.read_text("utf-8")) for part, file in files.items()}
    tables["test"]["images"] += tables["train"]["images"]
    files["test"].write_text(json.dumps(tables["test"]))
    with pytest.raises(HarnessError, match=r"the image 'a' is in train .* and in validation"):
        planned(sources=(f"livecell:{tmp_path}",))

    shutil.copy(tmp_path / "images" / "a.png", tmp_path / "images" / "renamed.png")
    tables["test"]["images"][-1] = {**tables["train"]["images"][0], "file_name": "renamed.png"}
    files["test"].write_text(json.dumps(tables["test"]))
    with pytest.raises(HarnessError, match="'renamed' in validation and 'a' in train are the same image"):
        planned(sources=(f"livecell:{tmp_path}",))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"hold_out": "cell_type=cort", "validation": ("synthetic",)}, "--validation and --hold-out both say"),
        ({"hold_out": "cell_type=cort", "calibration": ("synthetic",)}, "--calibration SOURCE goes with --validation"),
        ({"split": "nowhere.csv"}, "--split nowhere.csv: there is no such file"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(HarnessError) as told:
        planned(sources=("synthetic:images=9,size=64",), **options)
    assert said in str(told.value)


@pytest.mark.parametrize(
    ("init", "said"),
    [
        ("checkpoint:nowhere", "no file nowhere"),
        ("imagnet", "did you mean 'imagenet'"),
        ("checkpoint:cut.pth", "cut short"),
    ],
)
def test_a_preset_may_name_any_start_and_what_is_wrong_is_said_first(
    init: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cut.pth").write_bytes(b"PK" + bytes(100))
    preset = load_preset("smoke").model_copy(update={"init": init, "name": "mine"})
    with pytest.raises(HarnessError, match=said):
        find_contenders(RunRequest(methods="mask_rcnn"), load_catalog(), preset)
    (found,) = find_contenders(RunRequest(methods="mask_rcnn", init="coco"), load_catalog(), preset)
    assert found.resolved.recipe.init.name == "coco", "what is typed comes before the preset"
