"""QuPath's GeoJSON beside images: Polygon and MultiPolygon features with holes and classes.

QuPath exports coordinates in pixels of the full-resolution image, with the origin at the upper left corner of the upper
left pixel (its documentation, "Exporting annotations"). A pixel belongs to a cell where its centre lies inside.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.beside import BesideImages, beside_images, read_json
from harness.data.drawing import Canvas, Cell, Patch, draw_sample, points_of
from harness.data.images import SUFFIXES
from harness.data.pairing import stem_of
from harness.data.source import Loaded
from harness.errors import HarnessError, one_line

UNCLASSIFIED = "cell"
"""Class of objects without a classification."""

OLD_KINDS = {"PathDetectionObject": "detection", "PathCellObject": "cell", "PathAnnotationObject": "annotation"}
"""The "id" of features, as QuPath before 0.3 wrote what kind of object they are."""

FLAT = ("Polygon", "MultiPolygon")

NO_CELL = "*"
"""QuPath leaves classes whose names end so, such as Region* and Ignore*, out of what it measures."""


class QuPath(BesideImages):
    """x.geojson or x.tif.geojson belongs to the image x.tif.

    Where a file holds detections or cells, its annotations are the regions in which QuPath looked for them: they are
    left out and counted, and so are classes such as Region* and Ignore*. Of a cell, the outline is read, not that of
    its nucleus.
    """

    usage = "qupath:DIR"
    files = "*.geojson"

    @staticmethod
    def is_annotation(path: Path) -> bool:
        return path.suffix.lower() == ".geojson"

    def key(self, path: Path) -> str:
        stem = stem_of(path)
        named_with_ending = self.is_annotation(path) and Path(stem).suffix.lower() in SUFFIXES
        return stem_of(Path(stem)) if named_with_ending else stem

    def classes(self, annotations: Sequence[Path]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        names: set[str] = set()
        for path in annotations:
            try:
                found = {class_of(feature) for _, feature in _cells(_features(read_json(path)))}
                names.update(name for name in found if not name.endswith(NO_CELL))
            except HarnessError:
                continue  # told when the file is read
        return tuple(sorted(names)) or (UNCLASSIFIED,), ()

    def read(self, image_id: str, pixels: NDArray[np.uint8], path: Path, classes: tuple[str, ...]) -> Loaded:
        features = _features(read_json(path))
        labels = {name: label for label, name in enumerate(classes)}
        chosen = list(_cells(features))
        cells, problems, notes = [], [], set()
        for i, feature in chosen:
            geometry = feature.get("geometry")
            kind = geometry.get("type") if isinstance(geometry, dict) else None
            if kind in ("Point", "MultiPoint", "LineString", "MultiLineString"):
                notes.add("QuPath objects without an area (points, lines), left out")
            elif class_of(feature).endswith(NO_CELL):
                notes.add(f"QuPath objects of the class {class_of(feature)}, which are no cells, left out")
            elif class_of(feature) not in labels:
                problems.append(f"features[{i}]: the file changed while it was read")
            else:
                cells.append(Cell(f"features[{i}]", labels[class_of(feature)], partial(_drawn, geometry)))
        if len(chosen) < len(features):
            notes.add("QuPath annotations around detections or cells, taken for regions and left out")
        sample, more, outside = draw_sample(image_id, pixels, cells, classes)
        return Loaded(sample, (*problems, *more), tuple(sorted(notes)), outside=outside)


def _features(whole: Any) -> list[dict[str, Any]]:
    """A FeatureCollection, a list of features or a single one. Raises HarnessError."""
    if isinstance(whole, dict) and whole.get("type") == "FeatureCollection":
        whole = whole.get("features")
    elif isinstance(whole, dict) and whole.get("type") == "Feature":
        whole = [whole]
    if not isinstance(whole, list) or not all(isinstance(f, dict) and f.get("type") == "Feature" for f in whole):
        raise HarnessError("no GeoJSON FeatureCollection")
    return whole


def _cells(features: list[dict[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The features that are cells, with their places."""
    kinds = [_kind(feature) for feature in features]
    regions = ("annotation",) if "detection" in kinds or "cell" in kinds else ()
    return ((i, feature) for i, feature in enumerate(features) if kinds[i] not in regions)


def _kind(feature: dict[str, Any]) -> str:
    properties = _properties(feature)
    kind = properties.get("objectType", properties.get("object_type"))
    if not isinstance(kind, str):
        kind = OLD_KINDS.get(str(feature.get("id")), "") if isinstance(feature.get("id"), str) else ""
    return kind.lower()


def _properties(feature: dict[str, Any]) -> dict[str, Any]:
    properties = feature.get("properties")
    return properties if isinstance(properties, dict) else {}


def class_of(feature: dict[str, Any]) -> str:
    """The classification of a feature; QuPath joins the names of a derived class with ": "."""
    classification = _properties(feature).get("classification")
    if isinstance(classification, str):  # some converters write the name alone
        name: Any = classification
    else:
        found = classification if isinstance(classification, dict) else {}
        names: Any = found.get("names")
        derived = names if isinstance(names, list) else []
        name = found.get("name") or ": ".join(part for part in derived if isinstance(part, str))
    return one_line(name, 60) or UNCLASSIFIED if isinstance(name, str) else UNCLASSIFIED


def _drawn(geometry: Any, canvas: Canvas) -> list[Patch]:
    if not isinstance(geometry, dict) or geometry.get("type") not in FLAT:
        kind = geometry.get("type") if isinstance(geometry, dict) else None
        raise HarnessError(f"a geometry of type {one_line(kind, 40)}; Polygon and MultiPolygon are read")
    plane = geometry.get("plane")
    if isinstance(plane, dict) and any(plane.get(axis) not in (None, 0) for axis in "zt"):
        raise HarnessError("an object on another plane of a stack; export that plane for itself")
    polygons = geometry.get("coordinates")
    if geometry["type"] == "Polygon":
        polygons = [polygons]
    polygons = polygons if isinstance(polygons, list) else []
    if not polygons or not all(isinstance(rings, list) and rings for rings in polygons):
        raise HarnessError("a geometry without coordinates")
    return [canvas.polygon([points_of(ring) for ring in rings]) for rings in polygons]


SOURCE = beside_images("qupath", QuPath, "QuPath's GeoJSON (*.geojson) beside images")
