"""Weights learned on painted cells: the file that holds them, and where it is found.

A user's own files lie in the cache (`painted_folder`), and one comes with the harness (`shipped_folder`).

A file is safetensors. A tensor of two or more axes is stored in 8 bits: whole numbers from -127 to 127, and for each
index of its first axis a factor, in a tensor of the name NAME.scale. All others are float32. The header holds the card.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from harness.catalog import BUILT_IN
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
    "scale_by_size",
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
    images. score: mean IoU score on held-out painted images, of the weights as stored. score_unrounded: of the same
    weights before they were rounded to 8 bits.
    threshold, min_area: of the score, and of a cell in pixels of the network, that were best on other held-out painted
    images. These three are None in older files.
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
    score_unrounded: float | None = None
    threshold: float | None = None
    min_area: float | None = None
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


def shipped_folder() -> Path:
    """The folder of the weights that come with the harness."""
    found = importlib.util.find_spec(f"{BUILT_IN}.painted")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "weights"


def file_name(architecture: Mapping[str, Any]) -> str:
    return f"{architecture_key(architecture)}.safetensors"


def find_painted(architecture: Mapping[str, Any]) -> Path | None:
    """The file of the weights for a network: the user's own, else the one that comes with the harness, else None."""
    paths = (folder / file_name(architecture) for folder in (painted_folder(), shipped_folder()))
    return next((path for path in paths if path.is_file()), None)


def find_like(architecture: Mapping[str, Any]) -> Path | None:
    """The first file that was learned with the same engine and backbone, whatever the mask head; None for none.

    Raises HarnessError where a file is damaged.
    """
    for folder in (painted_folder(), shipped_folder()):
        for path in sorted(folder.glob("*.safetensors")):
            learned = read_card(path).architecture
            if all(learned.get(slot) == architecture[slot] for slot in ("engine", "backbone")):
                return path
    return None


class PaintedOptions(Protocol):
    """weights: path of a file; None for the one that `find_painted` finds."""

    @property
    def weights(self) -> str | None: ...


def find_start(recipe: Recipe, options: PaintedOptions, seed: int) -> StartingWeights:
    """The weights learned on painted cells for the network of a recipe, the same for all seeds.

    Where there are none for its mask head, those of a network that differs in the mask head alone, which is then new.

    Raises:
        NoWeightsError: there are none for this network.
        HarnessError: the file that was named, or found, is missing, truncated, changed or of something else.
    """
    architecture = json.loads(json.dumps(architecture_of(recipe)))
    network = f"{recipe.backbone.name or recipe.engine.name} with {recipe.mask_head.name or 'its own head'}"
    if options.weights is not None:
        path: Path | None = Path(options.weights).expanduser()
    else:
        path = find_painted(architecture) or find_like(architecture)
    if path is None:
        raise NoWeightsError(
            f"no weights learned on painted cells for this network ({network}); `python -m harness pretrain --methods "
            "NAME` makes them in 10 minutes, and so does run --pretrain"
        )
    card = read_card(path)
    different = [slot for slot in NETWORK_SLOTS if card.architecture.get(slot) != architecture[slot]]
    if different not in ([], ["mask_head"]):
        raise NoWeightsError(f"{path.name} was learned by the network of {card.method}, not by this one ({network})")
    check_whole(path)
    making = read_making(path)
    return StartingWeights(
        "checkpoint",
        str(path),
        source=_source(path, card, new_head=bool(different)),
        classes=CLASSES,
        train_seconds=None if making is None else making.seconds,
        licence=card.licence,
        new_parts=tuple(different),
    )


def _source(path: Path, card: Card, new_head: bool) -> str:
    """In words: whose file it is, how long it learned, and what of the network it does not have."""
    whose = {shipped_folder(): "shipped with the harness", painted_folder(): "the user's own"}
    head = f"; the mask head, which is not {card.method}'s, is new" if new_head else ""
    return f"painted cells, {card.budget}, {whose.get(path.parent, 'from a file')}{head}"


def check_whole(path: Path) -> None:
    """Raise HarnessError where a file is not the one that the JSON beside it describes. No JSON, no objection."""
    try:
        wanted = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if sha256_of(path) != wanted:
        again = "install the harness" if path.parent == shipped_folder() else "pretrain"
        raise HarnessError(f"{path} has changed since it was written (its card has another SHA-256); {again} again")


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
    both = {**card.model_dump(mode="json"), "sha256": sha256_of(path), "making": making.model_dump(mode="json")}
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
