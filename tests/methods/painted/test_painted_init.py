"""Starting from weights learned on painted cells: found by the network, made where they are missing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from painted_cards import CARD, MAKING
from safetensors.numpy import load_file

from harness.catalog import load_catalog
from harness.cli import harness
from harness.cli.run import could_start_painted
from harness.config.preset import load_preset
from harness.contract import Task
from harness.errors import HarnessError, NoWeightsError
from harness.monitoring.progress import ProgressFile
from harness.orchestration import pretraining, starting_weights
from harness.orchestration.plan import Contender
from harness.orchestration.pretraining import networks, pretrain
from harness.stacks import resolve, resolve_init
from harness.training import painted_weights
from harness.training.painted_file import restored, write_painted
from harness.training.painted_weights import find_start
from methods.painted import PaintedOptions

SMOKE = load_preset("smoke")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of StarDist, which loads no framework, after two steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretraining, "HELD_OUT", 2)
        patch.setattr(pretraining, "package_versions", dict)
        folder = tmp_path_factory.mktemp("painted")
        (work,) = networks(load_catalog(), ["stardist"], SMOKE, lambda note: None, budget="2it", folder=folder)
        pretrain(work, "typed", ProgressFile())
    return work.path


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))


def test_weights_are_found_by_the_network(weights: Path) -> None:
    catalog = load_catalog()
    recipe = resolve(catalog, "stardist", "small", resolve_init(catalog, "painted", "small")).recipe
    with pytest.raises(
        NoWeightsError, match="`python -m harness pretrain` with the run's --methods and --preset makes them"
    ):
        recipe.init.find(recipe, 0, SMOKE.model)
    own = painted_weights.painted_folder() / weights.name
    own.parent.mkdir(parents=True)
    for suffix in (".safetensors", ".json"):
        own.with_suffix(suffix).write_bytes(weights.with_suffix(suffix).read_bytes())
    found = recipe.init.find(recipe, 0, SMOKE.model)
    assert (found.kind, found.path, found.classes) == ("checkpoint", str(own), ("cell",))
    assert found.source == "painted cells, 2it, the user's own"
    assert found.train_seconds is not None
    assert found.licence == "Apache-2.0"


def test_weights_of_another_network_are_no_weights(weights: Path) -> None:
    recipe = resolve(load_catalog(), "stardist(rays=16)", "small", pretraining.Init()).recipe
    with pytest.raises(NoWeightsError, match="was learned by the network of stardist, not by this one"):
        find_start(recipe, PaintedOptions(weights=str(weights)), 0, {})


def test_a_file_of_something_else_ends_the_run(tmp_path: Path) -> None:
    recipe = resolve(load_catalog(), "stardist", "small", pretraining.Init()).recipe
    (tmp_path / "a.safetensors").write_bytes(b"weights")
    with pytest.raises(HarnessError, match=r"a\.safetensors cannot be read as weights") as told:
        find_start(recipe, PaintedOptions(weights=str(tmp_path / "a.safetensors")), 0, {})
    assert not isinstance(told.value, NoWeightsError)


def test_a_network_starts_from_them(weights: Path) -> None:
    """All tensors but those of the classes, which StarDist has only for several."""
    catalog = load_catalog()
    init = resolve_init(catalog, f"painted:{weights}", "small")
    recipe = resolve(catalog, "stardist", "small", init).recipe
    start = starting_weights.find_start(recipe, 0, SMOKE.model)
    task = Task(("a", "b"), (90.0,) * 3, (30.0,) * 3, 64, 10, (64, 64))
    model = recipe.engine.build(recipe.with_parts(init=start.part), task)
    state = model.module.state_dict()
    stored = restored(load_file(weights))
    assert stored
    assert all(np.array_equal(state[name].numpy(), value) for name, value in stored.items())
    assert start.facts is not None
    assert (start.facts.name, start.facts.source) == ("painted", "painted cells, 2it, from a file")


def test_a_run_makes_what_is_missing_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretraining, "HELD_OUT", 2)
    monkeypatch.setattr(pretraining, "package_versions", dict)
    typed = "run --methods stardist --preset smoke --init painted --pretrain=1it --budget 1it --device cpu --dry-run"
    found = CliRunner().invoke(harness, [*typed.split(), "--data", "painted:images=9,size=64,cells=8-20"])
    assert found.exit_code == 0, found.output
    assert "1 of 1: stardist: 1 steps" in found.output
    recipe = resolve(load_catalog(), "stardist", "small", pretraining.Init()).recipe
    weights = find_start(recipe, PaintedOptions(), 0, SMOKE.model)
    assert weights.source == "painted cells, 1it, the user's own"
    assert weights.anchors == {}, "it has none"


def test_a_network_with_another_mask_head_keeps_all_else(tmp_path: Path) -> None:
    """deepmac starts from the weights of mask_rcnn where it has none, and its mask head is new."""
    catalog = load_catalog()
    (work,) = networks(catalog, ["mask_rcnn"], SMOKE, print, budget="1it", folder=painted_weights.painted_folder())
    task = Task(("cell",), (90.0,) * 3, (30.0,) * 3, 64, 10, (64, 64), settings=SMOKE.model)
    source = work.recipe.engine.build(work.recipe, task).module.state_dict()
    card = CARD.model_copy(
        update={"budget": "1it", "architecture": work.network.architecture, "settings": work.network.settings}
    )
    write_painted(work.path, {name: value.numpy() for name, value in source.items()}, card, MAKING)

    init = resolve_init(catalog, "painted", "small")
    recipe = resolve(catalog, "deepmac", "small", init).recipe
    start = starting_weights.find_start(recipe, 0, SMOKE.model)
    assert start.facts is not None
    assert start.facts.new_parts == ("mask_head",)
    assert start.facts.source == ("painted cells, 1it, the user's own; the mask head, which is not mask_rcnn's, is new")
    model = recipe.engine.build(recipe.with_parts(init=start.part), task)
    assert model.loaded is not None
    fates = {group: set(counts) for group, counts in model.loaded.groups.items()}
    assert fates.pop("roi_heads.mask_head") == {"new"}
    assert set().union(*fates.values()) == {"kept"}
    stored = restored(load_file(work.path))
    state = model.module.state_dict()
    assert all(np.array_equal(state[name].numpy(), stored[name]) for name in state if "mask_head" not in name)
    # a backbone of another kind is another network
    with pytest.raises(NoWeightsError):
        find_start(resolve(catalog, "container", "small", init).recipe, PaintedOptions(), 0, SMOKE.model)


def test_a_run_on_real_data_from_scratch_says_what_to_add(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def could(**changes: object) -> bool:
        contender = Contender(resolve(load_catalog(), "stardist", "small", pretraining.Init()), SMOKE, "1it")
        facts = SimpleNamespace(**{"start": None, "source": "coco:a.json,images", **changes})
        manifest: Any = SimpleNamespace(trials=[SimpleNamespace(spec=facts)])
        return could_start_painted(manifest, [contender])

    assert not could()
    monkeypatch.setattr(painted_weights, "painted_folder", lambda: weights.parent)
    assert could()
    assert not could(source="synthetic:images=9")
    assert not could(start="painted")


def test_weights_of_another_size_are_no_weights_and_the_line_says_which(weights: Path) -> None:
    """Before anything trains, so that --dry-run knows it too."""
    recipe = resolve(load_catalog(), "mask_rcnn", "small", pretraining.Init()).recipe
    shipped = "there are some for width 128, not 32"
    with pytest.raises(NoWeightsError, match=shipped) as told:
        find_start(recipe, PaintedOptions(), 0, {"width": 32, "box_head_width": 256})
    assert "`python -m harness pretrain` with the run's --methods and --preset" in str(told.value)
    file = next(painted_weights.shipped_folder().glob("*.safetensors"))
    with pytest.raises(NoWeightsError, match="was learned at width 128, not 32"):
        find_start(recipe, PaintedOptions(weights=str(file)), 0, {"width": 32, "box_head_width": 256})
