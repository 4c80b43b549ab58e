"""Kaggle's file: what is written reads back, and the checker finds every way to break its rules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from harness.contract import Predictions
from harness.errors import HarnessError
from harness.inference.formats.check_submission import check_submission
from harness.inference.formats.submission import Submission, run_length_pairs
from harness.inference.formats.writer import PredictedImage
from harness.masks.crops import CropMasks
from harness.masks.run_lengths import masks_of_pairs

SIZES = {"a": (3, 4), "b": (3, 4)}


def planes(*pixels: list[tuple[int, int]], size: tuple[int, int] = (3, 4)) -> CropMasks:
    dense = np.zeros((len(pixels), *size), np.uint8)
    for plane, mine in zip(dense, pixels, strict=True):
        for place in mine:
            plane[place] = 1
    return CropMasks.from_planes(dense)


def predicted(image_id: str, masks: CropMasks, size: tuple[int, int] = (3, 4)) -> PredictedImage:
    scores = np.linspace(1, 0.5, len(masks), dtype=np.float32)
    found = Predictions(size, masks, scores, np.zeros(len(masks), np.int64))
    return PredictedImage(image_id, f"{image_id}.png", np.zeros(size, np.uint8), found)


def problems(tmp_path: Path, *rows: str, header: str = "id,predicted") -> list[str]:
    path = tmp_path / "submission.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return check_submission(path, SIZES)


def test_rows_first_and_pixels_from_one() -> None:
    assert run_length_pairs(planes([(0, 1), (0, 2), (2, 0)]), 4) == ["2 2 9 1"]


def test_a_run_goes_on_in_the_next_row() -> None:
    assert run_length_pairs(planes([(0, 3), (1, 0)], [(1, 1), (2, 3)]), 4) == ["4 2", "6 1 12 1"]
    assert run_length_pairs(CropMasks.empty(), 4) == []


@settings(deadline=None)
@given(
    arrays.arrays(
        np.bool_, st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(1, 9)), fill=st.booleans()
    ).filter(lambda dense: dense.any(axis=(1, 2)).all())
)
def test_masks_read_back(dense: np.ndarray) -> None:
    """Overlapping masks too: the text of a mask does not depend on others."""
    height, width = dense.shape[1:]
    texts = run_length_pairs(CropMasks.from_planes(dense), width)
    masks, faults = masks_of_pairs(texts, height, width)
    assert faults == {}
    assert np.array_equal(masks.planes(height, width), dense)


@settings(deadline=None)
@given(arrays.arrays(np.int64, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 4)))
def test_what_is_written_passes_the_check(tmp_path_factory: pytest.TempPathFactory, labels: np.ndarray) -> None:
    masks, _ = CropMasks.from_label_image(labels)
    path = tmp_path_factory.getbasetemp() / "written.csv"
    writer = Submission(path)
    writer.add(predicted("a, with a comma", masks, labels.shape))
    writer.add(predicted("none", CropMasks.empty()))
    assert writer.finish() == path
    sizes = {"a, with a comma": labels.shape, "none": (3, 4)}
    assert check_submission(path, sizes) == []
    assert len(path.read_text("utf-8").splitlines()) == 1 + max(len(masks), 1) + 1


def test_a_mask_of_more_characters_than_a_csv_field_may_have(tmp_path: Path) -> None:
    dots = np.zeros((300, 300), np.uint8)
    dots[::2, ::2] = 1
    writer = Submission(tmp_path / "s.csv")
    writer.add(predicted("a", CropMasks.from_planes(dots[None]), (300, 300)))
    assert check_submission(writer.finish(), {"a": (300, 300)}) == []
    assert (tmp_path / "s.csv").stat().st_size > 2**17


def test_a_good_file_in_any_order(tmp_path: Path) -> None:
    assert problems(tmp_path, "b,1 2", "a,", "b,3 2 9 4") == []


def test_a_byte_order_mark_and_blank_lines_are_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text("\ufeffid,predicted\na,1 2\nb,\n\n", encoding="utf-8")
    assert check_submission(path, SIZES) == []


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (("a,1 2", "b,", "b,5 1"), ["row 3: image b: an empty prediction beside other rows of the image; it must st"]),
        (("a,", "a,", "b,"), ["row 2: image a: an empty", "row 3: image a: an empty"]),
        (("a,1 3", "a,3 2 9 1", "b,"), ["row 3: image a: 1 of its pixels belong to a mask before it, that of row 2"]),
        (("a,1 2", "a,1 2", "b,"), ["row 3: image a: 2 of its pixels belong to a mask before it, that of row 2"]),
        (("a,1 2 3", "b,"), ["row 2: image a: an odd number of run lengths: 3"]),
        (("a,0 2", "b,"), ["row 2: image a: a run begins at pixel 0, outside the image: run lengths count from 1"]),
        (("a,12 2", "b,"), ["row 2: image a: a run of pixels"]),
        (("a,5 0", "b,"), ["row 2: image a: a run length is not positive"]),
        (("a,5 1 1 1", "b,"), ["row 2: image a: runs are not sorted"]),
        (("a,1 3 3 1", "b,"), ["row 2: image a: runs overlap"]),
        (("a,1.0 2", "b,"), ["row 2: image a: run lengths hold something other than digits and spaces"]),
        (("a,1 2", "bb,1 2"), ["row 3: no image has the id 'bb'", "no row for image b; one without cells needs 'b,'"]),
        (("a,1 2,3", "b,"), ["row 2: 3 fields", "no row for image a"]),
        (("a", "b,"), ["row 2: 1 fields", "no row for image a"]),
        (("",), ["no row for image a", "no row for image b"]),
    ],
)
def test_each_broken_rule_is_named(tmp_path: Path, rows: tuple[str, ...], found: list[str]) -> None:
    lines = problems(tmp_path, *rows)
    assert len(lines) == len(found), lines
    assert all(line.startswith(start) for line, start in zip(lines, found, strict=True)), lines


def test_the_header_and_the_file_itself(tmp_path: Path) -> None:
    assert problems(tmp_path, "a,1 2", header="id,annotation") == [
        "row 1: the columns are 'id,annotation'; they must be 'id,predicted'"
    ]
    with pytest.raises(HarnessError, match="cannot be read: No such file"):
        check_submission(tmp_path / "none.csv", SIZES)
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(HarnessError, match="an empty file"):
        check_submission(tmp_path / "empty.csv", SIZES)
    (tmp_path / "binary.csv").write_bytes(b"id,predicted\n\xff\xfe\x00")
    with pytest.raises(HarnessError, match="not a CSV file"):
        check_submission(tmp_path / "binary.csv", SIZES)


def test_real_annotations_without_overlaps_pass(real_data: Path, tmp_path: Path) -> None:
    from harness.data.sources import load
    from harness.evaluation.overlap import remove_overlaps

    dataset = load(f"sartorius:{real_data / 'sartorius'}", skip_bad=True)
    writer, sizes, raw = Submission(tmp_path / "s.csv"), {}, Submission(tmp_path / "raw.csv")
    for i in range(min(3, len(dataset))):
        sample = dataset[i]
        masks = sample.instances.masks
        assert masks is not None
        found = predicted(sample.image_id, masks, sample.size).predictions
        writer.add(PredictedImage(sample.image_id, "", sample.image, remove_overlaps(found)))
        raw.add(PredictedImage(sample.image_id, "", sample.image, found))
        sizes[sample.image_id] = sample.size
    assert check_submission(writer.finish(), sizes) == []
    overlapping = check_submission(raw.finish(), sizes)
    assert all("belong to a mask before it" in line for line in overlapping)
