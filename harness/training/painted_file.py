"""The file of weights learned on painted cells, and its card.

A file is safetensors. A tensor of two or more axes is stored in 8 bits: whole numbers from -127 to 127, and for each
index of its first axis a factor, in a tensor of the name NAME.scale. All others are float32. The header holds the card.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from harness.errors import HarnessError, one_line
from harness.fileio import make_folder, write_bytes_atomic, write_json_atomic

FORMAT = "cell-segmentation-harness painted 1"
SCALE = ".scale"
"""What is added to a tensor's name for that of its factors."""
LEAST_QUANTISED = 256
"""Tensors of fewer numbers are stored as they are."""


class Card(BaseModel):
    """What decides on weights, and their score. The same card on the same machine is the same weights.

    method: that they were trained as. architecture, settings: see harness.training.painted_weights.Network.
    code: hash of the painter's code.
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
