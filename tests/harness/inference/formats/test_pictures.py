"""Label images and overlays of small cases."""

from __future__ import annotations

import numpy as np

from harness.contract import Predictions
from harness.inference.formats.label_images import label_image
from harness.inference.formats.overlays import COLOURS, outlined
from harness.masks.crops import CropMasks


def squares(labels: list[int]) -> Predictions:
    """Two 4x4 squares that touch, in a 6x10 image."""
    dense = np.zeros((2, 6, 10), np.uint8)
    dense[0, 1:5, 1:5], dense[1, 1:5, 5:9] = 1, 1
    return Predictions((6, 10), CropMasks.from_planes(dense), np.ones(2, np.float32), np.asarray(labels))


def test_labels_are_numbered_in_order() -> None:
    labels = label_image(squares([0, 1]))
    assert labels.dtype == np.uint16
    assert (labels[2, 2], labels[2, 6], labels[0, 0]) == (1, 2, 0)
    assert np.bincount(labels.ravel()).tolist() == [28, 16, 16]


def test_more_cells_than_16_bits_hold() -> None:
    n = 2**16
    x, y = np.arange(n) % 256, np.arange(n) // 256
    boxes = np.stack([x, y, x + 1, y + 1], axis=1).astype(np.int32)
    masks = CropMasks(boxes, np.ones(n, np.uint8), np.arange(n + 1))
    labels = label_image(Predictions((256, 256), masks, np.ones(n, np.float32), np.zeros(n, np.int64)))
    assert labels.dtype == np.uint32
    assert labels[-1, -1] == n
    fewer = Predictions((256, 256), masks.select(np.arange(n - 1)), np.ones(n - 1, np.float32), np.zeros(n - 1, int))
    assert label_image(fewer).dtype == np.uint16
    assert label_image(fewer).max() == n - 1


def test_outlines_take_the_outermost_pixels_and_the_colour_of_the_class() -> None:
    image = np.full((6, 10), 77, np.uint8)
    picture = outlined(image, squares([0, 1]))
    assert picture.shape == (6, 10, 3)
    assert (image == 77).all()
    edge = np.zeros((6, 10), bool)
    edge[1:5, 1:9] = True
    edge[2:4, 2:4] = edge[2:4, 6:8] = False
    assert (picture[~edge] == 77).all()
    assert (picture[edge][:, None] == COLOURS[:2]).all(axis=2).any(axis=1).all()
    assert (picture[1, 1] == COLOURS[0]).all()
    assert (picture[1, 5] == COLOURS[1]).all()


def test_classes_beyond_the_colours_and_images_in_colour() -> None:
    image = np.zeros((6, 10, 3), np.uint8)
    picture = outlined(image, squares([len(COLOURS), len(COLOURS) + 1]))
    assert (picture[1, 1] == COLOURS[0]).all()
    assert not image.any()
