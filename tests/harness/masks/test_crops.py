"""Cropped masks do what dense planes do."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness.masks.crops import CropMasks, flip_boxes

planes = hnp.arrays(
    np.uint8, st.tuples(st.integers(0, 6), st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 1)
)


def whole(stack: np.ndarray) -> CropMasks:
    """Masks whose boxes are the image."""
    _, height, width = stack.shape
    return CropMasks.from_crops([(0, 0, width, height)] * len(stack), list(stack))


@given(planes, st.booleans(), st.booleans())
def test_mirrored(stack: np.ndarray, horizontal: bool, vertical: bool) -> None:
    masks, _ = whole(stack).tight()
    _, height, width = stack.shape
    mirrored = masks.flip(height, width, horizontal, vertical)
    full = stack[stack.any(axis=(1, 2))]
    expected = full[:, :: -1 if vertical else 1, :: -1 if horizontal else 1]
    np.testing.assert_array_equal(mirrored.planes(height, width), expected)
    np.testing.assert_array_equal(mirrored.boxes, mirrored.tight()[0].boxes)
    np.testing.assert_array_equal(mirrored.boxes, flip_boxes(masks.boxes, height, width, horizontal, vertical))


@given(planes, st.data())
def test_cut(stack: np.ndarray, data: st.DataObject) -> None:
    _, height, width = stack.shape
    masks = whole(stack)
    index = np.array(data.draw(st.lists(st.integers(0, len(stack) - 1), max_size=5)) if len(stack) else [], np.int64)
    edges = [
        (sorted(data.draw(st.lists(st.integers(0, n), min_size=2, max_size=2, unique=True)))) for n in (width, height)
    ]
    (x0, x1), (y0, y1) = edges
    cut = masks.crop_to(index, np.tile(np.array([x0, y0, x1, y1], np.int32), (len(index), 1)))
    expected = np.zeros((len(index), height, width), np.uint8)
    expected[:, y0:y1, x0:x1] = stack[index, y0:y1, x0:x1]
    np.testing.assert_array_equal(cut.planes(height, width), expected)
    assert cut.offsets[-1] == len(cut.pixels) == len(index) * (x1 - x0) * (y1 - y0)


@given(planes, st.data())
def test_tight(stack: np.ndarray, data: st.DataObject) -> None:
    _, height, width = stack.shape
    masks = whole(stack)
    concerned = np.array(data.draw(st.lists(st.booleans(), min_size=len(stack), max_size=len(stack))), np.bool_)
    tight, kept = masks.tight(np.flatnonzero(concerned))
    np.testing.assert_array_equal(kept, np.flatnonzero(~concerned | stack.any(axis=(1, 2))))
    np.testing.assert_array_equal(tight.planes(height, width), stack[kept])
    for box, plane, shrunk in zip(tight.boxes.tolist(), stack[kept], concerned[kept], strict=True):
        if not shrunk:
            assert box == [0, 0, width, height]
            continue
        y, x = np.nonzero(plane)
        assert box == [x.min(), y.min(), x.max() + 1, y.max() + 1]
    every, all_kept = masks.tight()
    np.testing.assert_array_equal(all_kept, np.flatnonzero(stack.any(axis=(1, 2))))
    np.testing.assert_array_equal(every.planes(height, width), stack[all_kept])


LABELS = st.sampled_from([np.uint8, np.uint16, np.int32, np.uint32, np.int64]).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12))
)


@given(LABELS)
def test_each_value_of_a_label_image_is_a_mask(labels: np.ndarray) -> None:
    """Also values that are negative, or larger than a list of all numbers up to them could be."""
    masks, values = CropMasks.from_label_image(labels)
    assert values.tolist() == sorted(set(labels.ravel().tolist()) - {0})
    planes = masks.planes(*labels.shape)
    for value, plane, box in zip(values.tolist(), planes, masks.boxes.tolist(), strict=True):
        np.testing.assert_array_equal(plane != 0, labels == value)
        y, x = np.nonzero(labels == value)
        assert box == [x.min(), y.min(), x.max() + 1, y.max() + 1]
