"""The strong view shows the same places with other pixels."""

from __future__ import annotations

import numpy as np
import pytest

from methods.mean_teacher.views import strong_view


@pytest.mark.parametrize("shape", [(40, 50), (40, 50, 3), (1, 1)])
def test_another_image_of_the_same_shape_that_repeats_under_a_seed(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    before = image.copy()
    views = [strong_view(image, np.random.default_rng(seed)) for seed in range(20)]
    assert np.array_equal(image, before)
    assert all(view.shape == image.shape and view.dtype == np.uint8 for view in views)
    assert len({view.tobytes() for view in views}) > 5
    assert np.array_equal(views[3], strong_view(image, np.random.default_rng(3)))


def test_what_is_bright_stays_where_it_is() -> None:
    image = np.full((64, 64), 90, np.uint8)
    image[20:40, 20:40] = 160
    views = np.stack([strong_view(image, np.random.default_rng(seed)) for seed in range(40)]).astype(float).mean(axis=0)
    assert views[22:38, 22:38].mean() > views[:18].mean() + 30
