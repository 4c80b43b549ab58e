"""Train, calibration and validation images: deterministic, by cell type, whole groups."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np

from harness.data.dataset import Dataset
from harness.errors import HarnessError

PARTS = ("train", "calibration", "validation")


@dataclass(frozen=True)
class Splits:
    """Image ids of each part, sorted. fingerprint: SHA-256 (hexadecimal) over all three."""

    train: tuple[str, ...]
    calibration: tuple[str, ...]
    validation: tuple[str, ...]
    fingerprint: str


@dataclass(frozen=True)
class _Unit:
    """Images that stay on one side of a split, how many there are of each cell type, and their cells."""

    ids: tuple[str, ...]
    types: Counter[str]
    cells: int


def split(dataset: Dataset, *, calibration: float, validation: float, seed: int = 0) -> Splits:
    """Divide the images into three parts.

    Units (groups, or single images) are taken in an order drawn from the seed. Each goes to the part that still lacks
    most images of its cell type. Images without cells count as a type of their own. Each part gets at least one unit
    with cells. The result depends on ids, types and groups alone, not on their order.

    Args:
        dataset: what is divided.
        calibration: fraction of all images on which thresholds are chosen.
        validation: fraction that is scored. The rest is for training.
        seed: of the order.

    Raises:
        HarnessError: where the fractions leave nothing, or there are fewer than three units with cells.
    """
    if not (calibration > 0 and validation > 0 and calibration + validation < 1):
        raise HarnessError(
            f"calibration {calibration} and validation {validation} must be above 0 and leave something to train on"
        )
    units = _units(dataset)
    with_cells = [u for u in units if u.cells]
    if len(with_cells) < len(PARTS):
        grouped = " (images of one group count as one)" if any(dataset.groups) else ""
        raise HarnessError(
            f"{dataset.public_source}: {len(with_cells)} annotated images{grouped} are too few for training, "
            "calibration and validation; three are the least"
        )
    fractions = np.asarray([1 - calibration - validation, calibration, validation])
    totals: Counter[str] = sum((u.types for u in units), Counter())
    wanted = {cell_type: count * fractions for cell_type, count in totals.items()}
    shares: list[list[_Unit]] = [[] for _ in PARTS]
    shuffled = [units[i] for i in np.random.default_rng([seed, len(units)]).permutation(len(units))]
    # large units first, while there is room to make up for them; sorting is stable, so the draw decides among equals
    for unit in sorted(shuffled, key=lambda u: -len(u.ids)):
        need = np.asarray(sum(n * wanted[t] for t, n in unit.types.items()))
        overall = np.asarray(sum(wanted.values()))
        part = int(np.lexsort((overall, need))[-1])
        shares[part].append(unit)
        for cell_type, n in unit.types.items():
            wanted[cell_type][part] -= n
    _fill_empty(shares)
    train, tuning, held_out = (tuple(sorted(i for unit in share for i in unit.ids)) for share in shares)
    whole = json.dumps([train, tuning, held_out])
    return Splits(train, tuning, held_out, hashlib.sha256(whole.encode()).hexdigest())


def _units(dataset: Dataset) -> list[_Unit]:
    members: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i, (image_id, group) in enumerate(zip(dataset.ids, dataset.groups, strict=True)):
        members[("image", image_id) if group is None else ("group", group)].append(i)
    counts = dataset.cells_per_image
    return [
        _Unit(
            tuple(dataset.ids[i] for i in inside),
            Counter(dataset.cell_types[i] or "" for i in inside),
            sum(counts[i] for i in inside),
        )
        for _, inside in sorted(members.items())
    ]


def _fill_empty(shares: list[list[_Unit]]) -> None:
    """Give each part without cells the smallest annotated unit of the part that has most of them."""
    for share in shares:
        if not any(u.cells for u in share):
            giver = max(shares, key=lambda s: sum(1 for u in s if u.cells))
            gift = min((u for u in giver if u.cells), key=lambda u: len(u.ids))
            giver.remove(gift)
            share.append(gift)
