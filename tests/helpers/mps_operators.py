"""What Apple's GPUs lack, told on any machine from torch's own list of operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torchgen
import yaml
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

LIST = Path(torchgen.__file__).parent / "packaged" / "ATen" / "native" / "native_functions.yaml"
ANY_DEVICE = {
    "MPS",
    "SparseMPS",
    "CompositeImplicitAutograd",
    "CompositeExplicitAutograd",
    "CompositeExplicitAutogradNonFunctional",
}
IN_TORCHVISION = {"torchvision::nms", "torchvision::roi_align", "torchvision::_roi_align_backward"}
"""Kernels for Apple's GPUs that torchvision brings (torchvision/csrc/ops/mps)."""
WIDE = (torch.float64, torch.complex128)


@cache
def operators_of_mps() -> frozenset[str]:
    """Names of torch's operators that have a kernel for MPS, or are made of others, as in "aten::add.Tensor"."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    entries: list[Mapping[str, Any]] = yaml.load(LIST.read_text(encoding="utf-8"), loader)
    by_name = {entry["func"].partition("(")[0]: entry for entry in entries}
    found = {name for name, entry in by_name.items() if _is_there(entry, by_name)}
    for entry in entries:  # made from the others, for any device
        found.update(name.strip() for name in entry.get("autogen", "").split(",") if name.strip())
    return frozenset(f"aten::{name}" for name in found) | IN_TORCHVISION


def _is_there(entry: Mapping[str, Any], by_name: Mapping[str, Mapping[str, Any]]) -> bool:
    keys = {key.strip() for line in entry.get("dispatch") or {} for key in line.split(",")}
    if keys & ANY_DEVICE:
        return True
    delegate = entry.get("structured_delegate")
    if delegate:
        return _is_there(by_name[delegate], by_name)
    return not keys


class WhatMpsLacks(TorchDispatchMode):
    """Collects operators without a kernel there, and those that take or give a float64 tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.lacking: set[str] = set()
        self.wide: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = func(*args, **(kwargs or {}))
        name = func.name()
        if func.namespace != "profiler" and name.removesuffix(".default") not in operators_of_mps():
            self.lacking.add(name)
        if any(isinstance(leaf, torch.Tensor) and leaf.dtype in WIDE for leaf in tree_leaves((args, kwargs, given))):
            self.wide.add(name)
        return given
