"""Two methods that change different slots train, predict and score together. Other pairs are refused with a reason."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
from trial_specs import spec_of

from harness.catalog import load_catalog
from harness.config.preset import Preset, load_preset
from harness.contract import Init
from harness.errors import HarnessError
from harness.monitoring.progress import ProgressFile
from harness.orchestration.prepared_data import PreparedData, prepare_data
from harness.orchestration.trial.work import Trial
from harness.stacks import resolve

SOURCE = "synthetic:images=6,size=64"
CATALOG = load_catalog()
NAMES = [name for name in CATALOG.defaults() if name != "mask_rcnn"]
PAIRS = list(combinations(NAMES, 2))


def fits(first: str, second: str) -> bool:
    """Whether the two change different slots, and each slot is one that the other's engine reads."""
    one, other = CATALOG.method(first), CATALOG.method(second)
    if set(one.parts) & set(other.parts):
        return False
    for engine, method in ((one, other), (other, one)):
        if "engine" in engine.parts and not set(method.parts) <= set(engine.supported_slots):
            return False
    return True


@pytest.fixture(scope="module")
def preset() -> Preset:
    smoke = load_preset("smoke")
    training = smoke.training.model_copy(update={"crop": 64, "batch": 2})
    return smoke.model_copy(update={"source": SOURCE, "budget": "1it", "training": training})


@pytest.fixture(scope="module")
def prepared(preset: Preset) -> PreparedData:
    return prepare_data(SOURCE, False, preset)


def test_both_kinds_of_pair_exist() -> None:
    assert sum(fits(*pair) for pair in PAIRS) >= 20
    assert sum(not fits(*pair) for pair in PAIRS) >= 5


@pytest.mark.parametrize("pair", [p for p in PAIRS if fits(*p)], ids="+".join)
def test_pairs_of_different_slots_run(
    pair: tuple[str, str], preset: Preset, prepared: PreparedData, tmp_path: Path
) -> None:
    record = Trial(
        spec_of("+".join(pair), preset, SOURCE, prepared.facts, catalog=CATALOG), tmp_path, ProgressFile()
    ).run()
    assert record.status == "ok"
    assert record.scores is not None
    assert 0 <= record.scores.iou_map <= 1
    assert set(CATALOG.method(pair[0]).parts) | set(CATALOG.method(pair[1]).parts) == set(record.slots_changed)


@pytest.mark.parametrize("pair", [p for p in PAIRS if not fits(*p)], ids="+".join)
def test_other_pairs_are_refused_in_one_line_before_anything_trains(pair: tuple[str, str]) -> None:
    with pytest.raises(HarnessError) as refused:
        resolve(CATALOG, "+".join(pair), "small", Init())
    assert "\n" not in str(refused.value)
    assert all(name in str(refused.value) for name in pair)


def test_three_changes_on_one_recipe(preset: Preset, prepared: PreparedData, tmp_path: Path) -> None:
    spec = spec_of("container+copy_paste+pointsup", preset, SOURCE, prepared.facts, catalog=CATALOG)
    record = Trial(spec, tmp_path, ProgressFile()).run()
    assert record.status == "ok"
    assert set(record.slots_changed) == {"backbone", "augment", "supervision"}
