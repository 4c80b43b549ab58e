"""A trained model, built again from what its trial has stored: recipe, task and weights."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from harness.catalog import Catalog
from harness.config.trial_spec import recipe_from_json
from harness.contract import Model, Recipe, Task
from harness.errors import HarnessError
from harness.fileio import write_json_atomic
from harness.results.io import read_json
from harness.results.trained_trial import TrainedTrial
from harness.training.checkpoint import WEIGHTS, load_weights
from harness.training.device import select_device

TASK = "task.json"
"""What the model was told of its data, in the trial's folder."""


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
    """The trial's model with its trained weights, on `device`, and what it was built for.

    Only code of the harness and of the catalogue's modules is run, whatever the recipe in the folder names.
    Raises HarnessError where a method is not there or the stored files do not fit it.
    """
    recipe = recipe_from_json(trial.spec.recipe)
    _check_known(recipe, catalog)
    select_device(device)
    task = load_task(trial.folder, device)
    start = {**recipe.init.options, "restored": True}
    if start.get("kind") == "checkpoint":
        start["path"] = str(trial.folder / WEIGHTS)  # which norms it has is read there; where it began may be gone
    built = recipe.filled(init=recipe.init.with_options(**start))
    model: Model = built.engine.build(built, task)
    load_weights(trial.folder, model.module)
    return model, task


def _check_known(recipe: Recipe, catalog: Catalog) -> None:
    known = {"harness", *(name.partition(".")[0] for name in catalog.modules)}
    for slot, part in vars(recipe).items():
        module = part.factory.partition(":")[0]
        if module and module.partition(".")[0] not in known:
            raise HarnessError(
                f"the run's {slot} comes from the module {module!r}, which is not here; "
                f"name its file with --adapter {module.partition('.')[0]}.py"
            )
