from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from harness.data.sources import check, load

MASKS = np.zeros((10, 12), np.uint16)
MASKS[1:4, 1:5] = 1
MASKS[6:9, 2:9] = 2
MASKS[7, 4] = 0


def write(folder: Path, **saved: Any) -> str:
    """x.png and y.png; x_seg.npy as cellpose's GUI saves it. y_seg.npy is a good one, so that something is left."""
    for name in ("x", "y"):
        cv2.imwrite(str(folder / f"{name}.png"), np.arange(120, dtype=np.uint8).reshape(10, 12) + (name == "y"))
        whole = {"masks": MASKS, "outlines": MASKS * 0, "colors": np.zeros((2, 3)), "chan_choose": [0, 0]}
        whole |= {"filename": str(folder / f"{name}.png"), "ismanual": np.zeros(2, np.bool_), "flows": [[], None]}
        np.save(folder / f"{name}_seg.npy", whole | (saved if name == "x" else {}), allow_pickle=True)
    return f"cellpose:{folder}"


def test_masks_are_read_with_their_holes(tmp_path: Path) -> None:
    sample = load(write(tmp_path))[0]
    assert sample.instances.boxes.tolist() == [[1, 1, 5, 4], [2, 6, 9, 9]]
    assert sample.instances.masks is not None
    assert sample.instances.masks.areas().tolist() == [12, 20]


def test_images_without_a_file_are_unlabelled_and_exported_masks_are_no_images(tmp_path: Path) -> None:
    source = write(tmp_path)
    for name in ("z.png", "x_cp_masks.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((10, 12), np.uint8))
    dataset = load(source)
    assert dataset.ids == ("x", "y")
    assert [path.name for path in dataset.unlabelled] == ["z.png"]


@pytest.mark.parametrize("masks", [MASKS[None], np.asfortranarray(MASKS), MASKS.astype(">i4"), MASKS.astype("f4")])
def test_masks_of_every_layout_are_the_same(tmp_path: Path, masks: Any) -> None:
    assert load(write(tmp_path, masks=masks))[0].instances.boxes.tolist() == [[1, 1, 5, 4], [2, 6, 9, 9]]


@pytest.mark.parametrize(
    ("saved", "words"),
    [
        ({"masks": np.stack([MASKS, MASKS])}, "masks of a stack"),
        ({"masks": MASKS[:, :-1]}, "its masks are 10x11 (height x width), the image is 10x12"),
        ({"masks": MASKS / 2}, "whole numbers"),
        ({"masks": None}, 'no dict with an array "masks"'),
        ({"masks": [[1, 2]]}, 'no dict with an array "masks"'),
        ({"masks": MASKS.astype(object)}, "an array of something other than numbers"),
    ],
)
def test_each_fault_is_one_line_with_its_file(tmp_path: Path, saved: dict[str, Any], words: str) -> None:
    source = write(tmp_path, **saved)
    (problem,) = check(source).problems
    assert problem.startswith("x_seg.npy: ")
    assert words in problem
    assert load(source, skip_bad=True).ids == ("y",)


def test_a_file_that_runs_something_is_refused_and_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "made"),)

    source = write(tmp_path, extra=Evil())
    (problem,) = check(source).problems
    assert "mkdir, which no saved array needs: it is not loaded" in problem
    assert not (tmp_path / "made").exists()
    # the same would have been run by numpy
    np.load(tmp_path / "x_seg.npy", allow_pickle=True)
    assert (tmp_path / "made").exists()


def test_a_bare_pickle_is_refused(tmp_path: Path) -> None:
    source = write(tmp_path)
    (tmp_path / "x_seg.npy").write_bytes(pickle.dumps({"masks": MASKS}))
    assert "not an .npy file" in check(source).problems[0]
