"""Which training images keep their labels: the same for all, in the shares of the cell types."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from harness.contract import Instances, Sample
from harness.data.dataset import Dataset
from harness.data.splits import Splits
from harness.data.splits.labelled import check_labels, hide_labels
from harness.errors import HarnessError
from harness.masks.crops import CropMasks

ONE = CropMasks.from_crops([(0, 0, 2, 2)], [np.ones((2, 2))])


def made(types: list[str | None]) -> tuple[Dataset, Splits]:
    """Images of these cell types, all but the last two for training."""
    samples = []
    for i, kind in enumerate(types):
        masks = CropMasks.empty() if kind is None else ONE
        cells = Instances.of_masks(masks, np.zeros(len(masks), np.int64))
        samples.append(Sample(f"{i:03d}", np.zeros((4, 4), np.uint8), cells, kind))
    dataset = Dataset.from_samples(samples, ("x",))
    return dataset, Splits.of(dataset.ids[:-2], dataset.ids[-2:-1], dataset.ids[-1:])


def test_cell_types_keep_their_shares_and_less_is_part_of_more() -> None:
    dataset, splits = made(["a"] * 80 + ["b"] * 50 + ["c"] * 20 + ["a"] * 2)
    few, more = (hide_labels(dataset, splits, text) for text in ("15", "20%"))
    assert Counter(dataset.sample(i).cell_type for i in few.train) == {"a": 8, "b": 5, "c": 2}
    assert (len(more.train), len(more.unlabelled)) == (30, 120)
    assert set(few.train) < set(more.train)
    assert sorted((*few.train, *few.unlabelled)) == list(splits.train)
    assert few.fingerprint == splits.fingerprint
    assert few == hide_labels(dataset, splits, "10%")


def test_all_labels_leave_nothing_hidden() -> None:
    dataset, splits = made(["a"] * 6)
    assert hide_labels(dataset, splits, "4") == splits
    assert hide_labels(dataset, splits, "0.1%").train != ()


def test_more_labels_than_images_and_none_with_a_cell_are_refused() -> None:
    dataset, splits = made(["a"] * 6)
    with pytest.raises(HarnessError, match="--labels 5: there are 4 training images; type 4 or fewer"):
        hide_labels(dataset, splits, "5")
    dataset, splits = made([None] * 9 + ["a"] * 3)
    with pytest.raises(HarnessError, match="none of the images that it takes has a cell"):
        hide_labels(dataset, splits, "1")


@pytest.mark.parametrize("text", ["0", "-3", "0%", "101%", "ten", "2.5", ""])
def test_what_is_no_number_of_images_is_told(text: str) -> None:
    with pytest.raises(HarnessError, match="type a number of images, as in 20, or a share, as in 10%"):
        check_labels(text)


def test_numbers_and_shares_are_taken() -> None:
    assert [check_labels(text) for text in ("20", "10%", "2.5%")] == ["20", "10%", "2.5%"]
