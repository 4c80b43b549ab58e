"""From what the user asked for to the parts of a data set."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from harness.config.split_spec import SplitSpec
from harness.data.combined import CombinedDataset
from harness.data.dataset import Dataset
from harness.data.doubts.same_pictures import alike_pictures, has_same_detail, picture_of, same_pictures
from harness.data.splits.drawn import Groups, draw_calibration, draw_folds, split
from harness.data.splits.files import ImageTable, read_image_table
from harness.data.splits.groups import grouped_by, held_out
from harness.data.splits.parts import PARTS, Splits
from harness.errors import HarnessError, one_line


def divide(dataset: Dataset, spec: SplitSpec, *, calibration: float, validation: float) -> Splits:
    """The parts of a data set; of a fold where `spec` names one.

    Args:
        dataset: what is divided; a CombinedDataset where whole sources are a part.
        spec: what the user asked for.
        calibration: fraction for calibration, of the images that it is drawn from.
        validation: fraction for validation, where it is drawn.

    Raises:
        HarnessError: what was asked for cannot be had.
    """
    if spec.fit_all:
        parts = spec.model_copy(update={"fit_all": False, "fold": 1 if spec.folds else 0})
        divided = divide(dataset, parts, calibration=calibration, validation=validation)
        return Splits.of((*divided.train, *divided.calibration, *divided.validation), (), ())
    table = read_image_table(Path(spec.file), dataset.ids) if spec.file else None
    groups: Groups = grouped_by(dataset, spec.group_by, table) if spec.group_by else dataset.groups
    if spec.folds:
        folds = draw_folds(dataset, spec.folds, spec.seed, groups)
        return folds[spec.fold - 1]
    if isinstance(dataset, CombinedDataset):
        return _whole_sources(dataset, groups, calibration, validation)
    if spec.hold_out:
        ids = held_out(dataset, spec.hold_out, table)
        return _with_validation(dataset, ids, groups, calibration)
    if table is not None and table.parts():
        return _from_table(dataset, table, groups, calibration)
    return split(dataset, calibration=calibration, validation=validation, groups=groups)


def refuse_shared_images(dataset: Dataset, splits: Splits) -> list[str]:
    """Raise HarnessError where one picture is in two parts, under whatever names: the same pixels, or in another size.

    Returns:
        What is told of images in two parts that are only alike, as frames of a film are.
    """
    part_of = {image_id: part for part in PARTS for image_id in getattr(splits, part)}
    ids = list(part_of)
    pictures = [picture_of(dataset.sample(image_id).image) for image_id in ids]
    similar: list[tuple[str, str]] = []
    for same, pixels_too in (
        *((ids, True) for ids in same_pictures(ids, pictures)),
        *((ids, False) for ids in alike_pictures(ids, pictures)),
    ):
        first = same[0]
        for other in (image_id for image_id in same if part_of[image_id] != part_of[first]):
            if pixels_too or has_same_detail(dataset.sample(first).image, dataset.sample(other).image):
                raise HarnessError(
                    f"{other!r} in {part_of[other]} and {first!r} in {part_of[first]} are the same image; "
                    "leave it out of one of them"
                )
            similar.append((first, other))
    if not similar:
        return []
    first, other = (one_line(image_id, 60) for image_id in similar[0])
    words = "images that look like one in another part (frames of a film, or copies compressed with loss)"
    return [f"{words}: {len(similar)} ({other} and {first} for one)"]


def _from_table(dataset: Dataset, table: ImageTable, groups: Groups, calibration: float) -> Splits:
    parts = table.parts()
    for name in ("train", "validation"):
        if name not in parts:
            raise HarnessError(f"--split {table.name} puts no image into {name}")
    train, tuning = parts["train"], parts.get("calibration")
    if tuning is None:
        train, tuning = draw_calibration(dataset, train, calibration, groups)
    splits = Splits.of(train, tuning, parts["validation"])
    splits.check_annotated(dataset)
    return splits


def _with_validation(dataset: Dataset, validation: Iterable[str], groups: Groups, calibration: float) -> Splits:
    """These images for validation. The rest is for training, without those that share a group with them."""
    inside = set(validation)
    group_of = dict(zip(dataset.ids, groups, strict=True))
    theirs = {group_of[image_id] for image_id in inside} - {None}
    rest = [image_id for image_id in dataset.ids if image_id not in inside and group_of[image_id] not in theirs]
    splits = Splits.of(*draw_calibration(dataset, rest, calibration, groups), inside)
    splits.check_annotated(dataset)
    return splits


def _whole_sources(dataset: CombinedDataset, groups: Groups, calibration: float, validation: float) -> Splits:
    given = {part: dataset.ids_of_part(part) for part in ("calibration", "validation")}
    train: Iterable[str] = dataset.ids_of_part("train")
    if not given["validation"]:
        train, given["validation"] = map(tuple, draw_calibration(dataset, set(train), validation, groups))
    if not given["calibration"]:
        train, given["calibration"] = map(tuple, draw_calibration(dataset, set(train), calibration, groups))
    splits = Splits.of(train, given["calibration"], given["validation"])
    splits.check_annotated(dataset)
    return splits
