"""Builds a trained model again from what its trial has stored: recipe, task and weights."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from harness.catalog import Catalog
from harness.config.trial_spec import TrialSpec, recipe_from_json
from harness.contract import Model, Recipe, Task, init_part
from harness.errors import HarnessError
from harness.fileio import write_json_atomic
from harness.inference.scaled import at_scale
from harness.results.io import TASK, WEIGHTS, read_json
from harness.results.trained_trial import TrainedTrial
from harness.training.checkpoint import load_weights_file
from harness.training.device import select_device


def save_task(folder: Path, task: Task) -> None:
    write_json_atomic(folder / TASK, asdict(task))


def load_task(folder: Path, device: str) -> Task:
    """The task, for a model on `device`. Raises HarnessError where it is missing or damaged."""
    path = folder / TASK
    if not path.is_file():
        raise HarnessError(f"{folder.name} holds no {TASK}: the trial has not ended well; run it again")
    try:
        return replace(TypeAdapter(Task).validate_python(read_json(path)), device=device)
    except ValidationError as error:
        first = error.errors()[0]
        raise HarnessError(f"{path}: {'.'.join(str(step) for step in first['loc'])}: {first['msg']}") from error


def load_trained(
    trial: TrainedTrial, catalog: Catalog, device: str, minimum_score: float | None = None
) -> tuple[Model, Task]:
    """The model of a trial, and the task that it was built for. See build_trained.

    Args:
        trial: which has ended well.
        catalog: the methods that there are.
        device: "cpu", "mps" or "cuda[:N]".
        minimum_score: of predictions that are of use; None for that of the trial.

    Raises:
        HarnessError: a method is missing, the trial has not ended well, or the stored files do not fit it.
    """
    task = load_task(trial.folder, device)
    if minimum_score is not None:
        task = replace(task, minimum_score=minimum_score)
    return build_trained(trial.spec, task, trial.folder / WEIGHTS, catalog), task


def build_trained(spec: TrialSpec, task: Task, weights: Path, catalog: Catalog) -> Model:
    """Build a model with trained weights.

    Only code of the harness and of the catalogue's methods is run, whatever the recipe names.

    Args:
        spec: its recipe and preset.
        task: what it was built for; its device is where it is built.
        weights: a safetensors file.
        catalog: the methods that there are.

    Raises:
        HarnessError: a method is missing, or the weights do not fit it.
    """
    recipe = recipe_from_json(spec.recipe)
    _check_known(recipe, catalog)
    select_device(task.device)
    start = {**recipe.init.options, "restored": True}
    if "path" in start:
        start["path"] = str(weights)  # its layout is read there; the file that it began with may be gone
    built = recipe.with_parts(init=recipe.init.with_options(**start))
    model: Model = built.engine.build(built, task)
    load_weights_file(weights, model.module)
    return at_scale(model, spec.preset.scale, spec.preset.scale_by_size)


def _check_known(recipe: Recipe, catalog: Catalog) -> None:
    """Raise HarnessError where a part is none of the catalogue's: a recipe may come from a stranger."""
    known = {"harness", *(name.partition(".")[0] for name in catalog.modules)}
    factories = {part.factory for method in catalog for part in method.parts.values()} | {init_part("scratch").factory}
    families = {family.__module__ for family, _ in catalog.families.values()}
    for slot, part in vars(recipe).items():
        module = part.factory.partition(":")[0]
        if module and module.partition(".")[0] not in known:
            raise HarnessError(
                f"the run's {slot} comes from the module {module!r}, which is not here; "
                f"name its file with --adapter {module.partition('.')[0]}.py"
            )
        if module and part.factory not in factories and module not in families:
            raise HarnessError(f"the run's {slot} is {part.factory!r}, which belongs to no method that is here")
