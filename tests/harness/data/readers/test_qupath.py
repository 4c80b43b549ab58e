from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from harness.data.sources import check, load


def ring(x0: float, y0: float, x1: float, y1: float) -> list[list[float]]:
    return [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]


def feature(coordinates: Any, kind: str = "Polygon", name: str | None = None, **properties: Any) -> dict[str, Any]:
    classification = {"classification": {"name": name, "color": [1, 2, 3]}} if name else {}
    geometry = {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "id": "f3a1", "geometry": geometry, "properties": {**classification, **properties}}


def write(folder: Path, whole: Any, name: str = "x.geojson") -> str:
    cv2.imwrite(str(folder / "x.png"), np.arange(20 * 24, dtype=np.uint16).reshape(20, 24).astype(np.uint8))
    (folder / name).write_text(json.dumps(whole))
    return f"qupath:{folder}"


def collection(*features: Any) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": list(features)}


SQUARE = feature([ring(2, 3, 7, 6)])


def areas(source: str) -> list[int]:
    masks = load(source, cache=False)[0].instances.masks
    assert masks is not None
    return masks.areas().tolist()


def test_a_polygon_keeps_its_hole(tmp_path: Path) -> None:
    source = write(tmp_path, collection(feature([ring(2, 3, 12, 13), ring(4, 5, 8, 7)])))
    masks = load(source)[0].instances.masks
    assert masks is not None
    plane = masks.planes(20, 24)[0]
    assert plane.sum() == 100 - 8
    assert not plane[5:7, 4:8].any()


def test_a_multipolygon_is_one_cell(tmp_path: Path) -> None:
    parts = [[ring(1, 1, 4, 4)], [ring(10, 10, 14, 14), ring(11, 11, 12, 12)]]
    assert areas(write(tmp_path, collection(feature(parts, "MultiPolygon")))) == [9 + 15]


def test_a_centre_exactly_between_is_decided_by_half_pixels(tmp_path: Path) -> None:
    """QuPath's origin is the corner of the first pixel: a ring from 2.4 to 6.4 holds the centres 2.5 to 5.5."""
    assert load(write(tmp_path, collection(feature([ring(2.4, 2.4, 6.4, 6.4)]))))[0].instances.boxes.tolist() == [
        [2, 2, 6, 6]
    ]


def test_classes_are_sorted_and_unclassified_objects_are_cells(tmp_path: Path) -> None:
    whole = collection(
        SQUARE, feature([ring(8, 3, 12, 6)], name="Tumor"), feature([ring(8, 8, 12, 12)], name="Immune: CD8")
    )
    dataset = load(write(tmp_path, whole))
    assert dataset.classes == ("Immune: CD8", "Tumor", "cell")
    assert dataset[0].instances.labels.tolist() == [2, 1, 0]


def test_names_of_a_derived_class_are_joined(tmp_path: Path) -> None:
    named = feature([ring(2, 3, 7, 6)], classification={"names": ["Tumor", "Ki67"]})
    assert load(write(tmp_path, collection(named))).classes == ("Tumor: Ki67",)


@pytest.mark.parametrize("whole", [[SQUARE], SQUARE, collection(SQUARE)])
def test_all_three_ways_of_exporting_are_read(tmp_path: Path, whole: Any) -> None:
    assert areas(write(tmp_path, whole)) == [15]


@pytest.mark.parametrize("name", ["x.geojson", "x.png.geojson"])
def test_names_with_and_without_the_ending_of_the_image(tmp_path: Path, name: str) -> None:
    assert load(write(tmp_path, collection(SQUARE), name)).ids == ("x",)


@pytest.mark.parametrize(
    ("region", "cell"),
    [
        ({"objectType": "annotation"}, {"objectType": "detection"}),
        ({"object_type": "annotation"}, {"object_type": "cell"}),
        ({"id": "PathAnnotationObject"}, {"id": "PathDetectionObject"}),
    ],
)
def test_annotations_around_detections_are_regions(
    tmp_path: Path, region: dict[str, Any], cell: dict[str, Any]
) -> None:
    around, within = feature([ring(0, 0, 24, 20)], name="Region"), feature([ring(2, 3, 7, 6)])
    for one, facts in ((around, region), (within, cell)):
        one["id"] = facts.get("id", one["id"])
        one["properties"] |= {key: value for key, value in facts.items() if key != "id"}
    dataset = load(write(tmp_path, collection(around, within)))
    assert (dataset.cells, dataset.classes) == (1, ("cell",))
    assert "QuPath annotations around detections or cells, taken for regions and left out: 1 image" in dataset.notes


def test_points_and_lines_are_left_out_and_counted(tmp_path: Path) -> None:
    line = feature([[1, 1], [2, 2]], "LineString")
    dataset = load(write(tmp_path, collection(SQUARE, feature([3, 4], "Point"), line)))
    assert dataset.cells == 1
    assert "QuPath objects without an area (points, lines), left out: 1 image" in dataset.notes


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (feature(None), "without coordinates"),
        (feature([]), "without coordinates"),
        (feature([[[1, 2], [3]]]), "not a list of points"),
        (feature([ring(90, 90, 99, 99)]), "no pixel of the image"),
        (feature([[[1, 2], [3, float("nan")], [5, 5]]]), "not finite"),
        (feature([[1, 2]], "GeometryCollection"), "Polygon and MultiPolygon are read"),
        ({**SQUARE, "geometry": {**SQUARE["geometry"], "plane": {"c": -1, "z": 2, "t": 0}}}, "another plane"),
    ],
)
def test_a_bad_feature_is_one_line_and_the_others_stay(tmp_path: Path, bad: Any, words: str) -> None:
    source = write(tmp_path, collection(SQUARE, bad))
    (problem,) = check(source).problems
    assert problem.startswith("x.geojson: features[1]: ")
    assert words in problem
    assert load(source, skip_bad=True).cells == 1


@pytest.mark.parametrize("whole", [{}, 3, {"type": "FeatureCollection"}, [1], {"shapes": []}])
def test_other_json_is_told(tmp_path: Path, whole: Any) -> None:
    assert check(write(tmp_path, whole)).problems == ("x.geojson: no GeoJSON FeatureCollection",)


def test_classes_that_qupath_ignores_are_no_cells(tmp_path: Path) -> None:
    found = collection(
        SQUARE, feature([ring(1, 1, 20, 18)], name="Region*"), feature([ring(1, 1, 3, 3)], name="Ignore*")
    )
    source = write(tmp_path, found)
    dataset = load(source)
    assert (dataset.classes, dataset.cells) == (("cell",), 1)
    for name in ("Ignore*", "Region*"):
        assert f"QuPath objects of the class {name}, which are no cells, left out: 1 image" in dataset.notes


def test_a_file_of_another_ending_is_told_with_the_right_one(tmp_path: Path) -> None:
    (problem,) = check(write(tmp_path, collection(SQUARE), name="x.json")).problems
    assert problem.endswith("holds no *.geojson; it has 1 files *.json; images are read as PNG, TIFF, JPEG or BMP")


def test_outlines_of_a_larger_copy_of_the_image_are_told(tmp_path: Path) -> None:
    found = collection(*(feature([ring(x, 3, x + 8, 9)]) for x in (1, 10, 20, 21, 22)))
    assert any("3 outlines reach far out of the image" in line for line in check(write(tmp_path, found)).problems)
