from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.contract import Instances, Sample
from harness.data.dataset import Dataset
from harness.data.splits import Splits, split
from harness.data.splits.drawn import draw_folds
from harness.errors import HarnessError
from harness.masks.crops import CropMasks

ONE = CropMasks.from_crops([(0, 0, 2, 2)], [np.ones((2, 2))])
IMAGE = np.zeros((4, 4), np.uint8)


def made(*images: tuple[str | None, str | None], order: int = 0) -> Dataset:
    """A data set of (cell type, group); images without a type have no cells."""
    samples = []
    for i, (cell_type, group) in enumerate(images):
        masks = CropMasks.empty() if cell_type is None else ONE
        cells = Instances.of_masks(masks, np.zeros(len(masks), np.int64))
        samples.append(Sample(f"{i:03d}", IMAGE, cells, cell_type, group))
    random.Random(order).shuffle(samples)
    return Dataset.from_samples(samples, ("x",))


def parts(splits: Splits) -> tuple[tuple[str, ...], ...]:
    return splits.train, splits.calibration, splits.validation


def test_every_type_is_shared_out_in_proportion() -> None:
    images = [("a", None)] * 80 + [("b", None)] * 50 + [("c", None)] * 20
    splits = split(made(*images), calibration=0.1, validation=0.2)
    for part, fraction in zip(parts(splits), (0.7, 0.1, 0.2), strict=True):
        counts = Counter(images[int(i)][0] for i in part)
        assert counts == {"a": round(80 * fraction), "b": round(50 * fraction), "c": round(20 * fraction)}


def test_the_same_whatever_the_order_and_other_with_another_seed() -> None:
    images = [("a", None)] * 20 + [("b", "g")] * 3 + [(None, None)] * 4
    first = split(made(*images), calibration=0.2, validation=0.2)
    assert first == split(made(*images, order=5), calibration=0.2, validation=0.2)
    other = split(made(*images), calibration=0.2, validation=0.2, seed=1)
    assert first.train != other.train
    assert first.fingerprint != other.fingerprint


kinds = st.tuples(st.sampled_from(["a", "b", None]), st.sampled_from([None, None, "g", "h", "i"]))


@given(st.lists(kinds, min_size=3, max_size=40), st.integers(0, 9), st.sampled_from([0.05, 0.1, 0.3]))
def test_parts_cover_all_and_share_nothing_and_keep_groups(images: list, seed: int, fraction: float) -> None:
    dataset = made(*images)
    annotated = {group or i for i, (kind, group) in enumerate(images) if kind}
    if len(annotated) < 3:
        with pytest.raises(HarnessError, match="too few"):
            split(dataset, calibration=fraction, validation=0.2, seed=seed)
        return
    splits = split(dataset, calibration=fraction, validation=0.2, seed=seed)
    assert sorted(i for part in parts(splits) for i in part) == sorted(dataset.ids)
    for part in parts(splits):
        assert any(images[int(i)][0] for i in part)
        assert list(part) == sorted(part)
    for group in "ghi":
        assert sum(any(images[int(i)][1] == group for i in part) for part in parts(splits)) <= 1


@pytest.mark.parametrize("fractions", [(0, 0.2), (0.5, 0.5), (0.1, -0.1), (float("nan"), 0.2)])
def test_fractions_that_leave_nothing_are_refused(fractions: tuple[float, float]) -> None:
    with pytest.raises(HarnessError, match="leave something to train on"):
        split(made(*[("a", None)] * 9), calibration=fractions[0], validation=fractions[1])


# ------------------------------------------------------------------------------------------------------- folds


@given(st.lists(kinds, min_size=4, max_size=40), st.integers(0, 9), st.integers(2, 5))
def test_every_image_is_held_out_by_one_fold_and_groups_stay_whole(images: list, seed: int, folds: int) -> None:
    dataset = made(*images)
    annotated = {group or i for i, (kind, group) in enumerate(images) if kind}
    if len(annotated) < folds:
        with pytest.raises(HarnessError, match=f"too few for {folds} folds"):
            draw_folds(dataset, folds, seed)
        return
    drawn = draw_folds(dataset, folds, seed)
    assert sorted(i for fold in drawn for i in fold.validation) == sorted(dataset.ids)
    for fold in drawn:
        assert not fold.calibration
        assert set(fold.train) == set(dataset.ids) - set(fold.validation)
        assert any(images[int(i)][0] for i in fold.validation)
        assert not {images[int(i)][1] for i in fold.train} & {images[int(i)][1] for i in fold.validation} - {None}


def test_folds_are_alike_in_cell_types_and_every_seed_draws_its_own() -> None:
    dataset = made(*[("a", None)] * 20 + [("b", None)] * 10)
    folds = draw_folds(dataset, 5, seed=0)
    types = dict(zip(dataset.ids, dataset.cell_types, strict=True))
    assert all(Counter(types[i] for i in fold.validation) == {"a": 4, "b": 2} for fold in folds)
    assert folds == draw_folds(dataset, 5, seed=0)
    assert folds != draw_folds(dataset, 5, seed=1)
