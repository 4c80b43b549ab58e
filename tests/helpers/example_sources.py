"""A small good data set of every built-in kind of source, written as the real tools write it."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import roifile
import tifffile
from numpy.typing import NDArray

NAMES = ("a", "b", "c")
HEIGHT, WIDTH = 48, 64


def scene(number: int) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """A grey image with two bright ellipses, and its label image."""
    rng = np.random.default_rng(number)
    labels = np.zeros((HEIGHT, WIDTH), np.uint16)
    for value, (x, y) in enumerate(((16, 14), (44, 30)), start=1):
        axes = (int(rng.integers(7, 10)), int(rng.integers(5, 8)))
        cv2.ellipse(labels, (x, y), axes, int(rng.integers(0, 90)), 0, 360, value, -1)
    image = rng.normal(60, 6, labels.shape) + 90 * (labels > 0)
    return image.clip(0, 255).astype(np.uint8), labels


def outlines(labels: NDArray[np.uint16]) -> list[list[tuple[int, int]]]:
    """The (x, y) points around each label."""
    found = []
    for value in range(1, int(labels.max()) + 1):
        contours, _ = cv2.findContours((labels == value).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        found.append([(int(x), int(y)) for x, y in max(contours, key=len)[:, 0]])
    return found


def write_images(folder: Path, suffix: str = ".png") -> dict[str, NDArray[np.uint16]]:
    """The images into a folder; the label images by name."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = {}
    for number, name in enumerate(NAMES):
        image, labels[name] = scene(number)
        if suffix == ".tif":
            tifffile.imwrite(folder / f"{name}.tif", image)
        else:
            cv2.imwrite(str(folder / f"{name}{suffix}"), image)
    return labels


def synthetic(folder: Path) -> str:
    return "synthetic:images=3,size=64"


def painted(folder: Path) -> str:
    return "painted:images=3,size=64,cells=8-20"


def sartorius(folder: Path) -> str:
    with (folder / "train.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "annotation", "width", "height", "cell_type"))
        for name, labels in write_images(folder / "train").items():
            for value in (1, 2):
                flat = np.concatenate([[0], (labels == value).ravel(), [0]]).astype(np.int8)
                edges = np.flatnonzero(np.diff(flat)).reshape(-1, 2)
                text = " ".join(f"{start + 1} {stop - start}" for start, stop in edges.tolist())
                writer.writerow((name, text, WIDTH, HEIGHT, "astro"))
    return f"sartorius:{folder}"


def coco(folder: Path) -> str:
    images, annotations = [], []
    for number, (name, labels) in enumerate(write_images(folder / "images").items()):
        images.append({"id": number, "file_name": f"{name}.png", "height": HEIGHT, "width": WIDTH})
        for points in outlines(labels):
            flat = [float(value) for point in points for value in point]
            row = {"id": len(annotations), "image_id": number, "category_id": 1, "iscrowd": 0, "segmentation": [flat]}
            annotations.append(row)
    tables = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cell"}]}
    (folder / "annotations.json").write_text(json.dumps(tables))
    return f"coco:{folder / 'annotations.json'},{folder / 'images'}"


def label_folder(folder: Path) -> str:
    (folder / "labels").mkdir()
    for name, labels in write_images(folder / "images").items():
        tifffile.imwrite(folder / "labels" / f"{name}_masks.tif", labels)
    return f"folder:{folder / 'images'},{folder / 'labels'}"


def nested(folder: Path) -> str:
    for name, labels in write_images(folder / "one" / "images").items():
        (folder / "one" / "masks").mkdir(exist_ok=True)
        tifffile.imwrite(folder / "one" / "masks" / f"{name}.tif", labels)
    return f"nested:{folder},{folder}"


def cellpose(folder: Path) -> str:
    for name, labels in write_images(folder).items():
        saved = {"masks": labels, "outlines": labels * 0, "chan_choose": [0, 0], "filename": f"{name}.png"}
        saved |= {"ismanual": np.zeros(2, np.bool_), "flows": [labels[None], []], "est_diam": np.float64(12)}
        np.save(folder / f"{name}_seg.npy", saved, allow_pickle=True)
    return f"cellpose:{folder}"


def imagej(folder: Path) -> str:
    for name, labels in write_images(folder, ".tif").items():
        rois = [roifile.ImagejRoi.frompoints(np.asarray(points)) for points in outlines(labels)]
        with zipfile.ZipFile(folder / f"{name}_RoiSet.zip", "w") as archive:
            for i, roi in enumerate(rois):
                archive.writestr(f"{i:04}.roi", roi.tobytes())
    return f"imagej:{folder}"


def qupath(folder: Path) -> str:
    for name, labels in write_images(folder).items():
        features = [
            {
                "type": "Feature",
                "id": f"{name}-{i}",
                "geometry": {"type": "Polygon", "coordinates": [[*map(list, points), list(points[0])]]},
                "properties": {"objectType": "annotation", "classification": {"name": "Tumor", "color": [200, 0, 0]}},
            }
            for i, points in enumerate(outlines(labels))
        ]
        whole = {"type": "FeatureCollection", "features": features}
        (folder / f"{name}.geojson").write_text(json.dumps(whole))
    return f"qupath:{folder}"


def labelme(folder: Path) -> str:
    for name, labels in write_images(folder).items():
        shapes = [
            {"label": "cell", "points": points, "group_id": None, "shape_type": "polygon", "flags": {}}
            for points in outlines(labels)
        ]
        whole = {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": f"{name}.png", "imageData": None}
        whole |= {"imageHeight": HEIGHT, "imageWidth": WIDTH}
        (folder / f"{name}.json").write_text(json.dumps(whole))
    return f"labelme:{folder}"


def yolo(folder: Path) -> str:
    (folder / "labels").mkdir()
    for name, labels in write_images(folder / "images").items():
        rows = [
            " ".join(["0", *(f"{x / WIDTH:.6f} {y / HEIGHT:.6f}" for x, y in points)]) for points in outlines(labels)
        ]
        (folder / "labels" / f"{name}.txt").write_text("\n".join(rows))
    (folder / "data.yaml").write_text("train: images\nnc: 1\nnames: ['cell']\n")
    return f"yolo:{folder}"


def ctc(folder: Path) -> str:
    for number in range(3):
        image, labels = scene(number)
        sequence = f"{number + 1:02}"
        truth = folder / f"{sequence}_GT" / "SEG"
        for path in (folder / sequence, truth):
            path.mkdir(parents=True)
        tifffile.imwrite(folder / sequence / "t000.tif", image)
        tifffile.imwrite(truth / "man_seg000.tif", labels)
    return f"ctc:{folder}"


def dsb2018(folder: Path) -> str:
    for number, name in enumerate(NAMES):
        image, labels = scene(number)
        for sub in ("images", "masks"):
            (folder / name / sub).mkdir(parents=True)
        cv2.imwrite(str(folder / name / "images" / f"{name}.png"), cv2.cvtColor(image, cv2.COLOR_GRAY2BGRA))
        for value in (1, 2):
            cv2.imwrite(str(folder / name / "masks" / f"{value:064x}.png"), np.uint8(255) * (labels == value))
    return f"dsb2018:{folder}"


def livecell(folder: Path) -> str:
    """Three files of annotations with an image each, in the published folders."""
    coco(folder)
    tables = json.loads((folder / "annotations.json").read_text("utf-8"))
    (folder / "annotations.json").unlink()
    files = folder / "annotations" / "LIVECell"
    files.mkdir(parents=True)
    for part, image in zip(("train", "val", "test"), tables["images"], strict=True):
        own = [row for row in tables["annotations"] if row["image_id"] == image["id"]]
        whole = {"images": [image], "annotations": own, "categories": tables["categories"]}
        (files / f"livecell_coco_{part}.json").write_text(json.dumps(whole))
    return f"livecell:{folder}"


EXAMPLES: dict[str, Callable[[Path], str]] = {
    "synthetic": synthetic,
    "painted": painted,
    "sartorius": sartorius,
    "coco": coco,
    "livecell": livecell,
    "folder": label_folder,
    "nested": nested,
    "cellpose": cellpose,
    "imagej": imagej,
    "qupath": qupath,
    "labelme": labelme,
    "yolo": yolo,
    "ctc": ctc,
    "dsb2018": dsb2018,
}
"""Name of a source to a function that writes a data set into an empty folder and gives what to type."""

WITHOUT_FILES = ("synthetic", "painted")
"""Sources that draw their images."""
