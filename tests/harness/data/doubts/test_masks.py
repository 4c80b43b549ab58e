"""Labels that are not what they are taken for are told; real labels are not doubted."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from label_scenes import polygons, scene, write
from numpy.typing import NDArray

from harness.cli import harness
from harness.data.sources import check, load


def as_jpeg(image: NDArray, labels: NDArray) -> NDArray:
    """Labels that were a JPEG once."""
    jpeg = cv2.imencode(".jpg", (labels * 20).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
    return cv2.imdecode(jpeg, cv2.IMREAD_UNCHANGED)


WRONG = {
    "mask of all cells": (
        lambda image, labels: ((labels > 0) * 255).astype(np.uint8),
        "x0: 1 of 1 cells are in several separate pieces (so too on 3 more images of 4); is it a mask of all cells",
    ),
    "classes": (
        lambda image, labels: ((labels % 3 + 1) * (labels > 0)).astype(np.uint8),
        "x0: 3 of 3 cells are in several separate pieces (so too on 3 more images of 4); are they numbers of classes",
    ),
    "grey levels": (
        lambda image, labels: image,
        "are in several separate pieces (so too on 3 more images of 4); are they grey levels",
    ),
    "background of 1": (
        lambda image, labels: labels + 1,
        "of the image and reaches all its edges (so too on 3 more images of 4); is the background a number other",
    ),
    "background of 255": (
        lambda image, labels: np.where(labels > 0, labels, 255).astype(np.uint8),
        "is the background a number other than 0?",
    ),
    "inverted mask": (lambda image, labels: ((labels == 0) * 255).astype(np.uint8), "is the background a number other"),
    "once a JPEG": (as_jpeg, "x0: "),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_label_image_is_told_with_image_and_cause(kind: str, tmp_path: Path) -> None:
    change, words = WRONG[kind]
    source = write(tmp_path, change)
    found = check(source)
    assert words in " ".join(found.problems)
    assert all(problem.isprintable() for problem in found.problems)
    assert load(source).doubts == found.problems
    trusted = check(source, trust_labels=True)
    assert (trusted.problems, trusted.notes) == ((), found.notes + found.problems)


def test_right_labels_are_not_doubted(tmp_path: Path) -> None:
    found = check(write(tmp_path, lambda image, labels: labels))
    assert (found.problems, found.notes, found.cells) == ((), (), 24)


def test_one_wrong_file_among_many_is_named(tmp_path: Path) -> None:
    source = write(tmp_path, lambda image, labels: labels, tuple(range(12)))
    cv2.imwrite(str(tmp_path / "l" / "x7.png"), ((scene(7)[1] > 0) * 255).astype(np.uint8))
    (problem,) = check(source).problems
    assert problem.startswith("x7: 1 of 1 cells are in several separate pieces;")


def test_a_cell_of_two_parts_is_no_reason_to_doubt(tmp_path: Path) -> None:
    def cut(image: NDArray, labels: NDArray) -> NDArray:
        rows = np.flatnonzero((labels == 1).any(axis=1))
        middle = labels[int(rows.mean())]
        middle[middle == 1] = 0
        return labels

    assert check(write(tmp_path, cut)).problems == ()


def test_a_run_stops_at_doubts_unless_it_trusts_the_labels(tmp_path: Path) -> None:
    source = write(tmp_path, WRONG["classes"][0])
    words = ["run", "--methods", "mask_rcnn", "--preset", "smoke", "--data", source, "--dry-run"]
    stopped = CliRunner().invoke(harness, words)
    assert stopped.exit_code == 2
    assert "several separate pieces" in stopped.output
    assert "--trust-labels" in stopped.output
    assert stopped.output.count("\n") == 1
    trusted = CliRunner().invoke(harness, [*words, "--trust-labels"])
    assert trusted.exit_code == 0
    assert "note: x0: 3 of 3 cells" in trusted.output
    checked = CliRunner().invoke(harness, ["data", "check", source])
    assert checked.exit_code == 1
    assert CliRunner().invoke(harness, ["data", "check", source, "--trust-labels"]).exit_code == 0


def test_column_major_run_lengths_are_told(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    lines = ["id,annotation,width,height,cell_type"]
    for k in range(4):
        image, labels = scene(k)
        cv2.imwrite(str(tmp_path / "train" / f"i{k}.png"), image)
        for value in range(1, 7):
            flat = np.concatenate([[0], (labels == value).ravel(order="F"), [0]]).astype(np.int8)
            edges = np.flatnonzero(np.diff(flat)).reshape(-1, 2).tolist()
            lines.append(f"i{k},{' '.join(f'{a + 1} {b - a}' for a, b in edges)},80,64,astro")
    (tmp_path / "train.csv").write_text("\n".join(lines) + "\n")
    (problem,) = check(f"sartorius:{tmp_path}").problems
    assert "6 of 6 cells are in several separate pieces" in problem
    assert "column by column" in problem


def squares(folder: Path, times: int, **more) -> str:
    """COCO annotations of two squares an image, each drawn `times` times."""
    (folder / "images").mkdir()
    images, rows = [], []
    for k in range(4):
        cv2.imwrite(str(folder / "images" / f"x{k}.png"), scene(k)[0])
        images.append({"id": k, "file_name": f"x{k}.png", "height": 64, "width": 80})
        for x in (5, 40) * times:
            polygon = [x, 5, x + 15, 5, x + 15, 20, x, 20]
            rows.append({"id": len(rows), "image_id": k, "category_id": 1, "segmentation": [polygon], **more})
    tables = {"images": images, "annotations": rows, "categories": [{"id": 1, "name": "cell"}]}
    (folder / "a.json").write_text(json.dumps(tables))
    return f"coco:{folder / 'a.json'},{folder / 'images'}"


def test_annotations_that_are_all_there_twice_are_told(tmp_path: Path) -> None:
    (problem,) = check(squares(tmp_path, 2)).problems
    assert problem.startswith("x0: 2 of 4 cells have the same mask as another one, as if drawn twice")


def test_a_few_annotations_that_are_there_twice_are_a_note(tmp_path: Path) -> None:
    source = squares(tmp_path, 1)
    tables = json.loads((tmp_path / "a.json").read_text("utf-8"))
    tables["annotations"].append({**tables["annotations"][0], "id": 99})
    (tmp_path / "a.json").write_text(json.dumps(tables))
    found = check(source)
    assert found.problems == ()
    assert found.notes == ("cells with the same mask as another cell of their image: 1, on 1 image",)


@pytest.mark.parametrize(
    "source",
    [
        "coco:{0}/livecell/annotations.json,{0}/livecell/images",
        "coco:{0}/dsb2018/annotations.json,{0}/dsb2018/images",
        "folder:{0}/usiigaci/images,{0}/usiigaci/labels",
    ],
)
def test_real_labels_are_not_doubted(source: str, real_data: Path) -> None:
    if not (real_data / source.split("/")[1]).is_dir():
        pytest.skip(f"no {source.split('/')[1]} in {real_data}")
    dataset = load(source.format(real_data))
    assert dataset.doubts == ()


def outlined(labels: NDArray, number: int) -> NDArray:
    """Labels whose edges, one pixel wide, all have the same number."""
    edge = (labels > 0) & (cv2.erode(labels, np.ones((3, 3))) != labels)
    return np.where(edge, number, labels).astype(np.uint16)


def framed(labels: NDArray) -> NDArray:
    labels = labels.copy()
    labels[[0, -1]] = labels[:, [0, -1]] = 99
    return labels


@pytest.mark.parametrize(
    "change",
    [
        lambda image, labels: outlined(labels, 255),
        lambda image, labels: framed(labels),
        lambda image, labels: labels * (outlined(labels, 255) == 255),
    ],
    ids=["edges of one number", "a border around the image", "outlines alone"],
)
def test_hollow_cells_are_doubted(tmp_path: Path, change) -> None:
    found = check(write(tmp_path, change))
    assert any(
        "hollow (so too on 3 more images of 4); are they outlines or a border" in line for line in found.problems
    )


def test_boxes_in_place_of_outlines_are_told(tmp_path: Path) -> None:
    def box(points: NDArray, copy: int) -> NDArray:
        (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
        return np.asarray([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])

    found = check(polygons(tmp_path, box))
    assert not found.problems
    assert found.notes == ("cells that fill their boxes, as if boxes were saved in place of outlines: 24 of 24",)


def test_labels_that_all_overlap_take_no_long_time(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(1, 3000, (64, 80)).astype(np.uint16)
    assert check(write(tmp_path, lambda image, labels: noise)).problems
