from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import roifile
import tifffile
from numpy.typing import NDArray

from harness.data.sources import check, load

IMAGE = np.arange(20 * 24, dtype=np.uint16).reshape(20, 24).astype(np.uint8)


def roi_bytes(kind: int, box: tuple[int, int, int, int], points: Any = (), **more: Any) -> bytes:
    """A .roi file byte by byte, by ij.io.RoiDecoder: box is top, left, bottom, right; points are relative to it."""
    path = np.asarray(more.get("path", ()), ">f4")
    none = b"\0" * 4
    facts = (227, kind, *box, len(points), 0, len(path), none, none, more.get("subtype", 0))
    layout = ">4shBxhhhhH16xhi4s4shhBBhii"
    head = struct.pack(layout, b"Iout", *facts, 0, 0, 0, 0, more.get("position", 0), 0)
    return head + np.asarray(points, ">i2").reshape(-1, 2).T.tobytes() + path.tobytes()


def write(folder: Path, *regions: bytes, name: str = "x.zip") -> str:
    tifffile.imwrite(folder / "x.tif", IMAGE)
    with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
        for i, content in enumerate(regions):
            archive.writestr(f"{i:04}-0001.roi", content)
    return f"imagej:{folder}"


def planes(source: str) -> NDArray[np.uint8]:
    masks = load(source, cache=False)[0].instances.masks
    assert masks is not None
    return masks.planes(*IMAGE.shape)


SQUARE = roi_bytes(0, (3, 5, 7, 10), [(0, 0), (5, 0), (5, 4), (0, 4)])


def test_a_polygon_holds_the_pixels_between_its_corners(tmp_path: Path) -> None:
    expected = np.zeros(IMAGE.shape, np.uint8)
    expected[3:7, 5:10] = 1
    assert np.array_equal(planes(write(tmp_path, SQUARE)), [expected])


@pytest.mark.parametrize("kind", [7, 8])
def test_freehand_and_traced_regions_are_areas(tmp_path: Path, kind: int) -> None:
    region = roi_bytes(kind, (3, 5, 7, 10), [(0, 0), (5, 0), (5, 4), (0, 4)])
    assert planes(write(tmp_path, region)).sum() == 20


def test_a_rectangle_and_an_oval_fill_their_box(tmp_path: Path) -> None:
    rectangle, oval = planes(write(tmp_path, roi_bytes(1, (2, 3, 6, 9)), roi_bytes(2, (8, 4, 18, 20))))
    assert rectangle[2:6, 3:9].all()
    assert rectangle.sum() == 24
    y, x = np.mgrid[:20, :24] + 0.5
    assert np.array_equal(oval != 0, ((x - 12) / 8) ** 2 + ((y - 13) / 5) ** 2 <= 1)


def test_fractions_of_pixels_are_kept(tmp_path: Path) -> None:
    region = roifile.ImagejRoi.frompoints(np.asarray([(2.6, 3.4), (6.6, 3.4), (6.6, 8.4), (2.6, 8.4)]))
    (plane,) = planes(write(tmp_path, region.tobytes()))
    assert plane[3:8, 3:7].all()
    assert plane.sum() == 20


def test_a_composite_keeps_its_hole_and_its_parts(tmp_path: Path) -> None:
    path: list[float] = []
    for x0, y0, x1, y1 in ((2, 2, 10, 10), (4, 4, 7, 6), (12, 12, 15, 14)):
        path += [0, x0, y0, 1, x1, y0, 1, x1, y1, 1, x0, y1, 4]
    (plane,) = planes(write(tmp_path, roi_bytes(1, (2, 2, 14, 15), path=path)))
    assert plane.sum() == 64 - 6 + 6
    assert not plane[4:6, 4:7].any()


def test_overlapping_regions_stay_whole(tmp_path: Path) -> None:
    assert planes(write(tmp_path, SQUARE, roi_bytes(1, (4, 6, 9, 12)))).sum(axis=(1, 2)).tolist() == [20, 30]


@pytest.mark.parametrize("name", ["x.zip", "x_rois.zip", "x_RoiSet.zip", "RoiSet_x.zip", "x.tif.zip", "RoiSet.zip"])
def test_the_usual_names_are_found(tmp_path: Path, name: str) -> None:
    assert load(write(tmp_path, SQUARE, name=name)).cells == 1


def test_roiset_zip_beside_two_images_belongs_to_none(tmp_path: Path) -> None:
    source = write(tmp_path, SQUARE, name="RoiSet.zip")
    tifffile.imwrite(tmp_path / "y.tif", IMAGE)
    assert check(source).problems[0] == "RoiSet.zip: there is no image for these annotations"


def test_a_single_roi_file_is_one_cell(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", IMAGE)
    (tmp_path / "x.roi").write_bytes(SQUARE)
    assert planes(f"imagej:{tmp_path}").sum() == 20


def test_lines_points_and_text_are_left_out_and_counted(tmp_path: Path) -> None:
    others = [roi_bytes(kind, (1, 1, 5, 5), [(0, 0), (2, 2)]) for kind in (4, 5, 10)]
    dataset = load(write(tmp_path, SQUARE, *others))
    assert dataset.cells == 1
    assert "ImageJ regions without an area (lines, points), left out: 1 image" in dataset.notes


@pytest.mark.parametrize(
    ("region", "words"),
    [
        (b"", "not a region of ImageJ"),
        (b"Iout" + b"\0" * 30, "not a region of ImageJ"),
        (SQUARE[:-3], "not a region of ImageJ"),
        (roi_bytes(0, (3, 5, 7, 10), [(0, 0), (5, 0), (5, 4)], position=3), "on plane 3 of a stack"),
        (roi_bytes(1, (30, 40, 35, 45)), "no pixel of the image"),
        (roi_bytes(0, (3, 5, 7, 10), [(0, 0), (5, 0)]), "three points"),
        (roi_bytes(1, (2, 2, 9, 9), path=[0, 1, float("nan"), 1, 5, 5, 1, 3, 8]), "not finite"),
        (roi_bytes(1, (2, 2, 9, 9), path=[3, 1, 1, 2, 2, 5, 5]), "not a region of ImageJ"),
    ],
)
def test_a_bad_region_is_one_line_and_the_others_stay(tmp_path: Path, region: bytes, words: str) -> None:
    source = write(tmp_path, SQUARE, region)
    (problem,) = check(source).problems
    assert problem.startswith("x.zip: 0001-0001.roi: ")
    assert words in problem
    assert load(source, skip_bad=True).cells == 1


def test_a_zip_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    source = write(tmp_path, SQUARE, b"Iout" + bytes(2**24))
    assert "unpacks to more than" in check(source).problems[0]


def test_another_zip_is_told(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", IMAGE)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.txt", "a")
    assert check(f"imagej:{tmp_path}").problems == (
        "x.zip: a zip file without .roi files: not a set of the ROI Manager",
    )


def test_what_macos_leaves_in_archives_is_no_region(tmp_path: Path) -> None:
    source = write(tmp_path, SQUARE)
    with zipfile.ZipFile(tmp_path / "x.zip", "a") as archive:
        archive.writestr("__MACOSX/._0000-0001.roi", b"\0\5\x16\7" + b"\0" * 90)
    found = check(source)
    assert (found.problems, found.cells) == ((), 1)
