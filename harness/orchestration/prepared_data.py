"""The data of a trial: loaded, divided, checked against the plan. And the task that its model is built for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from harness.config.preset import Preset
from harness.config.split_spec import SplitSpec
from harness.config.trial_spec import TrialSpec
from harness.config.unlabelled_facts import UnlabelledFacts
from harness.contract import Sample, Task
from harness.data.combined import CombinedDataset
from harness.data.dataset import Dataset
from harness.data.sources import load
from harness.data.splits import PARTS, Splits
from harness.data.splits.divide import divide, refuse_shared_images
from harness.data.splits.labelled import hide_labels
from harness.data.statistics import largest_side, median_diameter, pixel_statistics
from harness.data.unlabelled import UnlabelledImages, choose_unlabelled, load_unlabelled
from harness.errors import HarnessError
from harness.evaluation.ground_truth import GroundTruth
from harness.inference.grid import TilingPolicy
from harness.results.schema import DataFacts
from harness.transforms.resize import scaled_size


@dataclass(frozen=True)
class PreparedData:
    """A data set with its splits. facts: what records say about them."""

    dataset: Dataset
    splits: Splits
    facts: DataFacts

    def ids(self, split: str) -> tuple[str, ...]:
        """Image ids of "train", "calibration" or "validation"."""
        ids: tuple[str, ...] = getattr(self.splits, split)
        return ids

    def samples(self, ids: tuple[str, ...]) -> Iterator[Sample]:
        """The samples of these images, each read when it is asked for."""
        return (self.dataset.sample(image_id) for image_id in ids)

    @cached_property
    def cell_diameter(self) -> float:
        """Median diameter of the cells of the training images, in pixels of the images; 0 without cells."""
        return median_diameter(self.dataset, self.splits.train)

    def truth(self, ids: tuple[str, ...]) -> Mapping[str, GroundTruth]:
        """The annotations of these images, by id."""
        return LazyTruth(self.dataset, ids)


class LazyTruth(Mapping[str, GroundTruth]):
    """Annotations of some images by id, each read when it is asked for."""

    def __init__(self, dataset: Dataset, ids: tuple[str, ...]) -> None:
        self._dataset, self._ids = dataset, dict.fromkeys(ids)

    def __getitem__(self, image_id: str) -> GroundTruth:
        if image_id not in self._ids:
            raise KeyError(image_id)
        return GroundTruth.of(self._dataset.sample(image_id))

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)


def prepare_data(source: str, skip_bad: bool, preset: Preset, split: SplitSpec | None = None) -> PreparedData:
    """Load the data and divide them.

    Args:
        source: as typed.
        skip_bad: leave out bad images and cells.
        preset: says how large the parts are that are drawn.
        split: what the user asked for; None for parts drawn at random.

    Raises:
        HarnessError: the data or the split are bad.
    """
    split = split or SplitSpec()
    return divided(load_data(source, skip_bad, split), preset, split)


def load_data(source: str, skip_bad: bool, split: SplitSpec) -> Dataset:
    """The data set, together with the sources that are a part of the split. Raises HarnessError."""
    dataset = load(source, skip_bad=skip_bad)
    others = [("calibration", text) for text in split.calibration] + [("validation", text) for text in split.validation]
    if not others:
        return dataset
    return CombinedDataset(dataset, [(part, load(text, skip_bad=skip_bad)) for part, text in others])


def divided(dataset: Dataset, preset: Preset, split: SplitSpec) -> PreparedData:
    """The data set in its parts. All seeds have the same parts, but for folds, which each seed draws anew."""
    evaluation = preset.evaluation
    splits = divide(dataset, split, calibration=evaluation.calibration, validation=evaluation.validation)
    if split.labels:
        splits = hide_labels(dataset, splits, split.labels)
    train = set(splits.train)
    train_cells = sum(n for i, n in zip(dataset.ids, dataset.cells_per_image, strict=True) if i in train)
    facts = DataFacts(
        source=dataset.public_source,
        fingerprint=dataset.fingerprint,
        classes=list(dataset.classes),
        images=len(dataset),
        cells=dataset.cells,
        train_cells=train_cells,
        skipped_bad=dataset.skipped_bad,
        splits={name: list(getattr(splits, name)) for name in (*PARTS, *(["unlabelled"] if split.labels else []))},
        split_fingerprint=splits.fingerprint,
    )
    return PreparedData(dataset, splits, facts)


def unlabelled_images(data: PreparedData, split: SplitSpec, skip_bad: bool) -> tuple[UnlabelledImages, UnlabelledFacts]:
    """What may be learned from without labels, and what records say of it.

    Raises HarnessError where there is nothing.
    """
    others = load_unlabelled(data.dataset, split.unlabelled, skip_bad)
    images = choose_unlabelled(data.dataset, data.splits, others, split)
    if not len(images):
        near = f" ({images.left_out} are too near to images that are scored)" if images.left_out else ""
        raise HarnessError(
            f"{data.facts.source} has no unlabelled images to learn from{near}; add a folder with --unlabelled DIR, or "
            "hide labels with --labels 20"
        )
    facts = UnlabelledFacts(
        images=len(images),
        hidden=len(data.splits.unlabelled),
        left_out=images.left_out,
        fingerprint=images.fingerprint,
    )
    return images, facts


def refuse_leaks(data: PreparedData, split: SplitSpec) -> list[str]:
    """Raise HarnessError where the split that was asked for has one image in two parts, under whatever names.

    Returns what is told of images in two parts that are only alike.
    """
    if split.file or split.calibration or split.validation:
        return refuse_shared_images(data.dataset, data.splits)
    return []


def refuse_suspicious_labels(dataset: Dataset, trust_labels: bool) -> None:
    """Raise HarnessError where labels look wrong (see harness.data.doubts), unless the user trusts them."""
    if dataset.doubts and not trust_labels:
        more = f" (and {len(dataset.doubts) - 1} more)" if len(dataset.doubts) > 1 else ""
        raise HarnessError(
            f"{dataset.public_source}: {dataset.doubts[0]}{more} (`data check` lists all; "
            "--trust-labels trains on them as they are)"
        )


def prepare_planned_data(spec: TrialSpec) -> PreparedData:
    """The data of a planned trial. Raises HarnessError where they have changed since the plan was made."""
    data = prepare_data(spec.source, spec.skip_bad, spec.preset, spec.split)
    planned = (spec.data_fingerprint, spec.split_fingerprint)
    if (data.facts.fingerprint, data.facts.split_fingerprint) != planned:
        raise HarnessError(f"{data.facts.source} has changed since the run was planned; start a new run for it")
    return data


def planned_unlabelled(data: PreparedData, spec: TrialSpec) -> UnlabelledImages | None:
    """The unlabelled images of a planned trial; None where its method learns from none.

    Raises HarnessError where they have changed since the plan was made.
    """
    if spec.unlabelled is None:
        return None
    images, facts = unlabelled_images(data, spec.split, spec.skip_bad)
    if facts.fingerprint != spec.unlabelled.fingerprint:
        raise HarnessError("the unlabelled images have changed since the run was planned; start a new run for them")
    return images


def task_of(data: PreparedData, spec: TrialSpec) -> Task:
    """What the method may know of the data: statistics of the training images.

    Sizes are in pixels of the images as the method sees them, resized by the preset's scale. Of images that are
    predicted in tiles, it is told of the tiles.
    """
    preset = spec.preset
    dataset, train = data.dataset, data.splits.train
    largest_cell = largest_side(dataset, train)
    by_size, tiling = preset.scale_by_size, TilingPolicy.of(preset, largest_cell)
    counts, shown = [], []
    for sample in map(dataset.sample, train):
        counts.append(tiling.most_cells(sample.size, sample.instances.boxes))
        shown.append(scaled_size(tiling.seen_at_once(sample.size), by_size.get(sample.size, preset.scale)))
    mean, std = pixel_statistics(dataset, train)
    return Task(
        classes=dataset.classes,
        pixel_mean=mean,
        pixel_std=std,
        crop=max(1, round(preset.training.crop * preset.scale)),
        max_cells=max(counts),
        max_size=(max(height for height, _ in shown), max(width for _, width in shown)),
        seed=spec.seed,
        device=spec.device,
        settings=preset.model,
        cell_diameter=median_diameter(dataset, train, lambda one: by_size.get(one.size, preset.scale))
        if by_size
        else data.cell_diameter * preset.scale,
        largest_cell=largest_cell,
        minimum_score=preset.evaluation.minimum_score,
    )
