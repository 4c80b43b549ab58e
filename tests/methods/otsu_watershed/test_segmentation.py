"""Otsu's threshold, the watershed and the choice of a foreground."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.conformance.images import draw_sample
from harness.contract import Sample, Task
from methods.otsu_watershed import OtsuWatershedOptions
from methods.otsu_watershed.segmentation import (
    FOREGROUNDS,
    OtsuWatershed,
    contrast_scores,
    otsu_threshold,
    split_touching,
)


def model(samples: Sequence[Sample] = (), classes: int = 1, **options: object) -> OtsuWatershed:
    task = Task(
        tuple(map(str, range(classes))), (110.0,) * 3, (40.0,) * 3, 64, 10, (64, 64), cell_diameter=22.0
    )  # fmt: skip
    made = OtsuWatershed(task, OtsuWatershedOptions(**options))
    made.fit(iter(samples))
    return made


def variance_between(plane: NDArray[np.float32], threshold: float) -> float:
    above = plane > threshold
    share = above.mean()
    return float(share * (1 - share) * (plane[above].mean() - plane[~above].mean()) ** 2)


def test_the_threshold_has_the_largest_variance_between_classes() -> None:
    rng = np.random.default_rng(0)
    plane = np.concatenate([rng.normal(50, 12, 3000), rng.normal(120, 20, 1000)]).astype(np.float32).reshape(50, 80)
    best = max(variance_between(plane, t) for t in np.linspace(plane.min() + 1, plane.max() - 1, 2000))
    assert variance_between(plane, otsu_threshold(plane)) == pytest.approx(best, rel=1e-3)


def test_two_values_are_parted_in_their_middle_and_one_value_has_no_foreground() -> None:
    two = np.asarray([[0, 0, 0, 10]], np.float32)
    assert otsu_threshold(two) == pytest.approx(5, abs=0.1)
    flat = np.full((4, 4), 7, np.float32)
    assert not (flat > otsu_threshold(flat)).any()


def test_two_discs_that_touch_become_two_cells_and_nothing_outside_is_taken() -> None:
    y, x = np.mgrid[:40, :70]
    inside = ((y - 20) ** 2 + (x - 20) ** 2 < 15**2) | ((y - 20) ** 2 + (x - 46) ** 2 < 15**2)
    cells = split_touching(inside, separation=15)
    assert len(np.unique(cells[inside])) == 2
    assert ((cells > 0) == inside).all()
    assert cells[20, 20] != cells[20, 46]


def test_a_small_component_beside_a_large_one_is_a_cell_of_its_own() -> None:
    inside = np.zeros((30, 40), np.bool_)
    inside[5:25, 5:25] = True
    inside[14:16, 27:29] = True
    cells = split_touching(inside, separation=15)
    assert ((cells > 0) == inside).all()
    assert cells[14, 27] not in np.unique(cells[5:25, 5:25])


@pytest.mark.parametrize("foreground", FOREGROUNDS)
def test_the_foreground_is_chosen_by_the_training_masks(foreground: str) -> None:
    rng = np.random.default_rng(1)
    samples = []
    for seed in range(3):
        sample = draw_sample(4, seed=seed)
        inside = sample.instances.masks.planes(*sample.size).any(axis=0)
        change = {"bright": 60, "dark": -60, "textured": rng.choice([-60, 60], sample.size)}[foreground]
        image = (rng.normal(110, 6, sample.size) + np.where(inside, change, 0)).clip(0, 255).astype(np.uint8)
        samples.append(sample.with_(image=image))
    fitted = model(samples)
    assert FOREGROUNDS[int(fitted.module.foreground)] == foreground
    assert len(fitted.predict([samples[0].image])[0]) > 0
    assert FOREGROUNDS[int(model(samples, foreground="dark").module.foreground)] == "dark"


def test_all_cells_have_the_most_frequent_class() -> None:
    sample = draw_sample(5, classes=3)
    sample.instances.labels[:] = [2, 2, 0, 2, 1]
    found = model([sample], classes=3).predict([sample.image])[0]
    assert set(found.labels) == {2}


def test_a_cell_like_the_average_scores_a_half_and_a_faint_one_less() -> None:
    cells = np.asarray([[1, 1, 2, 2, 3, 3]], np.int32)
    above = np.asarray([[5, 5, 1, 1, 9, 9]], np.float32)
    assert contrast_scores(above, cells, np.asarray([1, 2, 3])) == pytest.approx([0.5, 1 / 6, 9 / 14])
    assert contrast_scores(above * 0, cells, np.asarray([1, 2, 3])) == pytest.approx([0.5] * 3)
