"""Finds, in the folder of a run, the trained weights of a network, for trials that start from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Protocol

from harness.config.anchors import RATIOS
from harness.config.trial_spec import recipe_to_json
from harness.contract import Recipe, StartingWeights
from harness.errors import HarnessError, NoWeightsError, nearest
from harness.redaction import public_path
from harness.results.io import TASK, WEIGHTS, read_json, read_record, record_paths
from harness.results.schema import RunRecord

NETWORK = ("engine", "backbone", "mask_head")
"""The slots that make the network."""


class RunOptions(Protocol):
    """Which trial of a run. None for method: the one most like the stack; for seed: the trial's own, or the lowest."""

    @property
    def run(self) -> str | None: ...
    @property
    def method(self) -> str | None: ...
    @property
    def seed(self) -> int | None: ...
    @property
    def scale(self) -> float | Literal["match", "preset"]: ...


def find(recipe: Recipe, options: RunOptions, seed: int, settings: Mapping[str, Any]) -> StartingWeights:
    """The weights of the trial of the run that has the same network and is most like the recipe.

    Raises:
        NoWeightsError: the run trained no such network.
        HarnessError: there is no such run, nothing of it ended well, or it is not clear which trial is meant.
    """
    if not options.run:
        raise HarnessError("from_run needs the folder of a run: type from_run(run=RUN_DIR)")
    run_dir = Path(options.run).expanduser()
    trained = _trained(run_dir)
    wanted = recipe_to_json(recipe)
    if options.method is not None:
        trained = _named(trained, options.method, run_dir)
    same = {folder: record for folder, record in trained.items() if _network(record.recipe) == _network(wanted)}
    if not same:
        held = ", ".join(sorted({record.method for record in trained.values()}))
        raise NoWeightsError(f"{public_path(str(run_dir))} holds no trained network of this kind; it has: {held}")
    chosen = _most_alike(same, wanted)
    seeds = {record.seed: folder for folder, record in chosen.items()}
    if options.seed is not None and options.seed not in seeds:
        there = ", ".join(map(str, sorted(seeds)))
        raise HarnessError(f"{public_path(str(run_dir))} has no seed {options.seed} of it; it has: {there}")
    own = seed if seed in seeds else min(seeds)
    folder = seeds[own if options.seed is None else options.seed]
    weights = weights_of_trial(folder, chosen[folder])
    return replace(weights, scale=None if options.scale == "preset" else options.scale)


def weights_of_trial(folder: Path, record: RunRecord) -> StartingWeights:
    """The weights of a trial that ended well. folder: of the trial."""
    assert record.data is not None
    task = _task(folder)
    diameter, settings = task.get("cell_diameter"), task.get("settings")
    anchors = {}
    if isinstance(settings, dict) and "anchor_scale" in settings:
        anchors = {"anchor_ratios": list(RATIOS[0])} | {k: v for k, v in settings.items() if k.startswith("anchor_")}
    return StartingWeights(
        "checkpoint",
        str(folder / WEIGHTS),
        source=f"{record.method}, {record.budget} on {record.data.source}",
        seed=record.seed,
        classes=tuple(record.data.classes),
        data_fingerprint=record.data.fingerprint,
        split_fingerprint=record.data.split_fingerprint,
        train_seconds=record.seconds_from_scratch,
        # in pixels of the network's input
        cell_diameter=float(diameter) if isinstance(diameter, int | float) else 0.0,
        anchors=anchors,
    )


def _trained(run_dir: Path) -> dict[Path, RunRecord]:
    """The records of the run whose weights are there, by the folder of the trial."""
    if not run_dir.is_dir():
        raise HarnessError(f"no folder {run_dir}; give the folder of a run, as `run` printed it")
    found, problem = {}, ""
    for path in record_paths(run_dir):
        if not (path.parent / WEIGHTS).is_file():
            continue
        try:
            record = read_record(path)
        except HarnessError as error:
            problem = problem or f" ({error})"
            continue
        if record.status == "ok" and record.data is not None:
            found[path.parent] = record
    if not found:
        raise HarnessError(f"{run_dir} holds no trained weights{problem}; give the folder of a run that has ended")
    return found


def _named(trained: Mapping[Path, RunRecord], method: str, run_dir: Path) -> dict[Path, RunRecord]:
    found = {folder: record for folder, record in trained.items() if method in (record.method, folder.name)}
    if not found:
        known = sorted({record.method for record in trained.values()})
        raise HarnessError(f"{run_dir} has no method {method!r}{nearest(method, known)}; it has: {', '.join(known)}")
    return found


def _network(recipe: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    """What must be equal for weights to fit: factories and options of the network's parts."""
    return [(recipe.get(slot, {}).get("factory"), recipe.get(slot, {}).get("options")) for slot in NETWORK]


def _most_alike(same: Mapping[Path, RunRecord], wanted: Mapping[str, Any]) -> dict[Path, RunRecord]:
    """The trials of one method on one data set that share most other slots with the recipe.

    Raises HarnessError where trials on several data sets, or folds, do so equally well.
    """
    others = ("supervision", "augment")

    def shared(record: RunRecord) -> int:
        return sum(record.recipe.get(slot) == wanted[slot] for slot in others)

    most = max(shared(record) for record in same.values())
    alike = {folder: record for folder, record in same.items() if shared(record) == most}
    first = min(record.method for record in alike.values())
    alike = {folder: record for folder, record in alike.items() if record.method == first}
    if len({record.seed for record in alike.values()}) < len(alike):
        what = "in folds" if any(record.split.fold for record in alike.values()) else "on several data sets"
        names = " or ".join(sorted(folder.name for folder in alike))
        raise HarnessError(f"{first} was trained {what}; type from_run(run=RUN_DIR, method=TRIAL), with TRIAL {names}")
    return alike


def _task(folder: Path) -> dict[str, Any]:
    """What the model of a trial was built for; empty where that is not known."""
    try:
        task = read_json(folder / TASK)
    except HarnessError:
        return {}
    return task if isinstance(task, dict) else {}
