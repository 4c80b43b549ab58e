"""Images to learn from without their labels: those beside the labelled ones, and those that --unlabelled adds.

They are packed and cached as labelled images are. None is of a group, or shows a picture, of an image that is scored or
that chooses thresholds.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from harness.config.split_spec import SplitSpec
from harness.contract import Instances, Sample
from harness.data.dataset import Dataset
from harness.data.doubts.same_pictures import Picture, alike_pictures, picture_of, same_pictures
from harness.data.files import stamp_of_files
from harness.data.images import images_in, read_image
from harness.data.pairing import without_labels
from harness.data.read_ahead import bytes_of, in_order
from harness.data.registry import open_source
from harness.data.source import public_path
from harness.data.sources import load
from harness.data.splits.groups import values_in_names
from harness.data.splits.parts import Splits
from harness.data.store.cache import cached, discard
from harness.data.store.pack import Pack, Packer, Sink, digest
from harness.errors import HarnessError, one_line
from harness.masks.crops import CropMasks

GroupOf = Callable[[Path], str | None]

VERSION = 1
"""Raised when the same files would give other samples than before."""


@dataclass(frozen=True)
class UnlabelledImages:
    """Images without labels, by number.

    Attributes:
        places: data set and number in it, of each image. Whatever cells it has there stay unseen.
        ids: one for each image; cell_types, which are unknown, too.
        left_out: how many images were not taken, since they are too near to one that is scored.
        fingerprint: SHA-256 (hexadecimal) over the images.
    """

    places: tuple[tuple[Dataset, int], ...]
    left_out: int = 0

    @cached_property
    def ids(self) -> tuple[str, ...]:
        return tuple(dataset.ids[i] for dataset, i in self.places)

    @property
    def cell_types(self) -> tuple[str | None, ...]:
        return (None,) * len(self.places)

    @property
    def fingerprint(self) -> str:
        facts = [[dataset.fingerprint, i] for dataset, i in self.places]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Sample:
        dataset, i = self.places[index]
        sample = dataset[i]
        return Sample(sample.image_id, sample.image, no_cells(), group=sample.group, labelled=False)


def no_cells() -> Instances:
    """The instances of an image without labels."""
    return Instances.of_masks(CropMasks.empty(), np.zeros(0, np.int64))


def load_unlabelled(dataset: Dataset, sources: Sequence[str], skip_bad: bool = False) -> tuple[Dataset, ...]:
    """The images without labels that belong to a data set, and all images of further sources.

    Args:
        dataset: what is trained on.
        sources: as typed: folders of images, or data sources, whose labels are not read.
        skip_bad: leave out images that cannot be read.

    Raises:
        HarnessError: a source is not there or holds no image, or an image cannot be read.
    """
    found = [_packed(dataset.source, dataset.unlabelled, skip_bad)] if dataset.unlabelled else []
    for text in sources:
        folder = Path(text).expanduser()
        if folder.is_dir():
            images, _ = without_labels(images_in(folder).values())
            if not images:
                raise HarnessError(f"--unlabelled {one_line(text)}: the folder holds no image")
            found.append(_packed(text, images, skip_bad))
            continue
        other = load(text, skip_bad=skip_bad)
        found.append(other)
        found += [_packed(text, other.unlabelled, skip_bad)] if other.unlabelled else []
    return tuple(found)


def choose_unlabelled(
    labelled: Dataset, splits: Splits, others: Sequence[Dataset], spec: SplitSpec
) -> UnlabelledImages:
    """The images that may be learned from without labels.

    Args:
        labelled: what is trained on and scored.
        splits: of it. Images of `splits.unlabelled` come first.
        others: of `load_unlabelled`.
        spec: how the images were divided; its groups hold for these images too, as far as their names tell.
    """
    number = {image_id: i for i, image_id in enumerate(labelled.ids)}
    own = [(labelled, number[image_id]) for image_id in splits.unlabelled]
    places = [(dataset, i) for dataset in others for i in range(len(dataset))]
    held = [number[image_id] for image_id in (*splits.calibration, *splits.validation)]
    taken = _by_group(labelled, held, places) & _by_name(labelled, held, places, spec)
    taken &= _by_picture(labelled, held, places)
    chosen = [place for place, good in zip(places, taken, strict=True) if good]
    return UnlabelledImages((*own, *chosen), left_out=len(places) - len(chosen))


Places = Sequence[tuple[Dataset, int]]


def _by_group(labelled: Dataset, held: Sequence[int], places: Places) -> np.ndarray:
    """(n,) bool: which images are of no group with a held-out image."""
    groups = {labelled.groups[i] for i in held} - {None}
    return np.array([dataset.groups[i] not in groups for dataset, i in places], bool)


def _by_name(labelled: Dataset, held: Sequence[int], places: Places, spec: SplitSpec) -> np.ndarray:
    """(n,) bool: which images have no value of --group-by or --hold-out with a held-out image, by their names."""
    taken = np.ones(len(places), bool)
    ids = [dataset.ids[i] for dataset, i in places]
    for name in (spec.group_by, spec.hold_out.rpartition("=")[0]):
        if "(" not in name:
            continue  # a column, of which nothing is known here
        known = set(values_in_names(name, [labelled.ids[i] for i in held])) - {None}
        taken &= np.array([value not in known for value in values_in_names(name, ids)], bool)
    return taken


def _by_picture(labelled: Dataset, held: Sequence[int], places: Places) -> np.ndarray:
    """(n,) bool: which images show no picture of a held-out image and are no copy of any labelled one."""
    rest = sorted(set(range(len(labelled))) - set(held))
    images = [(labelled, i) for i in (*held, *rest)] + list(places)
    pictures = [picture_of(dataset[i].image) for dataset, i in images]
    first = len(labelled)
    bad = _with_any(same_pictures, range(len(images)), pictures, first)
    near = [*range(len(held)), *range(first, len(images))]
    bad |= _with_any(alike_pictures, near, [pictures[i] for i in near], len(held))
    return np.array([i not in bad for i in range(first, len(images))], bool)


def _with_any(
    alike: Callable[[Sequence[str], Iterable[Picture]], list[list[str]]],
    numbers: Sequence[int],
    pictures: Sequence[Picture],
    first: int,
) -> set[int]:
    """Those of `numbers` that are alike to one of the first of them."""
    known = set(numbers[:first])
    clusters = [[int(name) for name in cluster] for cluster in alike([str(i) for i in numbers], pictures)]
    return {i for cluster in clusters if known & set(cluster) for i in cluster}


def _packed(text: str, paths: Sequence[Path], skip_bad: bool) -> Dataset:
    """The images in these files as a data set without a cell. text: the folder or source they are from, as typed."""
    group_of = _group_of(text)
    entries = [partial(_read, path, name, group_of) for path, name in zip(paths, _names(paths), strict=True)]
    public = f"{public_path(text)}, unlabelled"
    name = ["unlabelled", text, [str(path.resolve()) for path in paths[:1]], skip_bad]
    stamp = [VERSION, stamp_of_files(*paths)]

    def build(sink: Sink) -> Pack:
        packer, bad = Packer(sink), 0
        for found in in_order(entries, lambda found: bytes_of(found) if isinstance(found, Sample) else 0):
            if isinstance(found, Sample):
                packer.add(found, digest(found))
            elif not skip_bad:
                raise HarnessError(f"{found} (--skip-bad leaves it out)")
            else:
                bad += 1
        return packer.finish((), skipped_bad=bad)

    def rebuild() -> Pack:
        discard(name)
        return cached(name, stamp, build)[0]

    pack, kept = cached(name, stamp, build)
    return Dataset(pack, text, public, rebuild=rebuild if kept else None)


def _read(path: Path, name: str, group_of: GroupOf) -> Sample | str:
    """The image, or what is wrong with it."""
    try:
        pixels, _ = read_image(path)
    except HarnessError as error:
        return f"{one_line(path.name)}: {error}"
    return Sample(name, pixels, no_cells(), group=group_of(path), labelled=False)


def _group_of(text: str) -> GroupOf:
    """The group of an image by its file, as the source tells it; of a plain folder none is known."""
    if Path(text).expanduser().is_dir():
        return lambda path: None
    found: GroupOf = getattr(open_source(text), "group_of", lambda path: None)
    return found


def _names(paths: Sequence[Path]) -> list[str]:
    """Ids: the stem of each file, with its folder where two files share one."""
    stems = Counter(path.stem for path in paths)
    return [one_line(path.stem if stems[path.stem] == 1 else f"{path.parent.name}/{path.name}") for path in paths]
