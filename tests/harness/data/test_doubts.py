"""Labels that are not what they are taken for are told; real labels are not doubted."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from harness.cli import harness
from harness.data.doubts import same_pictures
from harness.data.doubts.same_pictures import joined_groups
from harness.data.sources import check, load
from harness.data.splits import split


def scene(seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """A grey image of 64 x 80 with six bright discs, and its label image."""
    rng, labels = np.random.default_rng(seed), np.zeros((64, 80), np.uint16)
    yy, xx = np.mgrid[:64, :80]
    while labels.max() < 6:
        radius = rng.integers(5, 9)
        y, x = rng.integers(radius, 64 - radius), rng.integers(radius, 80 - radius)
        disc = (yy - y) ** 2 + (xx - x) ** 2 <= radius**2
        if not labels[disc].any():
            labels[disc] = labels.max() + 1
    image = rng.normal(60, 8, labels.shape) + 90 * (labels > 0)
    return image.clip(0, 255).astype(np.uint8), labels


def write(folder: Path, change, scenes: tuple[int, ...] = (0, 1, 2, 3)) -> str:
    """Scenes whose label images are change(image, labels)."""
    for name in ("i", "l"):
        (folder / name).mkdir()
    for number, seed in enumerate(scenes):
        image, labels = scene(seed)
        cv2.imwrite(str(folder / "i" / f"x{number}.png"), image)
        cv2.imwrite(str(folder / "l" / f"x{number}.png"), change(image, labels))
    return f"folder:{folder / 'i'},{folder / 'l'}"


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
    tables = json.loads((tmp_path / "a.json").read_text())
    tables["annotations"].append({**tables["annotations"][0], "id": 99})
    (tmp_path / "a.json").write_text(json.dumps(tables))
    found = check(source)
    assert found.problems == ()
    assert found.notes == ("cells with the same mask as another cell of their image: 1, on 1 image",)


def test_the_same_picture_under_two_names_stays_on_one_side_of_a_split(tmp_path: Path) -> None:
    source = write(tmp_path, lambda image, labels: labels, (0, 0, 1, 1, 2, 2, 3, 3, 4, 4))
    dataset = load(source)
    assert "images with the same pixels as another one" in dataset.notes[0]
    assert ": 5 (x0 and x1 for one)" in dataset.notes[0]
    splits = split(dataset, calibration=0.2, validation=0.2)
    for part in (splits.train, splits.calibration, splits.validation):
        numbers = {int(name[1:]) // 2 for name in part}
        assert len(part) == 2 * len(numbers)


def test_groups_that_share_a_picture_become_one() -> None:
    groups = {"a": "w1", "b": "w2", "c": "w2", "d": "w1", "e": None, "f": "w3"}
    assert joined_groups(groups, [["a", "b"], ["e", "f"]]) == {**dict.fromkeys("abcd", "w1"), "e": "w3", "f": "w3"}
    assert joined_groups({"a": None, "b": None}, [["a", "b"]]) == dict.fromkeys("ab", "same picture as a")


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


def polygons(folder: Path, change, copies: int = 1) -> str:
    """Four scenes as polygons, each moved by change(points, copy)."""
    (folder / "i").mkdir()
    tables: dict = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "cell"}]}
    for number in range(4):
        image, labels = scene(number)
        cv2.imwrite(str(folder / "i" / f"x{number}.png"), image)
        tables["images"].append({"id": number, "file_name": f"x{number}.png", "height": 64, "width": 80})
        for value in range(1, labels.max() + 1):
            outline = cv2.findContours((labels == value).astype(np.uint8), 0, 1)[0][0].reshape(-1, 2) + 0.5
            for copy in range(copies):
                shape = [change(outline, copy).ravel().tolist()]
                tables["annotations"].append({"image_id": number, "category_id": 1, "segmentation": shape})
    (folder / "a.json").write_text(json.dumps(tables))
    return f"coco:{folder / 'a.json'},{folder / 'i'}"


def test_polygons_as_they_should_be_are_not_doubted(tmp_path: Path) -> None:
    found = check(polygons(tmp_path, lambda points, copy: points))
    assert not found.problems + found.notes


@pytest.mark.parametrize(
    ("change", "copies", "words"),
    [
        (lambda points, copy: points + copy, 2, "nearly the same mask as another one, as if drawn twice"),
        (lambda points, copy: points[:, ::-1], 1, "outlines reach far out of the image"),
        (lambda points, copy: points / 2, 1, "all cells lie in the upper left"),
    ],
    ids=["twice, moved by a pixel", "y before x", "of a smaller copy"],
)
def test_polygons_that_fit_ill_are_doubted_without_boxes(tmp_path: Path, change, copies: int, words: str) -> None:
    assert any(words in line for line in check(polygons(tmp_path, change, copies)).problems)


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


def row_runs(mask: NDArray, first: int) -> str:
    """Run lengths of a mask, row by row, counted from `first`; a row's end ends a run."""
    edges = [np.flatnonzero(np.diff(np.concatenate([[0], row, [0]]).astype(int))).reshape(-1, 2) for row in mask]
    width = mask.shape[1]
    return " ".join(f"{y * width + a + first} {b - a}" for y, row in enumerate(edges) for a, b in row.tolist())


def kaggle(folder: Path, first: int, move) -> str:
    """Kaggle's layout of move(scene), with run lengths that count pixels from `first`."""
    (folder / "train").mkdir(parents=True)
    lines = ["id,annotation,width,height,cell_type"]
    for k in range(4):
        image, labels = map(move, scene(k))
        cv2.imwrite(str(folder / "train" / f"i{k}.png"), image)
        lines += [f"i{k},{row_runs(labels == value, first)},80,64,astro" for value in np.unique(labels[labels > 0])]
    (folder / "train.csv").write_text("\n".join(lines) + "\n")
    return f"sartorius:{folder}"


COUNTED_FROM_0 = "do the run lengths count pixels from 0? This layout counts from 1"


def test_run_lengths_that_count_from_0_are_told_by_cells_that_go_around_the_edge(tmp_path: Path) -> None:
    def cut_at_left(pixels: NDArray) -> NDArray:
        rolled = np.roll(pixels, -12, axis=1)
        return np.where(np.arange(80) < 60, rolled, rolled.min()).astype(pixels.dtype)

    assert check(kaggle(tmp_path / "right", 1, cut_at_left)).problems == ()
    (problem,) = check(kaggle(tmp_path / "wrong", 0, cut_at_left)).problems
    assert "cells at the left edge that go on at the right edge" in problem
    assert problem.endswith(COUNTED_FROM_0)


def test_run_lengths_that_count_from_0_are_told_by_the_edges_in_the_pictures(tmp_path: Path) -> None:
    def inside(pixels: NDArray) -> NDArray:
        return np.pad(pixels[:, 8:-8], ((0, 0), (8, 8)), constant_values=pixels.min())

    assert check(kaggle(tmp_path / "right", 1, inside)).notes == ()
    found = check(kaggle(tmp_path / "wrong", 0, inside))
    assert found.problems == ()
    assert found.notes == (f"cells that lie one pixel too far left: on 4 images; {COUNTED_FROM_0}",)


def square_polygons(folder: Path, change) -> str:
    """Four scenes of 64 x 64 pixels as polygons, change(points)."""
    (folder / "i").mkdir()
    tables: dict = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "cell"}]}
    for number in range(4):
        image, labels = (pixels[:, :64] for pixels in scene(number))
        cv2.imwrite(str(folder / "i" / f"x{number}.png"), image)
        tables["images"].append({"id": number, "file_name": f"x{number}.png", "height": 64, "width": 64})
        for value in np.unique(labels[labels > 0]):
            outline = cv2.findContours((labels == value).astype(np.uint8), 0, 1)[0][0].reshape(-1, 2) + 0.5
            if len(outline) > 2:
                shape = [change(outline).ravel().tolist()]
                tables["annotations"].append({"image_id": number, "category_id": 1, "segmentation": shape})
    (folder / "a.json").write_text(json.dumps(tables))
    return f"coco:{folder / 'a.json'},{folder / 'i'}"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda points: points[:, ::-1], "with x and y exchanged"),
        (lambda points: points * (1, -1) + (0, 64), "upside down"),
        (lambda points: points * (-1, 1) + (64, 0), "mirrored"),
        (lambda points: points[:, ::-1] * (-1, 1) + (64, 0), "turned by 90 degrees to the left"),
    ],
)
def test_masks_that_fit_a_turned_picture_are_told_with_image_and_cause(tmp_path: Path, change, words: str) -> None:
    (problem,) = check(square_polygons(tmp_path, change)).problems
    assert problem.startswith(f"x0: the cells fit the picture {words}, and not as they are (so too on 3 more images")
    assert "is the order of coordinates y, x" in problem


def test_masks_that_fit_their_square_pictures_are_not_doubted(tmp_path: Path) -> None:
    found = check(square_polygons(tmp_path, lambda points: points))
    assert not found.problems + found.notes


def test_labels_saved_under_the_name_of_another_image_are_told_with_that_image(tmp_path: Path) -> None:
    source = write(tmp_path, lambda image, labels: labels, tuple(range(8)))
    for number, other in ((2, 5), (5, 2)):
        cv2.imwrite(str(tmp_path / "l" / f"x{number}.png"), scene(other)[1])
    (problem,) = check(source).problems
    assert problem.startswith("x2: the cells fit the image x5 and not this one (so too on 1 more image of 8)")


def test_labels_of_other_pictures_are_a_note(tmp_path: Path) -> None:
    source = write(tmp_path, lambda image, labels: labels)
    for number in range(4):
        cv2.imwrite(str(tmp_path / "l" / f"x{number}.png"), scene(number + 50)[1])
    found = check(source)
    assert found.problems == ()
    (note,) = found.notes
    assert "the cells fit their pictures no better than if they lay elsewhere on them: 4 images (x0 for one)" in note
    assert "do the labels belong to other images" in note


def saved_anew(image: NDArray, kind: str) -> NDArray:
    if kind == "half the size":
        return cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    if kind == "in colour":
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    if kind == "brighter":
        return cv2.convertScaleAbs(image, alpha=1.1, beta=10)
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 50])[1], cv2.IMREAD_UNCHANGED)


@pytest.mark.parametrize("kind", ["with loss", "half the size", "brighter"])
def test_the_same_picture_saved_anew_stays_on_one_side_of_a_split(tmp_path: Path, kind: str) -> None:
    source = write(tmp_path, lambda image, labels: labels, (0, 0, 1, 1, 2, 2, 3, 3, 4, 4))
    for number in range(0, 10, 2):
        image, labels = scene(number // 2)
        changed = saved_anew(image, kind)
        cv2.imwrite(str(tmp_path / "i" / f"x{number}.png"), changed)
        labels = cv2.resize(labels, changed.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(tmp_path / "l" / f"x{number}.png"), labels)
    dataset = load(source)
    (note,) = dataset.notes
    assert note.startswith(
        "images that show the same picture as another one, saved anew, kept on one side of a split: 5"
    )
    assert "(x0 and x1 for one)" in note
    splits = split(dataset, calibration=0.2, validation=0.2)
    for part in (splits.train, splits.calibration, splits.validation):
        assert len(part) == 2 * len({int(name[1:]) // 2 for name in part})


def test_a_grey_picture_saved_in_colour_has_the_same_pixels(tmp_path: Path) -> None:
    source = write(tmp_path, lambda image, labels: labels, (0, 0, 1, 2))
    cv2.imwrite(str(tmp_path / "i" / "x0.png"), saved_anew(scene(0)[0], "in colour"))
    (note,) = load(source).notes
    assert note.startswith("images with the same pixels as another one")


def test_many_pictures_are_compared_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(same_pictures, "BLOCK", 4)
    images = [scene(k)[0] for k in range(9)]
    images += [saved_anew(images[1], "with loss"), saved_anew(images[8], "with loss"), images[8]]
    pictures = [same_pictures.picture_of(image) for image in images]
    found = same_pictures.alike_pictures([str(k) for k in range(12)], pictures)
    assert found == [["1", "9"], ["8", "10"]]


def test_pictures_under_one_uneven_lamp_are_not_the_same(tmp_path: Path) -> None:
    light = 60 + 100 * np.linspace(0, 1, 80)[None] * np.linspace(0, 1, 64)[:, None]
    pictures = [
        same_pictures.picture_of((light + np.random.default_rng(k).normal(0, 3, (64, 80))).astype(np.uint8))
        for k in range(6)
    ]
    assert same_pictures.alike_pictures([str(k) for k in range(6)], pictures) == []


def test_frames_of_one_film_can_be_split(tmp_path: Path) -> None:
    source = write(tmp_path, lambda image, labels: labels, (0,) * 6)
    for number in range(6):
        frame = scene(0)[0].astype(int) + np.random.default_rng(number).integers(-3, 4, (64, 80))
        cv2.imwrite(str(tmp_path / "i" / f"x{number}.png"), frame.clip(0, 255).astype(np.uint8))
    dataset = load(source)
    (note,) = dataset.notes
    assert "nearly all do, as frames of a film, so that a split may part them: 5 (x0 and x1 for one)" in note
    assert set(dataset.groups) == {None}
    assert len(split(dataset, calibration=0.2, validation=0.2).train) == 4
