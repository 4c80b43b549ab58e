from __future__ import annotations

import numpy as np
import pytest

from harness.contract import Task
from harness.transforms.grey import grey_stack, to_grey


@pytest.fixture
def task() -> Task:
    return Task(
        classes=("cell",), pixel_mean=(90.0, 100.0, 110.0), pixel_std=(20.0, 20.0, 20.0), crop=64, max_cells=1,
        max_size=(9, 9), seed=0, device="cpu",
    )  # fmt: skip


def test_colour_becomes_the_mean_of_its_channels() -> None:
    image = np.zeros((2, 3, 3), np.uint8)
    image[..., 1] = 30
    assert to_grey(image).tolist() == [[10.0] * 3] * 2
    assert to_grey(image[..., 1]).tolist() == [[30.0] * 3] * 2


def test_images_of_any_size_are_normalised_with_room_at_the_right_and_below(task: Task) -> None:
    images = [np.full((5, 9), 120, np.uint8), np.full((3, 4, 3), 80, np.uint8)]
    stack = grey_stack(images, task, multiple=8)
    assert (stack.shape, stack.dtype) == ((2, 1, 8, 16), np.float32)
    assert np.unique(stack[0, 0, :5, :9]).tolist() == [1.0]
    assert np.unique(stack[1, 0, :3, :4]).tolist() == [-1.0]
    assert stack[0].sum() == 45
    assert stack[1].sum() == -12


def test_without_a_multiple_the_largest_image_sets_the_size(task: Task) -> None:
    assert grey_stack([np.zeros((5, 9), np.uint8), np.zeros((7, 2), np.uint8)], task).shape == (2, 1, 7, 9)
