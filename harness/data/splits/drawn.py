"""Parts drawn at random: deterministic, by cell type, whole groups."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from harness.data.dataset import Dataset
from harness.data.splits.parts import PARTS, Splits
from harness.errors import HarnessError

Groups = Sequence[str | None]
"""The group of each image of a data set, in the order of its ids. Images without a group stand alone."""


@dataclass(frozen=True)
class Unit:
    """Images that stay in one part, how many there are of each cell type, and their cells."""

    ids: tuple[str, ...]
    types: Counter[str]
    cells: int


def split(
    dataset: Dataset, *, calibration: float, validation: float, seed: int = 0, groups: Groups | None = None
) -> Splits:
    """Divide the images into three parts.

    Units (groups, or single images) are taken in an order drawn from the seed. Each goes to the part that still lacks
    most images of its cell type. Images without cells count as a type of their own. Each part gets at least one unit
    with cells. The result depends on ids, types and groups alone, not on their order.

    Args:
        dataset: what is divided.
        calibration: fraction of all images on which thresholds are chosen.
        validation: fraction that is scored. The rest is for training.
        seed: of the order.
        groups: of the images; None for those of the data set.

    Raises:
        HarnessError: where the fractions leave nothing, or there are fewer than three units with cells.
    """
    if not (calibration > 0 and validation > 0 and calibration + validation < 1):
        raise HarnessError(
            f"calibration {calibration} and validation {validation} must be above 0 and leave something to train on"
        )
    units = units_of(dataset, groups)
    if sum(1 for unit in units if unit.cells) < len(PARTS):
        raise _too_few(dataset, units, groups, "training, calibration and validation", len(PARTS))
    shares = divide_units(units, [1 - calibration - validation, calibration, validation], seed)
    return Splits.of(*(ids_of(share) for share in shares))


def draw_calibration(
    dataset: Dataset, ids: Collection[str], fraction: float, groups: Groups | None = None
) -> tuple[list[str], list[str]]:
    """Divide these images into training and calibration images. Raises HarnessError where two units are not there."""
    units = units_of(dataset, groups, set(ids))
    if sum(1 for unit in units if unit.cells) < 2:
        raise _too_few(dataset, units, groups, "training and calibration", 2)
    train, calibration = divide_units(units, [1 - fraction, fraction], 0)
    return ids_of(train), ids_of(calibration)


def draw_folds(dataset: Dataset, folds: int, seed: int, groups: Groups | None = None) -> list[Splits]:
    """Divide the images into folds that are alike in cell types. Groups stay whole.

    Each fold is the validation part of one of the splits, and all others are its training part. No image is taken for
    calibration: the rule of a fold is chosen from the predictions of the others.

    Raises:
        HarnessError: where there are fewer units with cells than folds.
    """
    if folds < 2:
        raise HarnessError(f"--folds {folds}: two are the least; 5 is usual")
    units = units_of(dataset, groups)
    annotated = sum(1 for unit in units if unit.cells)
    if annotated < folds:
        raise _too_few(dataset, units, groups, f"{folds} folds", folds)
    held_out = [ids_of(share) for share in divide_units(units, [1 / folds] * folds, seed)]
    return [Splits.of(set(dataset.ids).difference(ids), (), ids) for ids in held_out]


def units_of(dataset: Dataset, groups: Groups | None = None, inside: Collection[str] | None = None) -> list[Unit]:
    """The groups and the images without one; of the images `inside` alone where they are given."""
    members: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i, (image_id, group) in enumerate(zip(dataset.ids, groups or dataset.groups, strict=True)):
        if inside is None or image_id in inside:
            members[("image", image_id) if group is None else ("group", group)].append(i)
    counts = dataset.cells_per_image
    return [
        Unit(
            tuple(dataset.ids[i] for i in those),
            Counter(dataset.cell_types[i] or "" for i in those),
            sum(counts[i] for i in those),
        )
        for _, those in sorted(members.items())
    ]


def divide_units(units: Sequence[Unit], fractions: Sequence[float], seed: int) -> list[list[Unit]]:
    """Units by part, near these fractions of each cell type. Each part has a unit with cells if there are enough."""
    wanted_fractions = np.asarray(fractions)
    totals: Counter[str] = sum((u.types for u in units), Counter())
    wanted = {cell_type: count * wanted_fractions for cell_type, count in totals.items()}
    shares: list[list[Unit]] = [[] for _ in fractions]
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
    return shares


def ids_of(units: Sequence[Unit]) -> list[str]:
    """The images of these units."""
    return [image_id for unit in units for image_id in unit.ids]


def _fill_empty(shares: list[list[Unit]]) -> None:
    """Give each part without cells the smallest annotated unit of the part that has most of them."""
    for share in shares:
        if not any(u.cells for u in share):
            giver = max(shares, key=lambda s: sum(1 for u in s if u.cells))
            gift = min((u for u in giver if u.cells), key=lambda u: len(u.ids))
            giver.remove(gift)
            share.append(gift)


def _too_few(dataset: Dataset, units: Sequence[Unit], groups: Groups | None, purpose: str, least: int) -> HarnessError:
    annotated = sum(1 for unit in units if unit.cells)
    grouped = " (images of one group count as one)" if any(groups or dataset.groups) else ""
    number = {2: "two", 3: "three"}.get(least, str(least))
    return HarnessError(
        f"{dataset.public_source}: {annotated} annotated images{grouped} are too few for {purpose}; "
        f"{number} are the least"
    )
