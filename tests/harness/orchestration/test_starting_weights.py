"""The weights that trials start from are found, checked and hashed when a run is planned."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_worker import DATA, PRESET, resolved

from harness.config.split_spec import SplitSpec
from harness.config.trial_spec import TrialSpec, recipe_from_json
from harness.contract import INIT, Part, Recipe, StartingWeights, init_part
from harness.errors import HarnessError, NoWeightsError
from harness.options import Options, path_option
from harness.orchestration.plan import Contender, PlannedData, PlannedTrial, make_plan, make_spec
from harness.orchestration.starting_weights import check_unchanged, file_hash, find_start
from harness.results.schema import RunRecord


class FileOptions(Options):
    weights: str | None = path_option(None)


def find(recipe: Recipe, options: FileOptions, seed: int, settings: Mapping[str, Any]) -> StartingWeights:
    if options.weights is None:
        raise NoWeightsError("there are none for this network")
    return StartingWeights("checkpoint", options.weights, "cells of a friend", classes=("cell",), train_seconds=12.0)


def safetensors(path: Path, content: bytes = b"\0" * 8) -> Path:
    """A file of one tensor."""
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, len(content)]}}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(header).to_bytes(8, "little") + header + content)
    return path


def planned(init: Part, seed: int = 0) -> PlannedTrial:
    stack = resolved("healthy")
    contender = Contender(replace(stack, recipe=stack.recipe.with_parts(init=init)), PRESET, "60it")
    (trial,) = make_plan([contender], [seed], [DATA], scoring_version="1", command="x").trials
    return trial


def found(path: Path | None) -> Part:
    options = {} if path is None else {"weights": str(path)}
    return Part("mine", INIT, options, options_type=FileOptions, find_weights=f"{__name__}:find")


def test_the_key_holds_what_is_in_the_file_and_not_where_it_is(tmp_path: Path) -> None:
    here, there = safetensors(tmp_path / "a" / "w.safetensors"), safetensors(tmp_path / "b" / "w.safetensors")
    other = safetensors(tmp_path / "c" / "w.safetensors", b"\1" * 8)
    for part in (found, lambda path: init_part("checkpoint", str(path))):
        keys = [planned(part(path)).spec.key for path in (here, there, other)]
        assert keys[0] == keys[1] != keys[2]


def test_so_it_is_with_the_files_of_other_parts(tmp_path: Path) -> None:
    def key(path: Path) -> str:
        stack = resolved("healthy")
        engine = replace(stack.recipe.engine, options={"weights": str(path)}, options_type=FileOptions)
        contender = Contender(replace(stack, recipe=stack.recipe.with_parts(engine=engine)), PRESET, "60it")
        return make_plan([contender], [0], [DATA], scoring_version="1", command="x").trials[0].spec.key

    here, there = safetensors(tmp_path / "a" / "w.safetensors"), safetensors(tmp_path / "b" / "w.safetensors")
    assert key(here) == key(there) != key(safetensors(tmp_path / "c.safetensors", b"\1" * 8))


def test_the_record_says_where_weights_are_from_and_names_no_folder(tmp_path: Path) -> None:
    spec = planned(found(safetensors(tmp_path / "secret" / "w.safetensors"))).spec
    record = RunRecord.from_spec(spec, "ok", machine={}, versions={}, git_commit="")
    assert json.dumps(str(tmp_path))[1:-1] in json.dumps(spec.recipe), "the worker reads the file"
    assert "secret" not in record.model_dump_json()
    assert record.start is not None
    assert (record.start.name, record.start.file, record.start.source) == ("mine", "w.safetensors", "cells of a friend")
    assert (
        record.start.sha256
        == record.recipe["init"]["options"]["sha256"]
        == file_hash(tmp_path / "secret/w.safetensors")
    )
    assert recipe_from_json(spec.recipe).init.build(None).classes == ("cell",)


def test_no_weights_for_a_network_skip_its_trial(tmp_path: Path) -> None:
    trial = planned(found(None))
    assert trial.skip_reason == "there are none for this network"
    assert trial.spec.start is None


def test_an_init_without_a_file_stays_as_it_is() -> None:
    assert find_start(resolved("healthy").recipe.with_parts(init=init_part("scratch")), 0, {}).facts is None
    start = find_start(resolved("healthy").recipe.with_parts(init=init_part("coco")), 0, {})
    assert start.part.options == {"kind": "coco", "path": None}
    assert start.facts is not None
    assert start.facts.train_seconds is None


def _pickled() -> bytes:
    return pickle.dumps({"model": {"w": [0.0] * 50}}, protocol=2)


def _zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("archive/data.pkl", "x" * 200)
    return buffer.getvalue()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pkl"])
def test_a_file_cut_short_is_one_line_before_any_work(suffix: str, tmp_path: Path) -> None:
    path = safetensors(tmp_path / f"w{suffix}")
    if suffix != ".safetensors":
        path.write_bytes({".pth": _zipped, ".pkl": _pickled}[suffix]())
    assert len(file_hash(path)) == 64
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(HarnessError, match=r"w\.\w+ is cut short") as caught:
        planned(found(path))
    assert "\n" not in str(caught.value)
    assert not isinstance(caught.value, NoWeightsError)


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, b"\2" + b"\0" * 7 + b"[]"])
def test_what_is_no_safetensors_file_is_told(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(HarnessError, match="no file of weights"):
        file_hash(tmp_path / "w.safetensors")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="no weights file at"):
        planned(found(tmp_path / "none.safetensors"))


def test_a_file_that_changes_between_plan_and_training_is_told(tmp_path: Path) -> None:
    path = safetensors(tmp_path / "w.safetensors")
    spec: TrialSpec = planned(found(path)).spec
    check_unchanged(recipe_from_json(spec.recipe))
    safetensors(path, b"\1" * 12)
    with pytest.raises(HarnessError, match="has changed since the run was planned"):
        check_unchanged(recipe_from_json(spec.recipe))


def test_options_that_are_no_path_stay_in_the_key() -> None:
    def key(**options: Any) -> str:
        return planned(Part("mine", "fake_worker:healthy", options)).spec.key

    assert key(depth=3) != key(depth=4)


@pytest.mark.parametrize(("scale", "wanted"), [(None, 1.0), (2.0, 2.0), ("match", 0.5)])
def test_a_start_may_ask_for_the_size_of_cells(scale: Any, wanted: float, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = StartingWeights("checkpoint", cell_diameter=10.0, scale=scale)
    monkeypatch.setattr(f"{__name__}.find", lambda *_: weights)
    stack = resolved("healthy")
    contender = Contender(replace(stack, recipe=stack.recipe.with_parts(init=found(None))), PRESET, "60it")
    spec = make_spec(contender, 0, PlannedData(DATA, SplitSpec(), cell_diameter=lambda: 20.0), "1", {"command": "x"})
    assert spec.preset.scale == wanted
    unknown = make_spec(contender, 0, PlannedData(DATA, SplitSpec()), "1", {"command": "x"})
    assert unknown.preset.scale == (wanted if scale == 2.0 else 1.0)


def test_a_fitted_preset_takes_the_anchors_of_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = StartingWeights("checkpoint", anchors={"anchor_scale": 5.0})
    monkeypatch.setattr(f"{__name__}.find", lambda *_: weights)
    stack = resolved("healthy")
    contender = Contender(replace(stack, recipe=stack.recipe.with_parts(init=found(None))), PRESET, "60it")
    plain = make_spec(contender, 0, PlannedData(DATA, SplitSpec()), "1", {"command": "x"})
    assert plain.preset == PRESET
    fitted = PRESET.model_copy(update={"fit": ("anchors of 8 to 128 pixels",)})
    spec = make_spec(contender, 0, PlannedData(DATA, SplitSpec(), preset=fitted), "1", {"command": "x"})
    assert spec.preset.model["anchor_scale"] == 5.0
    assert spec.start is not None
    assert "anchors" not in spec.start.model_dump()
