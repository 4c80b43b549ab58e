"""A folder of images without labels, as a user has them who wants predictions."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.data.images import SUFFIXES, images_in, read_image
from harness.data.pairing import without_labels
from harness.data.windows import ZARR_SUFFIX
from harness.errors import HarnessError, one_line
from harness.fileio import make_folder
from harness.platform.files import ignores_case


def images_by_id(folder: Path) -> tuple[dict[str, Path], list[Path]]:
    """The image files directly in a folder by their names without suffix, sorted; and label files beside them.

    A label file is one named as the labels of another file in the folder, such as x_masks.png beside x.png.

    Raises:
        HarnessError: where there is no folder or no image in it, or two files differ in their suffix alone.
    """
    if not folder.is_dir():
        raise HarnessError(f"{folder} is not a folder; give the one that holds the images")
    found: dict[str, Path] = {}
    images, labels = without_labels(images_in(folder).values())
    images += [path for path in folder.iterdir() if path.suffix.lower() == ZARR_SUFFIX and path.is_dir()]
    for path in sorted(images, key=lambda path: path.stem):
        if path.stem in found:
            names = f"{one_line(found[path.stem].name)} and {one_line(path.name)}"
            raise HarnessError(f"{folder}: {names} would have the same id; rename one")
        found[path.stem] = path
    if not found:
        raise HarnessError(f"{folder} holds no image ({', '.join(SUFFIXES)})")
    return found, labels


def refuse_same_names(ids: Iterable[str], out: Path) -> None:
    """Raise HarnessError where files named after two images would be one file in the folder `out`."""
    by_name: dict[str, list[str]] = {}
    for image_id in ids:
        by_name.setdefault(image_id.casefold(), []).append(image_id)
    same = next((names for names in by_name.values() if len(names) > 1), None)
    if same is None:
        return
    make_folder(out)
    if ignores_case(out):
        names = " and ".join(map(one_line, same))
        raise HarnessError(f"{names} are one file on the disk of {out}; rename one, or give another --out")


def read(path: Path) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """As harness.data.images.read_image, with the file's name in the error."""
    try:
        return read_image(path)
    except HarnessError as error:
        raise HarnessError(f"{one_line(path.name)}: {error}") from error
