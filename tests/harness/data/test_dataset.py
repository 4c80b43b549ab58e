from __future__ import annotations

import numpy as np
import pytest

from harness.contract import Instances, Sample
from harness.data.dataset import Dataset
from harness.errors import HarnessError
from harness.masks.crops import CropMasks


def sample(image_id: str, shape: tuple[int, ...], planes: list[tuple[int, int, int, int]], **more: object) -> Sample:
    crops = [np.ones((y1 - y0, x1 - x0)) for x0, y0, x1, y1 in planes]
    masks = CropMasks.from_crops(planes, crops)
    image = np.arange(np.prod(shape)).astype(np.uint8).reshape(shape)
    return Sample(image_id, image, Instances.of_masks(masks, np.arange(len(planes)) % 2), **more)  # type: ignore[arg-type]


A = sample("a", (8, 9), [(0, 0, 3, 3), (2, 2, 9, 8)], cell_type="cort", group="w1")
B = sample("b", (5, 20, 3), [])
C = sample("c", (6, 6), [(1, 1, 2, 2)])


def test_samples_come_back_as_they_were() -> None:
    dataset = Dataset.from_samples([A, B, C], ("x", "y"))
    assert (len(dataset), dataset.cells, dataset.max_cells, dataset.max_size) == (3, 3, 2, (8, 20))
    assert dataset.cells_per_image == (2, 0, 1)
    assert (dataset.cell_types, dataset.groups) == (("cort", None, None), ("w1", None, None))
    for i, given in enumerate([A, B, C]):
        read = dataset[i]
        assert read.image_id == given.image_id
        assert np.array_equal(read.image, given.image)
        assert np.array_equal(read.instances.boxes, given.instances.boxes)
        assert np.array_equal(read.instances.labels, given.instances.labels)
        assert read.instances.masks is not None
        assert given.instances.masks is not None
        assert np.array_equal(read.instances.masks.planes(8, 20), given.instances.masks.planes(8, 20))
        assert read.instances.crowd is not None
        assert not read.instances.crowd.any()
    assert dataset.sample("c").image_id == "c"
    assert not np.shares_memory(dataset[0].image, A.image)


def test_what_is_not_there_is_told() -> None:
    dataset = Dataset.from_samples([A], ("x", "y"))
    with pytest.raises(HarnessError, match="samples has no image 'z'"):
        dataset.sample("z")
    for i in (-1, 1):
        with pytest.raises(IndexError):
            dataset[i]
    with pytest.raises(HarnessError, match="share an id"):
        Dataset.from_samples([A, A], ("x",))


def test_the_fingerprint_sees_ids_pixels_masks_labels_and_classes() -> None:
    def fingerprint(given: Sample, classes: tuple[str, ...] = ("x", "y")) -> str:
        return Dataset.from_samples([given, C], classes).fingerprint

    moved = sample("a", (8, 9), [(0, 0, 3, 3), (1, 2, 8, 8)], cell_type="cort", group="w1")
    brighter = A.with_(image=A.image + np.uint8(1))
    relabelled = A.with_(instances=Instances.of_masks(A.instances.masks, np.asarray([1, 1])))  # type: ignore[arg-type]
    all_of_them = {fingerprint(s) for s in (A, A.with_(image_id="aa"), moved, brighter, relabelled)}
    assert len(all_of_them | {fingerprint(A, ("x", "z"))}) == 6
    assert fingerprint(A) == fingerprint(A)
    assert len(fingerprint(A)) == 64


def test_an_empty_data_set_is_one() -> None:
    dataset = Dataset.from_samples([], ())
    assert (len(dataset), dataset.cells, dataset.max_cells, dataset.max_size) == (0, 0, 0, (0, 0))
