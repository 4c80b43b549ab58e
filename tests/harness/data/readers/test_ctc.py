from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from harness.data.sources import check, load
from harness.errors import HarnessError

FRAME = np.arange(10 * 12, dtype=np.uint8).reshape(10, 12)
GOLD, SILVER = np.zeros((10, 12), np.uint16), np.zeros((10, 12), np.uint16)
GOLD[1:4, 1:5] = 7
SILVER[6:9, 2:9] = 9


def write(folder: Path, sequence: str = "01", frames: int = 3, **truths: list[int]) -> str:
    """frames t000.tif on; truths: numbers of the frames with a segmentation, by GT and ST."""
    (folder / sequence).mkdir(parents=True)
    for number in range(frames):
        frame = np.random.default_rng([int(sequence), number]).integers(0, 256, GOLD.shape, np.uint8)
        tifffile.imwrite(folder / sequence / f"t{number:03}.tif", frame)
    for truth, numbers in truths.items():
        (folder / f"{sequence}_{truth}" / "SEG").mkdir(parents=True)
        for number in numbers:
            labels = GOLD if truth == "GT" else SILVER
            tifffile.imwrite(folder / f"{sequence}_{truth}" / "SEG" / f"man_seg{number:03}.tif", labels)
    return f"ctc:{folder}"


def test_gold_goes_before_silver_and_frames_without_either_are_unlabelled(tmp_path: Path) -> None:
    dataset = load(write(tmp_path, GT=[0], ST=[0, 2]))
    assert dataset.ids == ("01/t000", "01/t002")
    assert [sample.instances.boxes.tolist() for sample in dataset] == [[[1, 1, 5, 4]], [[2, 6, 9, 9]]]
    assert [path.name for path in dataset.unlabelled] == ["t001.tif"]
    assert dataset.notes == (
        "no segmentation, taken as unlabelled: 1 frames",
        "no gold segmentation, the silver one taken: 1 frames",
    )


def test_a_sequence_is_a_group(tmp_path: Path) -> None:
    write(tmp_path, "01", GT=[0, 1])
    dataset = load(write(tmp_path, "02", frames=1, ST=[0]), cache=False)
    assert dataset.groups == ("01", "01", "02")


def test_frames_of_four_digits(tmp_path: Path) -> None:
    source = write(tmp_path, frames=1, GT=[0])
    (tmp_path / "01" / "t000.tif").rename(tmp_path / "01" / "t0000.tif")
    (tmp_path / "01_GT" / "SEG" / "man_seg000.tif").rename(tmp_path / "01_GT" / "SEG" / "man_seg0000.tif")
    assert load(source).ids == ("01/t0000",)


def test_slices_of_3d_sequences_are_refused_in_one_line(tmp_path: Path) -> None:
    source = write(tmp_path, GT=[0])
    tifffile.imwrite(tmp_path / "01_GT" / "SEG" / "man_seg_000_012.tif", GOLD)
    assert check(source).problems == (
        "01: 01_GT/SEG/man_seg_000_012.tif is a slice of a 3D sequence; only 2D ones are read",
    )


def test_stacks_are_refused_in_one_line(tmp_path: Path) -> None:
    source = write(tmp_path, frames=3, GT=[0, 1, 2])
    for number in range(3):
        tifffile.imwrite(tmp_path / "01" / f"t{number:03}.tif", np.stack([FRAME] * 5), photometric="minisblack")
    assert check(source).problems == ("01: a 3D sequence, 5 slices a frame; only 2D ones are read",)


def test_files_that_fit_nowhere_are_told(tmp_path: Path) -> None:
    source = write(tmp_path, GT=[0, 5])
    tifffile.imwrite(tmp_path / "01" / "frame.tif", FRAME)
    tifffile.imwrite(tmp_path / "01_GT" / "SEG" / "mask.tif", GOLD)
    assert set(check(source).problems) == {
        "01/frame.tif: not named tNNN.tif",
        "01_GT/SEG/mask.tif: not named man_segNNN.tif",
        "01_GT/SEG/man_seg005.tif: there is no such frame",
    }
    assert load(source, skip_bad=True).ids == ("01/t000",)


def test_a_folder_without_sequences_is_told(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="holds no sequence, no folder 01; write ctc:DIR"):
        load(f"ctc:{tmp_path}")
