"""Weights learned on painted cells: for which network, and where their file is found.

A user's own files lie in the cache (`painted_folder`), and one comes with the harness (`shipped_folder`).
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from harness.catalog import BUILT_IN
from harness.contract import Part, Recipe, StartingWeights
from harness.data.readers.painted import CLASSES
from harness.data.store.cache import cache_folder
from harness.errors import HarnessError, NoWeightsError
from harness.training.painted_file import Card, read_card, read_making, sha256_of

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
MAKE = "`python -m harness pretrain` with the run's --methods and --preset makes them, and so does run --pretrain"


@dataclass(frozen=True)
class Network:
    """What decides on the tensors of a model, and their shapes.

    architecture: the parts that make it, with their options, by slot.
    settings: what its engine reads of the preset's [model] table, those that shapes follow from. Of a list it is the
        length that they follow from (as many anchors as ratios), so its length stands for it.
    """

    architecture: dict[str, Any]
    settings: dict[str, Any]

    @staticmethod
    def of(recipe: Recipe, settings: Mapping[str, Any]) -> Network:
        """settings: the preset's [model] table."""
        parts: dict[str, Any] = {}
        for slot in NETWORK_SLOTS:
            part: Part = getattr(recipe, slot)
            parts[slot] = {"name": part.name, "factory": part.factory, "options": dict(part.options)}
        kind = recipe.engine.settings
        read = {} if kind is None else kind.read(settings).model_dump(mode="json")
        # as a card has them: JSON knows no tuples
        plain = json.loads(json.dumps(parts))
        return Network(plain, {name: value for name, value in read.items() if name not in NOT_OF_THE_NETWORK})

    @staticmethod
    def of_card(card: Card) -> Network:
        """That the weights of a file are of."""
        return Network(card.architecture, card.settings)

    def key(self) -> str:
        """12 hexadecimal digits."""
        text = json.dumps([self.architecture, self.shapes()], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def file_name(self) -> str:
        return f"{self.key()}.safetensors"

    def shapes(self) -> dict[str, Any]:
        """The settings, each list as its length."""
        return {name: len(value) if isinstance(value, list) else value for name, value in self.settings.items()}

    def differs_in(self, other: Network) -> list[str]:
        """The slots, and "settings", in which the two are not the same."""
        slots = [slot for slot in NETWORK_SLOTS if self.architecture.get(slot) != other.architecture.get(slot)]
        return slots if self.shapes() == other.shapes() else [*slots, "settings"]


def painted_folder() -> Path:
    """The folder of the user's own weights; it need not exist."""
    return cache_folder().parent / "painted"


def shipped_folder() -> Path:
    """The folder of the weights that come with the harness."""
    found = importlib.util.find_spec(f"{BUILT_IN}.painted")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "weights"


def find_painted(network: Network) -> Path | None:
    """The file of the weights for a network: the user's own, else the one that comes with the harness, else None."""
    paths = (folder / network.file_name() for folder in (painted_folder(), shipped_folder()))
    return next((path for path in paths if path.is_file()), None)


def find_like(network: Network) -> Path | None:
    """The first file, whatever its name, of a network that differs in the mask head at most; None for none.

    Raises HarnessError where a file is damaged.
    """
    return next((path for path, other in _files() if network.differs_in(other) in ([], ["mask_head"])), None)


def _files() -> Iterator[tuple[Path, Network]]:
    for folder in (painted_folder(), shipped_folder()):
        for path in sorted(folder.glob("*.safetensors")):
            yield path, Network.of_card(read_card(path))


class PaintedOptions(Protocol):
    """weights: path of a file; None for the one that `find_painted` finds."""

    @property
    def weights(self) -> str | None: ...


def find_start(recipe: Recipe, options: PaintedOptions, seed: int, settings: Mapping[str, Any]) -> StartingWeights:
    """The weights learned on painted cells for the network of a recipe, the same for all seeds.

    Where there are none for its mask head, those of a network that differs in the mask head alone, which is then new.

    Raises:
        NoWeightsError: there are none for this network.
        HarnessError: the file that was named, or found, is missing, truncated, changed or of something else.
    """
    network = Network.of(recipe, settings)
    name = f"{recipe.backbone.name or recipe.engine.name} with {recipe.mask_head.name or 'its own head'}"
    if options.weights is not None:
        path: Path | None = Path(options.weights).expanduser()
    else:
        path = find_painted(network) or find_like(network)
    if path is None:
        raise NoWeightsError(
            f"no weights learned on painted cells for this network ({name}{_other_sizes(network)}); {MAKE}"
        )
    card = read_card(path)
    different = network.differs_in(Network.of_card(card))
    if different == ["settings"]:
        raise NoWeightsError(f"{path.name} was learned at {_sizes(Network.of_card(card), network)}; {MAKE}")
    if different not in ([], ["mask_head"]):
        raise NoWeightsError(f"{path.name} was learned by the network of {card.method}, not by this one ({name})")
    check_whole(path)
    making = read_making(path)
    return StartingWeights(
        "checkpoint",
        str(path),
        source=_source(path, card, new_head=bool(different)),
        classes=CLASSES,
        train_seconds=None if making is None else making.seconds,
        anchors=_anchors(card),
        licence=card.licence,
        new_parts=tuple(different),
    )


def _anchors(card: Card) -> dict[str, Any]:
    if card.anchor_scale is None:
        return {}
    ratios = card.settings.get("anchor_ratios")
    return {"anchor_scale": card.anchor_scale, **({} if ratios is None else {"anchor_ratios": list(ratios)})}


def _other_sizes(network: Network) -> str:
    """What differs from a file of the same parts, where there is one."""
    same = (other for _, other in _files() if network.differs_in(other) in (["settings"], ["mask_head", "settings"]))
    other = next(same, None)
    return "" if other is None else f" at these sizes; there are some for {_sizes(other, network)}"


def _sizes(there: Network, here: Network) -> str:
    """The settings in which two networks differ, in words."""
    wanted = here.shapes()
    return ", ".join(
        f"{name} {value}, not {wanted.get(name, 'none')}"
        for name, value in there.shapes().items()
        if value != wanted.get(name)
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
