"""Writes the images of a split, with labels where they may be seen, as other tools read them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.contract import Sample
from harness.data.dataset import Dataset
from harness.errors import HarnessError, nearest
from harness.fileio import make_folder, write_bytes_atomic, write_json_atomic, write_text_atomic
from harness.masks.label_image import paint_labels
from harness.masks.rle import to_rle
from harness.platform.files import is_reserved

FORMATS = ("folder", "coco", "cellpose")
"""Label images in a folder beside the images; a COCO file; label images as ID_masks.tif in the folder of the images."""

INDEX = "split.json"
"""Which file is which image."""

WITHOUT_LABELS = "validation"


def export_split(dataset: Dataset, parts: Mapping[str, Sequence[str]], out: Path, form: str) -> list[str]:
    """Write the images of each part into a folder of the part's name. Validation images get no labels.

    Args:
        dataset: the data of a run.
        parts: image ids of "train", "calibration" and "validation".
        out: a folder that does not exist yet or is empty.
        form: one of FORMATS.

    Returns:
        What the labels could not hold, whole sentences.

    Raises:
        HarnessError: the format is unknown, or the folder holds something.
        StorageError: a file cannot be written.
    """
    if form not in FORMATS:
        raise HarnessError(f"no format {form!r}{nearest(form, FORMATS)}; there are: {', '.join(FORMATS)}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise HarnessError(f"{out} is not an empty folder; give a new one with --to")
    stems = file_stems(dataset.ids)
    losses = _Losses()
    for part, ids in parts.items():
        if form == "coco":
            _write_coco(dataset, part, ids, stems, out)
        else:
            _write_label_images(dataset, part, ids, stems, out, form, losses)
    images = [
        {
            "id": i,
            "part": part,
            "file": f"{stems[i]}.png",
            **dict(zip(("height", "width"), _size(dataset, i), strict=True)),
        }
        for part, ids in parts.items()
        for i in ids
    ]
    write_json_atomic(out / INDEX, {"classes": list(dataset.classes), "format": form, "images": images})
    return losses.notes(len(dataset.classes)) if form != "coco" else []


def file_stems(ids: Sequence[str]) -> dict[str, str]:
    """The name, without suffix, of each image's file: its id, without characters that mean something in a path."""
    stems: dict[str, str] = {}
    taken: set[str] = set()
    for image_id in sorted(ids):
        plain = re.sub(r"[^\w.+-]", "-", image_id).lstrip(".") or "image"
        if is_reserved(plain):
            plain = f"image-{plain}"
        name, number = plain, 2
        # names that differ in case alone are one file on most disks of Windows and macOS
        while name.casefold() in taken:
            name, number = f"{plain}-{number}", number + 1
        taken.add(name.casefold())
        stems[image_id] = name
    return stems


class _Losses:
    """What a label image cannot hold."""

    def __init__(self) -> None:
        self.pixels, self.crowd = 0, 0

    def notes(self, classes: int) -> list[str]:
        found = []
        if self.pixels:
            found.append(f"{self.pixels:,} pixels belong to several cells; a label image gives each to one of them.")
        if self.crowd:
            found.append(f"{self.crowd} crowd regions are left out: a label image cannot mark them.")
        if classes > 1:
            found.append(f"Label images have no classes; the {classes} classes are in COCO files only.")
        return found


def _write_label_images(
    dataset: Dataset,
    part: str,
    ids: Sequence[str],
    stems: Mapping[str, str],
    out: Path,
    form: str,
    losses: _Losses,
) -> None:
    import io

    import tifffile

    images = out / part if form == "cellpose" else out / part / "images"
    labels = images if form == "cellpose" else out / part / "labels"
    make_folder(images)
    for image_id in ids:
        sample = dataset.sample(image_id)
        _write_png(images / f"{stems[image_id]}.png", sample)
        if part == WITHOUT_LABELS:
            continue
        make_folder(labels)
        crowd = _crowd(sample)
        assert sample.instances.masks is not None
        masks = sample.instances.masks.select(~crowd)
        painted = paint_labels(masks, sample.size)
        losses.crowd += int(crowd.sum())
        losses.pixels += int(masks.areas().sum()) - int(np.count_nonzero(painted))
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, painted, compression="zlib")
        name = f"{stems[image_id]}_masks.tif" if form == "cellpose" else f"{stems[image_id]}.tif"
        write_bytes_atomic(labels / name, buffer.getbuffer())


def _write_coco(dataset: Dataset, part: str, ids: Sequence[str], stems: Mapping[str, str], out: Path) -> None:
    make_folder(out / part)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, image_id in enumerate(ids, 1):
        sample = dataset.sample(image_id)
        height, width = sample.size
        _write_png(out / part / f"{stems[image_id]}.png", sample)
        images.append({"id": number, "file_name": f"{stems[image_id]}.png", "height": height, "width": width})
        if part != WITHOUT_LABELS:
            annotations += _annotations(sample, number, len(annotations))
    categories = [{"id": label + 1, "name": name} for label, name in enumerate(dataset.classes)]
    whole = {"images": images, "categories": categories, "annotations": annotations}
    write_text_atomic(out / f"{part}.json", json.dumps(whole, allow_nan=False))


def _annotations(sample: Sample, number: int, before: int) -> list[dict[str, Any]]:
    """COCO's entries of the cells of image `number`; `before`: how many entries other images have."""
    masks = sample.instances.masks
    assert masks is not None
    height, width = sample.size
    crowd, areas = _crowd(sample).tolist(), masks.areas().tolist()
    return [
        {
            "id": before + i + 1,
            "image_id": number,
            "category_id": int(sample.instances.labels[i]) + 1,
            "segmentation": {"size": [height, width], "counts": counts},
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "area": areas[i],
            "iscrowd": int(crowd[i]),
        }
        for i, (counts, (x0, y0, x1, y1)) in enumerate(
            zip(to_rle(masks, height, width), masks.boxes.tolist(), strict=True)
        )
    ]


def _crowd(sample: Sample) -> np.ndarray[Any, np.dtype[np.bool_]]:
    crowd = sample.instances.crowd
    return np.zeros(len(sample.instances), np.bool_) if crowd is None else crowd


def _size(dataset: Dataset, image_id: str) -> tuple[int, int]:
    return dataset.sample(image_id).size


def _write_png(path: Path, sample: Sample) -> None:
    import cv2

    image = sample.image if sample.image.ndim == 2 else sample.image[..., ::-1]
    _, png = cv2.imencode(".png", image)
    write_bytes_atomic(path, png.tobytes())
