"""The same picture twice, also saved anew, stays on one side of a split."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from label_scenes import scene, write
from numpy.typing import NDArray

from harness.data.doubts import same_pictures
from harness.data.doubts.same_pictures import joined_groups
from harness.data.sources import load
from harness.data.splits import split


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


def test_versions_that_roboflow_makes_of_a_picture_stay_on_one_side_of_a_split(tmp_path: Path) -> None:
    source = write(tmp_path, lambda image, labels: labels, tuple(range(12)))
    for folder in ("i", "l"):
        for k in range(12):
            path = tmp_path / folder / f"x{k}.png"
            path.rename(path.with_name(f"well{k // 3}_png.rf.{k:032x}.png"))
    dataset = load(source)
    assert "images that Roboflow made of one picture, kept on one side of a split: 12" in dataset.notes
    splits = split(dataset, calibration=0.25, validation=0.25)
    for part in (splits.train, splits.calibration, splits.validation):
        assert len(part) == 3 * len({name.partition("_")[0] for name in part})
