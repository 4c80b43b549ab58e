"""The weights of an earlier run are found by the network that they are of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_run import FakeMethod, write_run

from harness.catalog import load_catalog
from harness.contract import Init, Part, StartingWeights
from harness.errors import HarnessError, NoWeightsError
from harness.results.io import RECORD, TASK, WEIGHTS, read_record, write_record
from harness.stacks import resolve, resolve_init

CATALOG = load_catalog()
HELD = (
    FakeMethod("mask_rcnn", 0.6, 74, 2.1, 110),
    FakeMethod("copy_paste", 0.6, 81, 2.1, 110),
    FakeMethod("deepmac", 0.6, 133, 2.1, 110, status="oom", reason="out of memory"),
)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of `HELD`."""
    run = write_run(tmp_path_factory.mktemp("runs") / "usi", HELD, seeds=2, source="synthetic:images=6,size=64")
    for record in run.glob(f"trials/*/{RECORD}"):
        (record.parent / WEIGHTS).write_bytes(b"weights")
        task = {"cell_diameter": 17.5, "settings": {"anchor_scale": 3.0, "width": 128}}
        (record.parent / TASK).write_text(json.dumps(task))
    return run


def found(stack: str, seed: int = 0) -> StartingWeights:
    recipe = resolve(CATALOG, stack, "small", Init()).recipe
    return recipe.init.find(recipe, seed, {})


def test_the_trial_most_like_the_stack_gives_its_weights_seed_by_seed(run_dir: Path) -> None:
    weights = found(f"mask_rcnn+from_run(run={run_dir})", seed=1)
    assert Path(str(weights.path)) == run_dir / "trials" / "mask_rcnn--seed1" / WEIGHTS
    assert (weights.kind, weights.seed, weights.cell_diameter) == ("checkpoint", 1, 17.5)
    assert weights.anchors == {"anchor_scale": 3.0, "anchor_ratios": [0.5, 1.0, 2.0]}
    assert weights.source == "mask_rcnn, 200it on synthetic:images=6,size=64"
    assert weights.classes == tuple(read_record(Path(str(weights.path)).parent / RECORD).data.classes)  # type: ignore[union-attr]
    assert "copy_paste--seed1" in str(found(f"copy_paste+from_run(run={run_dir})", seed=1).path)
    assert "mask_rcnn--seed0" in str(found(f"pointsup+from_run(run={run_dir})", seed=7).path), "the lowest seed"
    assert "mask_rcnn--seed1" in str(found(f"pointsup+from_run(run={run_dir},seed=1)").path)
    assert "copy_paste--seed0" in str(found(f"pointsup+from_run(run={run_dir},method=copy_paste)").path)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"settings": null}', '{"settings": {"width": 3}}', '{"cell_diameter": "x"}']
)
def test_weights_whose_task_is_not_known_are_taken_all_the_same(run_dir: Path, text: str) -> None:
    task = run_dir / "trials" / "mask_rcnn--seed0" / TASK
    kept = task.read_text("utf-8")
    task.write_text(text)
    weights = found(f"mask_rcnn+from_run(run={run_dir})")
    task.write_text(kept)
    assert (weights.cell_diameter, weights.anchors) == (0.0, {})


def test_a_network_that_the_run_did_not_train_is_none(run_dir: Path) -> None:
    for stack in ("container", "deepmac", "torchvision_starter", "stardist"):
        with pytest.raises(NoWeightsError, match="no trained network of this kind; it has: copy_paste, mask_rcnn"):
            found(f"{stack}+from_run(run={run_dir})")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("", "type from_run"),
        ("(run=nowhere)", "no folder nowhere"),
        ("(run={run},method=copy_pasta)", "did you mean 'copy_paste'"),
        ("(run={run},seed=5)", "no seed 5 of it; it has: 0, 1"),
        ("(run={run}/trials)", "holds no trained weights"),
    ],
)
def test_what_is_not_there_is_one_line(run_dir: Path, options: str, said: str) -> None:
    with pytest.raises(HarnessError, match=said) as caught:
        found(f"mask_rcnn+from_run{options.format(run=run_dir)}")
    assert not isinstance(caught.value, NoWeightsError)


def test_training_times_add_up_over_starts(run_dir: Path) -> None:
    path = run_dir / "trials" / "mask_rcnn--seed0" / RECORD
    record = read_record(path)
    own = record.cost.train_seconds
    first = found(f"mask_rcnn+from_run(run={run_dir})")
    assert first.train_seconds == own
    from harness.config.start_facts import StartFacts

    try:
        write_record(path, record.model_copy(update={"start": StartFacts.of("from_run", first, "a" * 64)}))
        assert found(f"mask_rcnn+from_run(run={run_dir})").train_seconds == pytest.approx(2 * own)
        unknown = StartFacts.of("imagenet", StartingWeights("imagenet"), "")
        write_record(path, record.model_copy(update={"start": unknown}))
        assert found(f"mask_rcnn+from_run(run={run_dir})").train_seconds is None
    finally:
        write_record(path, record)


def test_several_data_sets_must_be_told_apart(run_dir: Path) -> None:
    other = run_dir / "trials" / "mask_rcnn--other"
    other.mkdir()
    record = read_record(run_dir / "trials" / "mask_rcnn--seed0" / RECORD)
    write_record(other / RECORD, record.model_copy(update={"key": "0" * 16}))
    (other / WEIGHTS).write_bytes(b"weights")
    try:
        with pytest.raises(HarnessError, match="several data sets; type from_run"):
            found(f"mask_rcnn+from_run(run={run_dir})")
        assert str(other) in str(found(f"mask_rcnn+from_run(run={run_dir},method=mask_rcnn--other)").path)
    finally:
        for path in other.iterdir():
            path.unlink()
        other.rmdir()


def test_init_takes_a_run_or_a_file_as_a_checkpoint(run_dir: Path) -> None:
    part: Part = resolve_init(CATALOG, f"checkpoint:{run_dir}", "small")
    assert (part.name, part.options["run"]) == ("from_run", str(run_dir))
    file = next(run_dir.glob(f"trials/*/{WEIGHTS}"))
    assert resolve_init(CATALOG, f"checkpoint:{file}", "small").options == {"kind": "checkpoint", "path": str(file)}
