from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco

from harness.errors import HarnessError
from harness.masks.run_lengths import MAX_COVER, counts_of_text, masks_of_counts, masks_of_pairs
from tests.harness.data.conftest import pairs_text

planes = hnp.arrays(
    np.uint8, st.tuples(st.integers(0, 6), st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 1)
)


def dense_runs(plane: np.ndarray) -> list[int]:
    """COCO's uncompressed run lengths, pixel by pixel down the columns."""
    runs, value = [0], 0
    for pixel in plane.T.ravel().tolist():
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    return runs


@given(planes)
def test_pairs_become_the_planes_they_were_written_from(stack: np.ndarray) -> None:
    full = [plane for plane in stack if plane.any()]
    masks, faults = masks_of_pairs([pairs_text(plane) for plane in full], *stack.shape[1:])
    assert not faults
    assert np.array_equal(masks.planes(*stack.shape[1:]), np.asarray(full).reshape(-1, *stack.shape[1:]))
    assert np.array_equal(masks.boxes, masks.tight()[0].boxes)


@given(planes)
def test_counts_become_the_planes_they_were_written_from(stack: np.ndarray) -> None:
    height, width = stack.shape[1:]
    masks, faults = masks_of_counts({i: np.asarray(dense_runs(p)) for i, p in enumerate(stack)}, height, width)
    empty = [i for i, plane in enumerate(stack) if not plane.any()]
    assert sorted(faults) == empty
    assert np.array_equal(masks.planes(height, width), np.delete(stack, empty, axis=0))


@given(planes)
def test_text_of_pycocotools_is_read(stack: np.ndarray) -> None:
    for plane in stack:
        text = coco.encode(np.asfortranarray(plane))["counts"].decode()
        assert counts_of_text(text, *plane.shape).tolist() == dense_runs(plane)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty mask"),
        ("  ", "empty mask"),
        ("1 2 3", "odd number"),
        ("1 2 x 3", "other than digits"),
        ("1 -2", "other than digits"),
        ("１ 2", "other than digits"),
        ("0 3", "outside"),
        ("119 3", "outside"),
        ("1 99999999999999999999999", "outside"),
        ("99999999999999999999999 1", "outside"),
        ("5 0", "not positive"),
        ("9 2 3 1", "not sorted"),
        ("3 4 5 1", "overlap"),
        ("3 1 3 1", "overlap"),
    ],
)
def test_a_faulty_text_is_reported_and_the_others_are_kept(text: str, words: str) -> None:
    masks, faults = masks_of_pairs(["1 2", text, "13 12"], 10, 12)
    assert list(faults) == [1]
    assert words in faults[1]
    assert masks.boxes.tolist() == [[0, 0, 2, 1], [0, 1, 12, 2]]


@pytest.mark.parametrize("text", ["5  2", " 5 2", "5 2 ", "  5   2  "])
def test_spaces_do_not_count(text: str) -> None:
    masks, faults = masks_of_pairs(["1 2", text, "13 12"], 10, 12)
    assert not faults
    assert masks.boxes.tolist() == [[0, 0, 2, 1], [4, 0, 6, 1], [0, 1, 12, 2]]


def test_a_run_goes_on_in_the_next_row() -> None:
    masks, _ = masks_of_pairs(["11 16"], 10, 12)
    assert masks.boxes.tolist() == [[0, 0, 12, 3]]
    assert masks.areas().tolist() == [16]


def test_boxes_out_of_proportion_are_refused() -> None:
    corners = "1 1 10000 1"
    assert len(masks_of_pairs([corners] * MAX_COVER, 100, 100)[0]) == MAX_COVER
    with pytest.raises(HarnessError, match="hold more than 2,560,000 pixels"):
        masks_of_pairs([corners] * (MAX_COVER + 1), 100, 100)


def test_a_short_text_cannot_claim_a_huge_run() -> None:
    with pytest.raises(HarnessError, match="a run of 1000000000 pixels"):
        counts_of_text(
            coco.frPyObjects([{"size": [40000, 50000], "counts": [10**9, 10**9]}], 40000, 50000)[0]["counts"].decode(),
            10,
            12,
        )


def test_counts_beyond_the_image_are_reported() -> None:
    _, faults = masks_of_counts({3: np.asarray([100, 21])}, 10, 12)
    assert "cover 121 pixels" in faults[3]
