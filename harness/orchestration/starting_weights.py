"""Finds the weights that trials start from when a run is planned: what is wrong is said before anything trains.

A trial's specification holds the path of the file and its SHA-256, the resume key and the record the SHA-256 alone.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness.config.start_facts import StartFacts
from harness.contract import INIT, Part, Recipe, StartingWeights, init_part
from harness.errors import HarnessError, NoWeightsError
from harness.options import path_options_of
from harness.redaction import public_path

_CHUNK = 2**20


@dataclass(frozen=True)
class Start:
    """Where the weights of a trial start.

    Attributes:
        part: Of the init slot, as the worker builds it.
        facts: What the record says of them; None from scratch.
        found: As the init has found them; None where it looks for none.
        skip_reason: Why there are none for this network; empty where there are.
    """

    part: Part
    facts: StartFacts | None = None
    found: StartingWeights | None = None
    skip_reason: str = ""


def find_start(recipe: Recipe, seed: int, settings: Mapping[str, Any]) -> Start:
    """The weights that a trial with this recipe and seed starts from. settings: the preset's [model] table.

    Raises:
        HarnessError: a run or a file is missing or damaged.
    """
    part = recipe.init
    try:
        found = _found(part, recipe, seed, settings)
    except NoWeightsError as error:
        return Start(init_part("checkpoint", name=part.name), skip_reason=str(error))
    if found is None:
        return Start(part)
    if found.kind == "scratch":
        return Start(init_part("scratch", name=part.name), found=found)
    facts: dict[str, Any] = {"classes": list(found.classes)} if found.classes else {}
    facts |= {"new_parts": list(found.new_parts)} if found.new_parts else {}
    sha256 = ""
    if found.path is not None:
        sha256 = file_hash(found.path)
        facts["sha256"] = sha256
    ready = init_part(found.kind, found.path and str(Path(found.path).resolve()), part.name, **facts)
    return Start(ready, StartFacts.of(part.name, found, sha256), found)


def _found(part: Part, recipe: Recipe, seed: int, settings: Mapping[str, Any]) -> StartingWeights | None:
    if part.find_weights:
        return part.find(recipe, seed, settings)
    kind, options = part.options.get("kind", "scratch"), part.options
    if part.factory != INIT or kind == "scratch":
        return None
    return StartingWeights(kind, options.get("path"), classes=tuple(options.get("classes", ())))


def check_unchanged(recipe: Recipe) -> None:
    """Raise HarnessError where the file that a planned trial starts from is not the one that it was."""
    options = recipe.init.options
    if recipe.init.factory != INIT or not options.get("sha256"):
        return
    if file_hash(options["path"]) != options["sha256"]:
        name = public_path(options["path"])
        raise HarnessError(f"{name} has changed since the run was planned; start a new run for it")


def file_hash(path: str | Path) -> str:
    """SHA-256, in hexadecimal, of a whole file of weights. Raises HarnessError where it is missing or cut short."""
    file = Path(path).expanduser()
    try:
        facts = file.stat()
    except OSError as error:
        raise HarnessError(f"no weights file at {path}") from error
    return _hash(file, facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=64)
def _hash(file: Path, size: int, changed: int) -> str:
    """size and changed: of the file, so that one that is written anew is read anew."""
    try:
        if not _is_whole(file, size):
            raise HarnessError(f"{file} is cut short or no file of weights; copy it again")
        digest = hashlib.sha256()
        with file.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise HarnessError(f"{file} cannot be read: {error.strerror or error}") from error
    return digest.hexdigest()


def _is_whole(file: Path, size: int) -> bool:
    """Whether the end of a file is where its format says. Loads no framework."""
    if file.suffix == ".safetensors":
        return _is_whole_safetensors(file, size)
    with file.open("rb") as stream:
        begin = stream.read(4)
        stream.seek(max(0, size - 1))
        end = stream.read(1)
    if begin[:2] == b"PK":  # torch.save writes a zip, whose directory is at its end
        return zipfile.is_zipfile(file)
    # a pickle ends with its instruction STOP; torch's old format has the tensors behind it
    return end == b"." if file.suffix == ".pkl" else size > 0


def _is_whole_safetensors(file: Path, size: int) -> bool:
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > size - 8:
            return False
        try:
            header = json.loads(stream.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            return False
    return size == 8 + length + max(ends, default=0)


def recipe_of_key(recipe: Recipe, plain: dict[str, Any]) -> dict[str, Any]:
    """A recipe as it goes into the resume key: the content of files in place of their paths.

    Args:
        recipe: With the types of its options.
        plain: The same as JSON.

    Raises:
        HarnessError: a file is missing or damaged.
    """
    found = {}
    for slot, part in plain.items():
        options = dict(part["options"])
        for name in path_options_of(getattr(recipe, slot).options_type):
            if options.get(name) and Path(options[name]).is_file():
                options[name] = file_hash(options[name])
        if part["factory"] == INIT and options.get("sha256"):
            del options["path"]
        found[slot] = {**part, "options": options}
    return found
