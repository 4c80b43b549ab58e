"""A trained model as a folder that stands alone: it needs neither its run nor its data, and nothing in it is code.

    model.json              a ModelPackage: recipe, rule, what the model knows of its data, scores, versions
    weights.safetensors     the weights; of several models weights-1.safetensors and so on
    card.md                 the same for people (harness.reporting.model_card)

The folder may come from a stranger. JSON and safetensors are read, and a recipe may only name parts of methods that are
installed here (harness.inference.trained_model).
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from harness.catalog import BUILT_IN, Catalog
from harness.config.trial_spec import TrialSpec, trial_key
from harness.contract import Model, Task
from harness.data.source import public_path, public_source
from harness.errors import HarnessError, storage_error
from harness.evaluation.schema import PostprocessRule
from harness.fileio import make_folder, write_json_atomic
from harness.inference.ensemble import Ensemble
from harness.inference.trained_model import build_trained, load_task
from harness.monitoring.machine import utc_now
from harness.redaction import is_absolute, redact_home
from harness.results.io import RECORD, read_json, read_record
from harness.results.schema import DataFacts, public_split
from harness.results.trained_trial import TrainedTrial
from harness.training.checkpoint import WEIGHTS

MODEL = "model.json"
CARD = "card.md"
FORMAT_VERSION = 1


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Member(_Table):
    """One trained network. weights: name of its file. task: what it was built for, as JSON. trial: of its run."""

    weights: str = Field(pattern=r"^[A-Za-z0-9-]+\.safetensors$")
    sha256: str
    task: dict[str, Any]
    trial: str


class ModelPackage(_Table):
    """What a model needs to predict, and what a person must know of it.

    Attributes:
        trial: specification of the training, without private folders.
        rule: that is applied to what the model predicts.
        members: one network, or several that are averaged.
        data: what it was trained on; "train" of its splits are the images of the first network.
        fit_all: whether it was trained on all labelled images of its run.
        cell_diameters: percentiles of the diameters of training cells, in pixels of the images; empty where not known.
        scores: by name, of what `scores_of` says.
        licence: in the user's words; empty where nothing is stated.
        adapters: modules of a user that must be named to load the model.
        machine, versions, git_commit: of the training.
    """

    format_version: int = FORMAT_VERSION
    trial: TrialSpec
    rule: PostprocessRule
    members: tuple[Member, ...] = Field(min_length=1)
    data: DataFacts
    fit_all: bool = False
    cell_diameters: dict[str, float] = Field(default_factory=dict)
    scores: dict[str, Any] = Field(default_factory=dict)
    scores_of: str = ""
    licence: str = ""
    adapters: tuple[str, ...] = ()
    created: str = ""
    machine: dict[str, Any] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    git_commit: str = ""


def refuse_used_folder(folder: Path) -> None:
    """Raise HarnessError where there is something under the name already."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise HarnessError(f"{folder} holds something already; give a new folder with --to")


def write_package(
    folder: Path, trials: Sequence[TrainedTrial], rule: PostprocessRule, data: DataFacts, **facts: Any
) -> ModelPackage:
    """Write weights and model.json.

    Args:
        folder: new, or empty.
        trials: whose networks are packaged, of one method.
        rule: that is applied to their predictions.
        data: of the first trial.
        facts: further fields of ModelPackage.

    Raises:
        HarnessError: a trial has no weights, or the folder cannot be written.
    """
    refuse_used_folder(folder)
    make_folder(folder)
    members = []
    for number, trial in enumerate(trials, 1):
        name = WEIGHTS if len(trials) == 1 else WEIGHTS.replace(".", f"-{number}.", 1)
        task = load_task(trial.folder, "cpu")
        try:
            shutil.copyfile(trial.folder / WEIGHTS, folder / name)
        except FileNotFoundError as error:
            raise HarnessError(f"{trial.folder.name} holds no {WEIGHTS}; run it again") from error
        except OSError as error:
            raise storage_error(folder / name, error) from error
        members.append(Member(weights=name, sha256=_sha256(folder / name), task=asdict(task), trial=trial.folder.name))
    spec = _public(trials[0].spec).model_copy(update={"key": trial_key(members=[one.sha256 for one in members])})
    trained = read_record(trials[0].folder / RECORD)
    modules = {part["factory"].partition(":")[0].partition(".")[0] for part in spec.recipe.values()}
    package = ModelPackage(
        trial=spec,
        rule=rule.model_copy(update={"search": []}),
        members=tuple(members),
        data=data,
        adapters=tuple(sorted(modules - {"", "harness", BUILT_IN})),
        created=utc_now(),
        machine=trained.machine,
        versions=trained.versions,
        git_commit=trained.git_commit,
        **facts,
    )
    write_json_atomic(folder / MODEL, redact_home(json.loads(package.model_dump_json())))
    return package


def read_package(folder: Path) -> ModelPackage:
    """The package in a folder. Raises HarnessError where there is none or it is damaged."""
    path = folder / MODEL
    if not path.is_file():
        raise HarnessError(f"{folder} holds no {MODEL}; `package` makes such a folder from a run")
    plain = read_json(path)
    if isinstance(plain, dict) and plain.get("format_version") != FORMAT_VERSION:
        raise HarnessError(f"{path}: a package of another version; this harness reads version {FORMAT_VERSION}")
    try:
        return ModelPackage.model_validate(plain)
    except ValidationError as error:
        first = error.errors()[0]
        raise HarnessError(f"{path}: {'.'.join(str(step) for step in first['loc'])}: {first['msg']}") from error


def load_package(folder: Path, catalog: Catalog, device: str) -> tuple[Model, Task, TrainedTrial]:
    """The model of a package, what it was built for, and its specification and rule.

    Args:
        folder: of the package.
        catalog: the methods that there are.
        device: "cpu" or "cuda[:N]".

    Raises:
        HarnessError: the package is damaged, or needs a method that is not here.
    """
    package = read_package(folder)
    for one in package.members:
        path = folder / one.weights
        if not path.is_file() or _sha256(path) != one.sha256:
            raise HarnessError(f"{path}: missing or changed since it was packaged; copy the folder again")
    try:
        facts: dict[str, Any] = {"device": device}
        if len(package.members) == 1:  # an average of several counts low scores too
            facts["minimum_score"] = package.rule.lowest_score()
        tasks = [TypeAdapter(Task).validate_python({**one.task, **facts}) for one in package.members]
    except ValidationError as error:
        raise HarnessError(f"{folder / MODEL}: members: {error.errors()[0]['msg']}") from error
    models = [
        build_trained(package.trial, task, folder / one.weights, catalog)
        for one, task in zip(package.members, tasks, strict=True)
    ]
    model = models[0] if len(models) == 1 else Ensemble(models)
    task = replace(tasks[0], largest_cell=max(one.largest_cell for one in tasks))
    return model, task, TrainedTrial(folder, package.trial, package.rule)


def _public(spec: TrialSpec) -> TrialSpec:
    """Without private folders, which would be of no use elsewhere."""
    recipe = {
        slot: {**part, "options": {k: public_path(v) if _is_path(v) else v for k, v in part["options"].items()}}
        for slot, part in spec.recipe.items()
    }
    own = {"recipe": recipe, "source": public_source(spec.source), "split": public_split(spec.split), "command": ""}
    return spec.model_copy(update=own)


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and (value.startswith("~") or is_absolute(value))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
