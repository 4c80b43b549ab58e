"""Batches are a function of the step; masks go where supervision says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.contract import Augment, Instances, Pool, Sample, Task
from harness.data.dataset import Dataset
from harness.data.sources import load
from harness.training.stream import TrainingStream
from harness.transforms.resize import resize_sample
from methods.mask_rcnn import FlipOptions
from methods.mask_rcnn import augment as baseline
from methods.pointsup import PointSupOptions
from methods.pointsup import supervision as points
from methods.shared import supervision

TASK = Task(("shsy5y", "astro", "cort"), (120.0,) * 3, (30.0,) * 3, 48, 20, (64, 64))


@pytest.fixture(scope="module")
def cells() -> Dataset:
    return load("synthetic:images=7,size=96", cache=False)


class Paste:
    """Reads the masks of a partner, as Copy-Paste does; notes which cell type it asked for and was given."""

    needs_masks = True

    def __init__(self) -> None:
        self.asked: list[tuple[str | None, str | None]] = []

    def __call__(self, sample: Sample, rng: np.random.Generator, pool: Pool) -> Sample:
        partner = pool.draw(rng, sample.cell_type)
        assert partner.instances.masks is not None
        self.asked.append((sample.cell_type, partner.cell_type))
        return sample


def stream(cells: Dataset, *more: Augment, labeller: object = None, seed: int = 0) -> TrainingStream:
    augments = [*baseline.build(TASK, FlipOptions()), *more]
    return TrainingStream(cells, [0, 1, 2, 3, 4], augments, labeller or supervision.build(TASK), 2, seed)  # type: ignore[arg-type]


def same(a: list[Sample], b: list[Sample]) -> bool:
    return all(
        x.image_id == y.image_id
        and np.array_equal(x.image, y.image)
        and np.array_equal(x.instances.boxes, y.instances.boxes)
        for x, y in zip(a, b, strict=True)
    )


def test_a_batch_depends_on_seed_and_step_alone(cells: Dataset) -> None:
    first, second = stream(cells), stream(cells)
    ahead = [first.batch(step) for step in range(8)]
    assert same(second.batch(7), ahead[7]), "made without the seven before it"
    assert same(second.batch(0), ahead[0])
    assert not same(stream(cells, seed=1).batch(3), ahead[3])
    assert not same(ahead[0], ahead[5])


def test_every_image_once_an_epoch_in_an_order_of_its_own(cells: Dataset) -> None:
    made = stream(cells)
    seen = [sample.image_id for step in range(5) for sample in made.batch(step)]
    assert sorted(seen[:5]) == sorted(seen[5:]) == sorted(cells.ids[:5])
    assert seen[:5] != seen[5:]
    assert made.iterations_per_epoch == 2.5


def test_images_that_are_not_for_training_are_never_touched(cells: Dataset) -> None:
    class Guarded:
        ids, cell_types = cells.ids, cells.cell_types

        def __getitem__(self, index: int) -> Sample:
            assert index < 5, "a validation image was read"
            return cells[index]

    paste = Paste()
    guarded = TrainingStream(Guarded(), [0, 1, 2, 3, 4], [paste], supervision.build(TASK), 2, 0)
    for step in range(20):
        guarded.batch(step)


def test_partners_are_of_the_asked_type(cells: Dataset) -> None:
    paste = Paste()
    made = stream(cells, paste)
    for step in range(10):
        made.batch(step)
    assert paste.asked
    assert all(asked == given for asked, given in paste.asked)


class NoMasks:
    """Replaces the masks and raises on any use."""

    def __getattribute__(self, name: str) -> object:
        raise AssertionError(f"masks were read: {name}")

    def __len__(self) -> int:
        raise AssertionError("masks were read")


def test_point_supervision_trains_without_masks(cells: Dataset) -> None:
    """After the points are drawn, masks are never read."""
    labelled = points.build(TASK, PointSupOptions())
    drawn: dict[int, Instances] = {}

    class Annotated:
        needs_masks = False
        taken = iter(range(100))

        def labels(self, instances: Instances, rng: np.random.Generator) -> Instances:
            drawn[len(drawn)] = instances
            return labelled.labels(instances, rng)

    class Raising:
        ids, cell_types = cells.ids, cells.cell_types

        def __init__(self) -> None:
            self.read: set[int] = set()

        def __getitem__(self, index: int) -> Sample:
            sample = cells[index]
            if index in self.read:
                return sample.with_(instances=replace(sample.instances, masks=NoMasks()))
            self.read.add(index)
            return sample

    made = TrainingStream(Raising(), [0, 1, 2], list(baseline.build(TASK, FlipOptions())), Annotated(), 2, 0)
    for step in range(12):
        for sample in made.batch(step):
            assert sample.instances.masks is None
            assert sample.instances.points is not None
            assert sample.instances.points.shape[1:] == (10, 2)
    assert len(drawn) == 3, "each image is annotated once"


def test_pasting_under_point_supervision_reads_masks_but_hands_none_on(cells: Dataset) -> None:
    made = stream(cells, Paste(), labeller=points.build(TASK, PointSupOptions()))
    for sample in made.batch(0):
        assert sample.instances.masks is None
        assert sample.instances.points is not None


def test_at_scale_one_batches_are_those_of_the_images(cells: Dataset) -> None:
    plain = stream(cells)
    scaled = replace(stream(cells), scale=1.0)
    assert same(plain.batch(3), scaled.batch(3))
    assert scaled.images[0] is not None


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_crops_are_cut_from_resized_images(cells: Dataset, scale: float) -> None:
    resized = replace(stream(cells), scale=scale, augments=[])
    (sample, _) = resized.batch(0)
    source = cells.sample(sample.image_id)
    assert sample.size == (round(96 * scale), round(96 * scale))
    assert len(sample.instances) <= len(source.instances)
    assert np.abs(sample.instances.boxes / scale).max() <= 96


def test_a_resized_batch_depends_on_seed_and_step_alone(cells: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    ahead = [replace(stream(cells), scale=0.5).batch(step) for step in range(4)]
    assert same(replace(stream(cells), scale_by_size={(96, 96): 0.5}).batch(3), ahead[3]), "by the size of the image"
    first = replace(stream(cells), scale=0.5)
    again = [first.batch(step) for step in (3, 0, 1, 2, 3)]
    assert same(again[0], ahead[3])
    assert same(again[4], ahead[3])
    monkeypatch.setattr("harness.training.stream.CACHED_BYTES", 0)
    assert same(replace(stream(cells), scale=0.5).batch(3), ahead[3])


def test_a_large_image_is_not_resized_as_a_whole_for_a_crop(cells: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    shrunk = replace(stream(cells), scale=0.5)
    before = shrunk.batch(2)
    monkeypatch.setattr("harness.training.stream.LARGE_PIXELS", 100)
    monkeypatch.setattr("harness.training.stream.PART_SIDE", 32)
    sizes = []
    monkeypatch.setattr(
        "harness.training.stream.resize_sample", lambda s, size: sizes.append(s.size) or resize_sample(s, size)
    )
    parts = replace(stream(cells), scale=0.5)
    found = parts.batch(2)
    assert set(sizes) == {(64, 64)}, "of 96 x 96"
    assert [sample.size for sample in found] == [sample.size for sample in before]
    assert any(len(sample.instances) for sample in found)
    assert same(replace(stream(cells), scale=0.5).batch(2), found), "a function of seed and step"
    assert next(iter(parts.originals())).size == (48, 48)


def test_points_are_drawn_in_the_image_and_moved_with_it(cells: Dataset) -> None:
    labeller = points.build(TASK, PointSupOptions())
    plain = replace(stream(cells, labeller=labeller), augments=[])
    shrunk = replace(plain, scale=0.5)
    (sample, _), (small, _) = plain.batch(0), shrunk.batch(0)
    assert sample.instances.points is not None
    assert small.instances.points is not None
    if len(sample.instances) == len(small.instances):
        np.testing.assert_allclose(small.instances.points, sample.instances.points / 2)


def test_a_partner_of_any_type_may_be_any_image(cells: Dataset) -> None:
    """Also where some images have no cells, and so no type."""

    class Untyped:
        ids, cell_types = cells.ids, (None, *cells.cell_types[1:])

        def __getitem__(self, index: int) -> Sample:
            return cells[index]

    class Ask:
        needs_masks = True

        def __init__(self) -> None:
            self.given: set[str] = set()

        def __call__(self, sample: Sample, rng: np.random.Generator, pool: Pool) -> Sample:
            self.given.add(pool.draw(rng, None).image_id)
            return sample

    ask = Ask()
    made = TrainingStream(Untyped(), [0, 1, 2], [ask], supervision.build(TASK), 2, 0)
    for step in range(12):
        made.batch(step)
    assert ask.given == set(cells.ids[:3])
