"""The folds of a method and seed as one record over all images.

Each fold has a record of its own, without scores. Once all folds are there, harness.orchestration.folds scores them
together and writes the record of all. Tables take that record in the place of the folds; where it is not there, they
take one that says what is missing.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean

from harness.evaluation.schema import PostprocessRule
from harness.results.schema import Cost, CurvePoint, DataFacts, RunRecord


def merge_folds(records: Sequence[RunRecord]) -> list[RunRecord]:
    """The records with those of folds replaced by one for each method and seed: the common one, or what is missing."""
    common = {record.key: record for record in records if record.folds or not record.split.fold}
    groups: dict[str, list[RunRecord]] = defaultdict(list)
    for record in records:
        if record.split.fold:
            groups[record.folds_key].append(record)
    merged: dict[str, RunRecord] = {}
    for record in records:
        key = record.folds_key if record.split.fold else record.key
        if key not in merged:
            merged[key] = common[key] if _is_whole(common.get(key), groups[key]) else _incomplete(groups[key])
    return list(merged.values())


def fold_groups(records: Iterable[RunRecord]) -> list[list[RunRecord]]:
    """The records of folds, those of a method and seed together, in the order of the folds."""
    groups: dict[str, list[RunRecord]] = defaultdict(list)
    for record in records:
        if record.split.fold:
            groups[record.folds_key].append(record)
    return [sorted(group, key=lambda record: record.split.fold) for group in groups.values()]


def are_complete(folds: Sequence[RunRecord]) -> bool:
    """Whether all folds of a method and seed are there and ended well."""
    good = {record.split.fold for record in folds if record.status == "ok"}
    return bool(folds) and good == set(range(1, folds[0].split.folds + 1))


def is_current(whole: RunRecord, folds: Sequence[RunRecord]) -> bool:
    """Whether the record of all folds was made from these records."""
    made_from = {(one.fold, one.finished) for one in whole.folds}
    return whole.status == "ok" and made_from == {(record.split.fold, record.finished) for record in folds}


def rule_of(record: RunRecord, image_id: str) -> PostprocessRule | None:
    """The rule under which an image was scored; None where the record has no such image or no rule."""
    return next((fold.rule for fold in record.folds if image_id in fold.images), record.rule)


def folder_of_all(name: str) -> str:
    """The folder of the common record, from that of a fold."""
    return re.sub(r"--fold\d+of(\d+)", r"--folds\1", name)


def data_of_all(folds: Sequence[RunRecord]) -> DataFacts:
    """The data of all folds: every image is scored, none is trained on by the model that predicts it.

    The fingerprint of the split is the same for all seeds, each of which draws its own folds of the same images.
    """
    first = folds[0]
    assert first.data is not None
    ids = sorted(i for name in ("train", "unlabelled", "validation") for i in first.data.splits.get(name, ()))
    facts = json.dumps([first.split.folds, first.split.group_by, ids])
    return first.data.model_copy(
        update={
            "splits": {"train": [], "calibration": [], "validation": ids},
            "split_fingerprint": hashlib.sha256(facts.encode()).hexdigest(),
        }
    )


def mean_cost(folds: Sequence[RunRecord]) -> Cost:
    """What one training costs, on average over the folds; of memory the peak."""
    names = [name for name, field in Cost.model_fields.items() if field.annotation in (float | None, int | None, int)]
    found: dict[str, float | int | None] = {}
    for name in names:
        known = [value for record in folds if (value := getattr(record.cost, name)) is not None]
        if not known:
            found[name] = None
        elif name.startswith("peak_"):
            found[name] = max(known)
        else:
            found[name] = round(fmean(known)) if all(isinstance(value, int) for value in known) else fmean(known)
    cost = folds[0].cost
    notes = [note for record in folds for note in record.cost.notes]
    said = f"{len(folds)} folds, each trained for the whole budget; times are means over the folds"
    return cost.model_copy(update={**found, "notes": list(dict.fromkeys([*notes, said]))})


def mean_curve(folds: Sequence[RunRecord]) -> list[CurvePoint]:
    """The learning curve, a mean over the folds, at the points that all have; empty where their number differs."""
    curves = [record.learning_curve for record in folds]
    if len({len(curve) for curve in curves}) > 1:
        return []
    return [
        CurvePoint(
            fraction=fmean(point.fraction for point in points),
            seconds=fmean(point.seconds for point in points),
            iteration=round(fmean(point.iteration for point in points)),
            iou_map=fmean(point.iou_map for point in points),
        )
        for points in zip(*curves, strict=True)
    ]


def _is_whole(common: RunRecord | None, folds: Sequence[RunRecord]) -> bool:
    """Whether the common record stands for these folds. Without folds beside it, it is taken as it is."""
    if common is None:
        return False
    return not folds or common.status != "ok" or is_current(common, folds)


def _incomplete(folds: Sequence[RunRecord]) -> RunRecord:
    """What stands in the table for folds that are not all there."""
    first = min(folds, key=lambda record: record.split.fold)
    number = first.split.folds
    good = [record.split.fold for record in folds if record.status == "ok"]
    failed = [
        f"fold {r.split.fold}: {r.status}{f', {r.reason}' if r.reason else ''}" for r in folds if r.status != "ok"
    ]
    there = {record.split.fold for record in folds}
    missing = [str(fold) for fold in range(1, number + 1) if fold not in there]
    said = [f"{len(good)} of {number} folds ended well", *failed]
    if missing:
        said.append(f"fold{'s' if len(missing) > 1 else ''} {', '.join(missing)} not run")
    if len(good) == number:
        said = [f"all {number} folds are there and not scored together yet; run it again, or type `score`"]
    return first.model_copy(
        update={
            "key": first.folds_key,
            "status": "incomplete",
            "reason": "; ".join(said),
            "split": first.split.model_copy(update={"fold": 0}),
            "data": None if first.data is None else data_of_all(folds),
            "rule": None,
            "cost": mean_cost(folds),
            "learning_curve": [],
        }
    )
