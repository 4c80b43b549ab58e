from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco

from harness.errors import HarnessError
from harness.masks import rle
from harness.masks.crops import CropMasks
from harness.masks.rle import decode_counts, from_rle, to_rle, transpose

planes = hnp.arrays(
    np.uint8, st.tuples(st.integers(0, 6), st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 1)
)


def text_of(plane: np.ndarray) -> str:
    """What pycocotools writes."""
    return coco.encode(np.asfortranarray(plane))["counts"].decode()


def whole_boxes(stack: np.ndarray) -> CropMasks:
    """Masks whose boxes are the whole image, so that runs continue from column to column."""
    n, height, width = stack.shape
    return CropMasks.from_crops([(0, 0, width, height)] * n, list(stack))


@given(planes)
def test_text_is_that_of_pycocotools(stack: np.ndarray) -> None:
    size = stack.shape[1:]
    assert to_rle(whole_boxes(stack), *size) == [text_of(plane) for plane in stack]
    full = stack[stack.any(axis=(1, 2))]
    assert to_rle(CropMasks.from_planes(full), *size) == [text_of(plane) for plane in full]


@given(planes)
def test_text_of_pycocotools_becomes_tight_masks(stack: np.ndarray) -> None:
    full = stack[stack.any(axis=(1, 2))]
    masks = from_rle([text_of(plane) for plane in full], *stack.shape[1:])
    assert np.array_equal(masks.planes(*stack.shape[1:]), full)
    assert np.array_equal(masks.boxes, masks.tight()[0].boxes)


@given(st.integers(0, 2**32 - 1))
def test_large_sparse_images(seed: int) -> None:
    """Long runs, which take many characters, and differences of either sign."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(200, 900, 2).tolist()
    stack = np.zeros((4, height, width), np.uint8)
    for plane in stack:
        for _ in range(int(rng.integers(1, 5))):
            y, x = int(rng.integers(height)), int(rng.integers(width))
            plane[y : y + int(rng.integers(1, height)), x : x + int(rng.integers(1, 30))] = 1
    texts = to_rle(CropMasks.from_planes(stack), height, width)
    assert texts == [text_of(plane) for plane in stack]
    assert np.array_equal(from_rle(texts, height, width).planes(height, width), stack)


@given(st.lists(st.text(st.characters(min_codepoint=40, max_codepoint=125), max_size=30), max_size=4))
def test_any_text_is_read_or_refused(texts: list[str]) -> None:
    try:
        masks = from_rle(texts, 30, 40)
    except HarnessError:
        return
    assert len(masks) == len(texts)
    assert (masks.areas() > 0).all()
    assert masks.boxes[:, 2].max(initial=0) <= 40
    assert masks.boxes[:, 3].max(initial=0) <= 30
    # the same mask is encoded canonically, so the text may be shorter
    assert np.array_equal(from_rle(to_rle(masks, 30, 40), 30, 40).pixels, masks.pixels)


GOOD = text_of(np.eye(30, 40, dtype=np.uint8))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not compressed"),
        ("\x01", "not compressed"),
        ("~", "not compressed"),
        ("é", "not compressed"),
        ("\udc80", "not compressed"),
        ("1o", "break off"),
        ("o" * 12 + "1", "too long"),
        ("1" + "O" * 5, "a negative run length"),
        (text_of(np.zeros((30, 40), np.uint8)), "1 hold no pixel"),
        (text_of(np.ones((31, 40), np.uint8)), "1 cover more pixels"),
        ("oooooooooo7" * 8, "1 cover more pixels"),
    ],
)
def test_the_faulty_text_is_named(text: str, words: str) -> None:
    with pytest.raises(HarnessError, match=words):
        from_rle([GOOD, text, GOOD], 30, 40)


def test_a_short_text_cannot_claim_much_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    corners = np.zeros((30, 40), np.uint8)
    corners[0, 0] = corners[-1, -1] = 1
    assert len(from_rle([text_of(corners)] * 3, 30, 40)) == 3
    monkeypatch.setattr(rle, "BOX_LIMIT", 2 * 30 * 40)
    with pytest.raises(HarnessError, match="more than 2,400 pixels"):
        from_rle([text_of(corners)] * 3, 30, 40)


def test_no_masks() -> None:
    assert to_rle(CropMasks.empty(), 5, 6) == []
    assert len(from_rle([], 5, 6)) == 0
    assert len(transpose(CropMasks.empty())) == 0


@given(planes)
def test_turned_twice_is_the_same(stack: np.ndarray) -> None:
    masks = whole_boxes(stack)
    other = transpose(masks)
    height, width = stack.shape[1:]
    assert np.array_equal(other.planes(width, height), stack.transpose(0, 2, 1))
    assert np.array_equal(transpose(other).pixels, masks.pixels)


def test_counts_of_one_mask() -> None:
    plane = np.zeros((4, 3), np.uint8)
    plane[1:3, 1] = 1
    assert decode_counts(text_of(plane)).tolist() == [5, 2, 5]
