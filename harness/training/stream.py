"""Training batches as a pure function of the step, so that a resumed run or another process makes the same ones."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from harness.contract import Augment, Instances, PseudoLabels, Sample
from harness.transforms.instances import clip
from harness.transforms.resize import resize_sample, scaled_size
from harness.transforms.window import RandomWindow

POINT_SEED = 12345
"""Seed of the points that annotators would have drawn. They are part of the data, so they are equal in all runs."""

CACHED_BYTES = 128 * 2**20
"""Resized images that a process keeps, since resizing a whole image takes longer than a crop."""


LARGE_PIXELS = 2**23
"""An image that has more, as the network sees it, is never resized as a whole: crops are cut from a part of it."""

PART_SIDE = 2048
"""Sides of that part, in pixels as the network sees them."""


class Labeller(Protocol):
    """The part of a supervision that makes labels (methods/shared/supervision.py has the other part, the loss)."""

    needs_masks: bool

    def labels(self, instances: Instances, rng: np.random.Generator) -> Instances: ...


class Images(Protocol):
    """What training needs of a data set."""

    @property
    def ids(self) -> tuple[str, ...]: ...

    @property
    def cell_types(self) -> tuple[str | None, ...]: ...

    def __getitem__(self, index: int) -> Sample: ...


@dataclass
class TrainingStream:
    """Batches of augmented training samples.

    Every image is used once an epoch, in a different order in each epoch. All randomness of item k of step s comes
    from (seed, s, k).

    Args:
        indices: the images of `images` that are for training.
        augments: applied in this order.
        scale: factor by which images are resized before they are augmented.
        scale_by_size: in its place for images of these heights and widths.
        unlabelled: images without labels.
        unlabelled_size: how many of them follow the labelled ones in each batch, after the augmentations that need no
            masks.
        pseudo: labels that a model has given to some of them; they take the place of labelled images at random.
    """

    images: Images
    indices: Sequence[int]
    augments: Sequence[Augment]
    labeller: Labeller
    batch_size: int
    seed: int
    scale: float = 1.0
    scale_by_size: Mapping[tuple[int, int], float] = field(default_factory=dict)
    unlabelled: Images | None = None
    unlabelled_size: int = 0
    pseudo: PseudoLabels | None = None
    _labels: dict[int, Instances] = field(default_factory=dict)
    _orders: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)
    _kept: _Cache = field(default_factory=lambda: _Cache())

    def __post_init__(self) -> None:
        self._keeps_masks = self.labeller.needs_masks or any(a.needs_masks for a in self.augments)
        self._of_type: dict[str | None, list[int]] = {}
        for i in self.indices:
            self._of_type.setdefault(self.images.cell_types[i], []).append(i)

    @property
    def images_per_step(self) -> int:
        """Labelled and unlabelled ones."""
        return self.batch_size + self.unlabelled_size

    @property
    def iterations_per_epoch(self) -> float:
        """Steps in which as many images are seen as there are labelled ones."""
        return len(self.indices) / self.images_per_step

    def originals(self) -> Iterator[Sample]:
        """Every training image once, resized but not augmented, with the labels of the supervision."""
        return (self._augmented(int(index), 0, np.random.default_rng(0), whole=True) for index in self.indices)

    def batch(self, step: int) -> list[Sample]:
        """The samples of one step, from 0."""
        items = range(step * self.batch_size, (step + 1) * self.batch_size)
        labelled = [self._item(item, step, k) for k, item in enumerate(items)]
        return labelled + [self._unlabelled_item(step, k) for k in range(self.unlabelled_size)]

    def _item(self, item: int, step: int, k: int) -> Sample:
        rng = np.random.default_rng([self.seed, 0, step, k])
        sample = self._pseudo_item(step, k, rng)
        if sample is None:
            index = self.indices[self._place(1, item, len(self.indices))]
            sample = self._augmented(int(index), len(self.augments), rng)
        if not self.labeller.needs_masks and sample.instances.masks is not None:
            sample = sample.with_(instances=replace(sample.instances, masks=None))
        return sample

    def _place(self, kind: int, item: int, count: int) -> int:
        """Which of `count` images item number `item` is, each once an epoch. Each kind of images has its own order."""
        epoch, place = divmod(item, count)
        if (kind, epoch) not in self._orders:
            self._orders = {(of, e): order for (of, e), order in self._orders.items() if of != kind or e >= epoch - 1}
            self._orders[kind, epoch] = np.random.default_rng([self.seed, kind, epoch]).permutation(count)
        return int(self._orders[kind, epoch][place])

    def _pseudo_item(self, step: int, k: int, rng: np.random.Generator) -> Sample | None:
        """An image with pseudo-labels, augmented, as often as their share at this step says; else None."""
        if self.pseudo is None or self.unlabelled is None:
            return None
        drawn = np.random.default_rng([self.seed, 3, step, k])
        if drawn.random() >= self.pseudo.share_at(step):
            return None
        number = list(self.pseudo.instances)[int(drawn.integers(len(self.pseudo.instances)))]
        sample = self.unlabelled[number].with_(instances=self.pseudo.instances[number])
        return self._apply(self._part_at_scale(sample, rng), self.augments, rng)

    def _unlabelled_item(self, step: int, k: int) -> Sample:
        """An unlabelled image, cropped and flipped."""
        assert self.unlabelled is not None
        number = self._place(2, step * self.unlabelled_size + k, len(self.unlabelled.ids))
        weak = [augment for augment in self.augments if not augment.needs_masks]
        rng = np.random.default_rng([self.seed, 4, step, k])
        return self._apply(self._part_at_scale(self.unlabelled[number], rng), weak, rng)

    def _scale_of(self, sample: Sample) -> float:
        return self.scale_by_size.get(sample.size, self.scale)

    def _part_at_scale(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The sample resized; of a large one a part."""
        scale = self._scale_of(sample)
        if _is_large(sample, scale):
            sample = _part_of(sample, round(PART_SIDE / scale), rng)
        return resize_sample(sample, scaled_size(sample.size, scale))

    def _augmented(self, index: int, stages: int, rng: np.random.Generator, whole: bool = False) -> Sample:
        return self._apply(self._resized(index, rng, whole), self.augments[:stages], rng)

    def _apply(self, sample: Sample, augments: Sequence[Augment], rng: np.random.Generator) -> Sample:
        for stage, augment in enumerate(augments):
            sample = augment(sample, rng, _Partners(self, stage))
        return sample

    def _resized(self, index: int, rng: np.random.Generator, whole: bool) -> Sample:
        found = self._kept.get(index)
        if found is None:
            sample = self._labelled(index)
            scale = self._scale_of(sample)
            if scale == 1:
                return sample
            if not whole and _is_large(sample, scale):
                return self._part_at_scale(sample, rng)
            found = resize_sample(sample, scaled_size(sample.size, scale))
            self._kept.add(index, found)
        return found

    def _labelled(self, index: int) -> Sample:
        sample = self.images[index]
        if self.labeller.needs_masks:
            return sample
        if index not in self._labels:
            self._labels[index] = self.labeller.labels(sample.instances, np.random.default_rng([POINT_SEED, index]))
        cells = self._labels[index]
        return sample.with_(instances=replace(cells, masks=sample.instances.masks if self._keeps_masks else None))


def _is_large(sample: Sample, scale: float) -> bool:
    return scale != 1 and sample.size[0] * sample.size[1] * scale**2 > LARGE_PIXELS


def _part_of(sample: Sample, side: int, rng: np.random.Generator) -> Sample:
    """A part of these sides, in most cases with a cell in it. Nothing but the part is read from the disk."""
    height, width = min(side, sample.size[0]), min(side, sample.size[1])
    x0, y0 = RandomWindow(side).random_corner(sample, height, width, rng)
    instances = clip(sample.instances, x0, y0, x0 + width, y0 + height)
    return sample.with_(image=sample.image[y0 : y0 + height, x0 : x0 + width], instances=instances)


class _Cache:
    """The resized samples that were used last, as many as CACHED_BYTES hold."""

    def __init__(self) -> None:
        self._samples: OrderedDict[int, Sample] = OrderedDict()
        self._bytes = 0

    def get(self, index: int) -> Sample | None:
        if index in self._samples:
            self._samples.move_to_end(index)
        return self._samples.get(index)

    def add(self, index: int, sample: Sample) -> None:
        self._samples[index] = sample
        self._bytes += _size_in_memory(sample)
        while self._bytes > CACHED_BYTES:
            _, oldest = self._samples.popitem(last=False)
            self._bytes -= _size_in_memory(oldest)


def _size_in_memory(sample: Sample) -> int:
    masks = sample.instances.masks
    return sample.image.nbytes + (0 if masks is None else masks.pixels.nbytes)


@dataclass
class _Partners:
    """Other images of the stream for an augmentation, after the augmentations that come before it."""

    stream: TrainingStream
    stage: int

    def draw(self, rng: np.random.Generator, cell_type: str | None = None) -> Sample:
        of_type = None if cell_type is None else self.stream._of_type.get(cell_type)
        among = of_type or self.stream.indices
        return self.stream._augmented(among[int(rng.integers(len(among)))], self.stage, rng)
