"""Loads the weights that a model starts from, and says what was kept and what is new."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from harness.contract import Init, LoadedWeights
from harness.errors import NoWeightsError
from harness.redaction import public_path
from methods.shared.weights import COUNTERS, read_weights

KEPT, TILED, PARTLY, NEW = "kept", "tiled", "partly kept", "new"
"""What becomes of a tensor: as it was, one class for many, some classes, as a new network has it."""


@dataclass(frozen=True)
class ClassHead:
    """A layer with rows for each class: the first axis of its tensors.

    Attributes:
        name: Part of the names of its tensors.
        before: Rows of no class, such as background, in front of those of the classes.
        after: The same behind them.
        shared: Whether any row may serve any class. It is then kept only for the same classes in the same order.
        single: Whether there are rows of classes even where there is one class.
    """

    name: str
    before: int = 0
    after: int = 0
    shared: bool = False
    single: bool = True


def load_initial(
    module: nn.Module,
    init: Init,
    classes: Sequence[str],
    heads: Sequence[ClassHead],
    may_be_new: Sequence[str] = (),
    new: Sequence[str] = (),
) -> LoadedWeights:
    """Load the file of `init`, of the whole model. See `load_tensors`.

    new: Beginnings of the names of tensors that are not taken from the file.
    """
    weights = {name: value for name, value in read_weights(str(init.path)).items() if not name.startswith(tuple(new))}
    may_be_new = (*may_be_new, *new)
    return load_tensors(module, weights, str(init.path), init.classes, classes, heads, may_be_new)


def load_tensors(
    module: nn.Module,
    weights: Mapping[str, Tensor],
    file: str,
    source: Sequence[str],
    classes: Sequence[str],
    heads: Sequence[ClassHead],
    may_be_new: Sequence[str] = (),
) -> LoadedWeights:
    """Copy weights into the module by name, and those of class heads by the names of the classes.

    A class of the same name keeps its weights. Where the weights are of one class, every class gets them. Any other
    class is new. Where the classes of the weights are not known, a class head is kept if it has the same shape.

    Args:
        module: Filled in place. Weights that it does not have are ignored.
        weights: By name.
        file: For the error message.
        source: The classes of the weights, in order; empty where they are not known.
        classes: Those of the module.
        heads: Layers with rows for each class.
        may_be_new: Parts of the names of other tensors that may be missing or have another shape.

    Raises:
        NoWeightsError: Any other tensor is missing or has another shape.
    """
    state, loaded, fates, wrong = module.state_dict(), {}, {}, []
    origin = class_origins(source, classes)
    for name, value in state.items():
        head = next((head for head in heads if head.name in name), None)
        taken, fates[name] = _tensor(weights.get(name), value, head, source, origin)
        if taken is not None:
            loaded[name] = taken.to(value.dtype)
        elif head is None and not any(part in name for part in may_be_new) and not name.endswith(COUNTERS):
            wrong.append(name)
    if wrong:
        raise NoWeightsError(
            f"{public_path(file)} does not fit this network: {len(wrong)} of {len(state)} tensors are missing or of "
            f"another shape, the first {wrong[0]!r}; give the weights of the same architecture, or --init scratch"
        )
    module.load_state_dict(loaded, strict=False)
    of_classes = {} if not source else {name: _class_fate(name, source, origin[i]) for i, name in enumerate(classes)}
    return LoadedWeights(grouped(fates), of_classes)


def class_origins(source: Sequence[str], classes: Sequence[str]) -> list[int | None]:
    """For each class, which class of the source it takes its weights from; None for none."""
    same = {name: index for index, name in enumerate(source)}
    only = 0 if len(source) == 1 else None
    return [same.get(name, only) for name in classes]


def _class_fate(name: str, source: Sequence[str], origin: int | None) -> str:
    if origin is None:
        return NEW
    return KEPT if source[origin] == name else f"{TILED} from {source[origin]}"


def _tensor(
    offered: Tensor | None, value: Tensor, head: ClassHead | None, source: Sequence[str], origin: Sequence[int | None]
) -> tuple[Tensor | None, str]:
    """What to load for a tensor, None for nothing, and what that is in a word."""
    if offered is None:
        return None, NEW
    if head is not None and source:
        identity = list(range(len(source))) == list(origin)
        rows = _rows(head, offered, len(source)), _rows(head, value, len(origin))
        if head.shared:
            return (offered, KEPT) if identity and offered.shape == value.shape else (None, NEW)
        if None not in rows and offered.shape[1:] == value.shape[1:]:
            return _class_rows(offered, value, head, rows, origin)
    return (offered, KEPT) if offered.shape == value.shape else (None, NEW)


def _rows(head: ClassHead, tensor: Tensor, classes: int) -> int | None:
    """Rows of each class; None where the tensor's rows are not those of classes."""
    rows = len(tensor) - head.before - head.after
    if classes == 1 and not head.single:
        return 0 if rows == 0 else None
    return rows // classes if rows > 0 and rows % classes == 0 else None


def _class_rows(
    offered: Tensor, value: Tensor, head: ClassHead, rows: tuple[int | None, int | None], origin: Sequence[int | None]
) -> tuple[Tensor | None, str]:
    there, wanted = rows
    if there and wanted and there != wanted:
        return None, NEW
    taken = value.detach().clone()
    taken[: head.before] = offered[: head.before].to(value.dtype)
    if head.after:
        taken[-head.after :] = offered[-head.after :].to(value.dtype)
    if not wanted:
        return taken, KEPT
    found = [None if not there else index for index in origin]
    for at, index in enumerate(found):
        if index is not None:
            begin = head.before + at * wanted
            taken[begin : begin + wanted] = offered[head.before + index * wanted :][:wanted].to(value.dtype)
    if all(index is None for index in found):
        return taken, PARTLY if head.before or head.after else NEW
    if None in found:
        return taken, PARTLY
    return taken, TILED if len(set(found)) < len(found) else KEPT


def grouped(fates: Mapping[str, str]) -> dict[str, dict[str, int]]:
    """Tensors by the beginning of their names, and how many of them are what. fates: by the name of the tensor."""
    groups: dict[str, Counter[str]] = defaultdict(Counter)
    for name, fate in fates.items():
        if not name.endswith(COUNTERS):
            groups[re.sub(r"\.?\d+$", "", ".".join(name.split(".")[:-1][:2]))][fate] += 1
    return {group: dict(counts) for group, counts in groups.items()}


def loaded_parts(names: Iterable[str], kept: str) -> LoadedWeights:
    """Of a model some of whose tensors were loaded as they are. kept: part of their names."""
    return LoadedWeights(grouped({name: KEPT if kept in name else NEW for name in names}))


def pixel_facts(mean: Tensor, std: Tensor) -> dict[str, Any]:
    """`pixel_mean` and `pixel_std` of LoadedWeights, 0 to 255."""
    shown = (torch.as_tensor(values).flatten().tolist() for values in (mean, std))
    return {name: tuple(round(v, 4) for v in v_s) for name, v_s in zip(("pixel_mean", "pixel_std"), shown, strict=True)}
