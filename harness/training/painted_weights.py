"""Weights learned on painted cells: the file that holds them, and where it is found.

A file is safetensors. A tensor of two or more axes is stored in 8 bits: whole numbers from -127 to 127, and for each
index of its first axis a factor, in a tensor of the name NAME.scale. All others are float32. The header holds the card.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from harness.config.preset import Preset
from harness.contract import Part, Recipe, StartingWeights
from harness.data.readers.painted import CLASSES
from harness.data.store.cache import cache_folder
from harness.errors import HarnessError, NoWeightsError, one_line
from harness.fileio import make_folder, write_bytes_atomic, write_json_atomic

FORMAT = "cell-segmentation-harness painted 1"
SCALE = ".scale"
"""What is added to a tensor's name for that of its factors."""
LEAST_QUANTISED = 256
"""Tensors of fewer numbers are stored as they are."""

NETWORK_SLOTS = ("engine", "backbone", "mask_head")
"""Slots of a recipe that decide on the network. The others decide on labels, images and where weights start."""
NOT_OF_THE_NETWORK = {
    "scale",
    "anchor_scale",
    "rois_per_image",
    "anchors_per_image",
    "proposals",
    "train_scales",
    "compile",
}
"""Settings of an engine that leave the shapes of its network as they are."""


class Card(BaseModel):
    """What decides on weights, and their score. The same card on the same machine is the same weights.

    method: that they were trained as. architecture: see `architecture_of`. settings: of the engine, those that the
    network's shapes follow from. code: hash of the painter's code.
    training: the preset's settings. anchor_scale: None for an engine without anchors. cells: sides, in pixels of the
    network, of the median cells that were painted. without: what was not painted. mean, std: grey levels of the painted
    images. score: mean IoU score on held-out painted images, of the weights as stored.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str
    architecture: dict[str, Any]
    settings: dict[str, Any]
    budget: str
    seed: int
    iterations: int
    code: str
    cells: tuple[float, float]
    without: tuple[str, ...] = ()
    training: dict[str, Any]
    anchor_scale: float | None = None
    mean: float
    std: float
    parameters: int
    score: float | None
    licence: str = "Apache-2.0"


class Making(BaseModel):
    """When and where weights were made. seconds: of training."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seconds: float
    command: str
    finished: str
    machine: dict[str, Any]
    versions: dict[str, str]
    git_commit: str


def architecture_of(recipe: Recipe) -> dict[str, Any]:
    """The parts that make a recipe's network, with their options."""
    parts: dict[str, Any] = {}
    for slot in NETWORK_SLOTS:
        part: Part = getattr(recipe, slot)
        parts[slot] = {"name": part.name, "factory": part.factory, "options": dict(part.options)}
    return parts


def network_settings(recipe: Recipe, preset: Preset) -> dict[str, Any]:
    """What the engine reads of the preset's [model] table and its network's shapes follow from."""
    settings = recipe.engine.settings
    read = {} if settings is None else settings.read(preset.model).model_dump(mode="json")
    return {name: value for name, value in read.items() if name not in NOT_OF_THE_NETWORK}


def architecture_key(architecture: Mapping[str, Any]) -> str:
    """12 hexadecimal digits."""
    text = json.dumps(architecture, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def painted_folder() -> Path:
    """The folder of the user's own weights; it need not exist."""
    return cache_folder().parent / "painted"


def file_name(architecture: Mapping[str, Any]) -> str:
    return f"{architecture_key(architecture)}.safetensors"


def find_painted(architecture: Mapping[str, Any]) -> Path | None:
    """The file of the user's own weights for a network; None where there is none."""
    path = painted_folder() / file_name(architecture)
    return path if path.is_file() else None


class PaintedOptions(Protocol):
    """weights: path of a file; None for the one that `find_painted` finds."""

    @property
    def weights(self) -> str | None: ...


def find_start(recipe: Recipe, options: PaintedOptions, seed: int) -> StartingWeights:
    """The weights learned on painted cells for the network of a recipe, the same for all seeds.

    Raises:
        NoWeightsError: there are none for this network.
        HarnessError: the file that was named is missing, truncated or of something else.
    """
    architecture = architecture_of(recipe)
    network = f"{recipe.backbone.name or recipe.engine.name} with {recipe.mask_head.name or 'its own head'}"
    path = find_painted(architecture) if options.weights is None else Path(options.weights).expanduser()
    if path is None:
        raise NoWeightsError(
            f"no weights learned on painted cells for this network ({network}); `python -m harness pretrain --methods "
            "NAME` makes them in 10 minutes, and so does run --pretrain"
        )
    card = read_card(path)
    if architecture_key(card.architecture) != architecture_key(architecture):
        raise NoWeightsError(f"{path.name} was learned by the network of {card.method}, not by this one ({network})")
    making = read_making(path)
    return StartingWeights(
        "checkpoint",
        str(path),
        source=f"painted cells, {card.budget}",
        classes=CLASSES,
        train_seconds=None if making is None else making.seconds,
        licence=card.licence,
    )


def read_card(path: Path) -> Card:
    """The card of a file. Raises HarnessError where it is missing, truncated or a file of something else."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise HarnessError(f"no weights file at {path}")
    try:
        with safe_open(str(path), "numpy") as file:
            header = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise HarnessError(f"{path.name} cannot be read as weights: {one_line(error)[:100]}") from error
    if FORMAT not in header:
        raise HarnessError(f"{path.name} holds no weights learned on painted cells; type: python -m harness pretrain")
    try:
        return Card.model_validate_json(header[FORMAT])
    except ValidationError as error:
        raise HarnessError(f"{path.name}: its card is damaged or of another version; pretrain again") from error


def read_making(path: Path) -> Making | None:
    """What the JSON beside a file says of its making; None where that is missing or damaged."""
    try:
        return Making.model_validate(json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["making"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_painted(path: Path, state: Mapping[str, NDArray[Any]], card: Card, making: Making) -> None:
    """Write tensors and card into one file, whose bytes follow from them alone, and both accounts as JSON beside it."""
    from safetensors.numpy import save

    make_folder(path.parent)
    # one entry, since safetensors writes several in any order
    write_bytes_atomic(path, save(quantised(state), {FORMAT: card.model_dump_json()}))
    both = {**card.model_dump(mode="json"), "making": making.model_dump(mode="json")}
    write_json_atomic(path.with_suffix(".json"), both)


def sha256_of(path: Path) -> str:
    """Of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def quantised(state: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The tensors as they are stored."""
    stored: dict[str, NDArray[Any]] = {}
    for name, value in state.items():
        if value.ndim < 2 or value.size < LEAST_QUANTISED or value.dtype.kind != "f":
            stored[name] = value.copy(order="C")
            continue
        rows = value.reshape(len(value), -1).astype(np.float32)
        scale = np.maximum(np.abs(rows).max(axis=1) / 127, np.finfo(np.float32).tiny).astype(np.float32)
        stored[name] = np.round(rows / scale[:, None]).astype(np.int8).reshape(value.shape)
        stored[name + SCALE] = scale
    return stored


def restored(stored: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The inverse of `quantised`, up to rounding."""
    state = {}
    for name, value in stored.items():
        scale = stored.get(name + SCALE)
        if scale is not None:
            state[name] = value.astype(np.float32) * scale.reshape(-1, *[1] * (value.ndim - 1))
        elif not name.endswith(SCALE) or name.removesuffix(SCALE) not in stored:
            state[name] = value
    return state
