"""Builds a trained model again from what its trial has stored: recipe, task and weights."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from harness.catalog import Catalog
from harness.config.trial_spec import recipe_from_json
from harness.contract import Model, Recipe, Task
from harness.errors import HarnessError
from harness.fileio import write_json_atomic
from harness.inference.scaled import at_scale
from harness.results.io import TASK, WEIGHTS, read_json
from harness.results.trained_trial import TrainedTrial
from harness.training.checkpoint import load_weights
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


def load_trained(trial: TrainedTrial, catalog: Catalog, device: str) -> tuple[Model, Task]:
    """Build the model of a trial with its trained weights.

    Only code of the harness and of the catalogue's modules is run, whatever modules the recipe in the folder names.

    Args:
        trial: a trial that has ended well.
        catalog: the methods that there are.
        device: "cpu" or "cuda[:N]".

    Returns:
        The model on `device`, and the task that it was built for.

    Raises:
        HarnessError: a method is missing, or the stored files do not fit it.
    """
    recipe = recipe_from_json(trial.spec.recipe)
    _check_known(recipe, catalog)
    select_device(device)
    task = load_task(trial.folder, device)
    start = {**recipe.init.options, "restored": True}
    if "path" in start:
        start["path"] = str(trial.folder / WEIGHTS)  # its layout is read there; the file that it began with may be gone
    built = recipe.with_parts(init=recipe.init.with_options(**start))
    model: Model = built.engine.build(built, task)
    load_weights(trial.folder, model.module)
    return at_scale(model, trial.spec.preset.scale), task


def _check_known(recipe: Recipe, catalog: Catalog) -> None:
    known = {"harness", *(name.partition(".")[0] for name in catalog.modules)}
    for slot, part in vars(recipe).items():
        module = part.factory.partition(":")[0]
        if module and module.partition(".")[0] not in known:
            raise HarnessError(
                f"the run's {slot} comes from the module {module!r}, which is not here; "
                f"name its file with --adapter {module.partition('.')[0]}.py"
            )
