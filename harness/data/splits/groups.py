"""Values of images by which they stay together (--group-by) or are held out (--hold-out).

A value is that of a column, or what a regular expression finds in an image's name. Columns are `cell_type`, `group` (as
the source gives it), those of the user's table of images, and what else the source knows, such as `plate_time`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from harness.data.dataset import Dataset
from harness.data.doubts.same_pictures import alike_pictures, joined_groups, picture_of, same_pictures
from harness.data.splits.files import ImageTable
from harness.errors import HarnessError, nearest, one_line


def values_of(dataset: Dataset, name: str, table: ImageTable | None, option: str) -> tuple[str | None, ...]:
    """The value of each image, in the order of the data set's ids; None where it has none.

    Args:
        dataset: the images.
        name: a column, or a regular expression with a group in parentheses.
        table: the user's table of images.
        option: what the message of an error begins with.

    Raises:
        HarnessError: there is no such column, or the expression is none or matches no image.
    """
    columns = ["cell_type", "group", *(table.columns if table else ()), *dataset.columns]
    if table is not None and name in table.columns:
        return tuple(table.rows.get(image_id, {}).get(name) for image_id in dataset.ids)
    if name in columns:
        own = {"cell_type": dataset.cell_types, "group": dataset.groups}
        return {**dataset.columns, **own}[name]
    known = f"there are: {', '.join(columns)}, or a regular expression with a group in parentheses"
    try:
        pattern = re.compile(name)
    except re.error as error:
        raise HarnessError(f"{option} {one_line(name)!r} is no regular expression: {error}") from error
    if not pattern.groups:
        raise HarnessError(f"{option}: no column {one_line(name)!r}{nearest(name, columns)}; {known}")
    found = values_in_names(name, dataset.ids)
    if not any(value is not None for value in found):
        raise HarnessError(f"{option} {one_line(name)!r} matches no image, such as {dataset.ids[0]!r}")
    return found


def values_in_names(expression: str, ids: Sequence[str]) -> tuple[str | None, ...]:
    """What a regular expression with groups finds in each id; None where it does not match."""
    found = [re.search(expression, image_id) for image_id in ids]
    return tuple(" ".join(part or "" for part in match.groups()) if match else None for match in found)


def grouped_by(dataset: Dataset, name: str, table: ImageTable | None) -> tuple[str | None, ...]:
    """The group of each image by a column or expression. Copies of an image share its group in any case."""
    groups = dict(zip(dataset.ids, values_of(dataset, name, table, "--group-by"), strict=True))
    joined = joined_groups(groups, _same_pictures(dataset))
    return tuple(joined[image_id] for image_id in dataset.ids)


@lru_cache(maxsize=2)
def _same_pictures(dataset: Dataset) -> list[list[str]]:
    """Kept, since every fold is drawn by the same groups."""
    ids, pictures = list(dataset.ids), [picture_of(dataset[i].image) for i in range(len(dataset))]
    return same_pictures(ids, pictures) + alike_pictures(ids, pictures)


def held_out(dataset: Dataset, typed: str, table: ImageTable | None) -> set[str]:
    """Ids of the images that --hold-out NAME=VALUE[,VALUE] names. Raises HarnessError where there are none."""
    name, equals, values = typed.rpartition("=")
    wanted = {value.strip() for value in values.split(",") if value.strip()}
    if not equals or not name or not wanted:
        raise HarnessError(f"--hold-out {one_line(typed)!r}: type NAME=VALUE, such as cell_type=cort")
    found = values_of(dataset, name, table, "--hold-out")
    known = sorted({value for value in found if value is not None})
    for value in sorted(wanted):
        if value not in known:
            some = ", ".join(known[:8]) + (", ..." if len(known) > 8 else "")
            raise HarnessError(f"--hold-out {name}: no image has {value!r}{nearest(value, known)}; there are: {some}")
    return {image_id for image_id, value in zip(dataset.ids, found, strict=True) if value in wanted}
