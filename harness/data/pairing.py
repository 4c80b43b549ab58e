"""Which annotation file belongs to which image, by their names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from harness.data.images import SUFFIXES
from harness.errors import one_line

OF_TOOLS = ("lbl", "labeled", "labelled", "labeling", "labelimage", "object identities")
"""What MorphoLibJ, QuPath, Labkit, StarDist in Fiji, and ilastik call label images."""
LABEL_WORDS = ("masks", "mask", "labels", "label", "seg", "instances", "instance", *OF_TOOLS)
LABEL_ENDINGS = ("_cp_masks", "_feature_0", *(mark + word for mark in "_- " for word in LABEL_WORDS))
LABEL_BEGINNINGS = (*LABEL_WORDS, "gt", "lblimg")
IMAGE_ENDINGS = ("_img", "_image")
IMAGE_BEGINNINGS = ("img", "image", "im")
"""A beginning counts with a mark (_, -, a space) or a digit after it."""

IMAGE_FOLDERS = ("image", "images", "img", "imgs", "raw")
LABEL_FOLDERS = ("mask", "masks", "label", "labels", "gt", "groundtruth", "annotations")
"""Names of folders that only say what their files are."""

BY_PRODUCTS = ("_flows", "_cp_flows", "_cp_output", "_cp_outlines", "_cp_cellprob", "_cellprob", "_dp")
"""Endings of pictures that cellpose writes beside an image and that are neither images nor labels."""


@dataclass
class Pairs:
    """What was found, by image id, sorted.

    Attributes:
        pairs: image and annotation file.
        unlabelled: images without annotation.
        problems: one line for each file that fits nowhere.
        notes: what the user should be told once.
    """

    pairs: dict[str, tuple[Path, Path]] = field(default_factory=dict)
    unlabelled: tuple[Path, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def stem_of(path: Path) -> str:
    """The name without its ending (.ome.tif is one ending), composed: some systems decompose accents in names."""
    stem = path.stem
    if stem.lower().endswith(".ome") and path.suffix.lower() in (".tif", ".tiff"):
        stem = stem[:-4]
    return unicodedata.normalize("NFC", stem)


def image_stem(label_stem: str) -> str:
    """What the image of a label file is called: x_masks belongs to x (cellpose), man_seg000 to t000 (CTC)."""
    tracked = re.fullmatch(r"man_seg(\d+)", label_stem)
    if tracked:
        return f"t{tracked[1]}"
    return _without(label_stem, LABEL_ENDINGS)


def image_stems(label_stem: str) -> tuple[str, ...]:
    """All that the image of a label file may be called, the most likely first; the file's own stem is the first.

    x_masks, masks_x and x.png_masks all belong to x. A stem may have folders before it.
    """
    stems = [label_stem, image_stem(label_stem), without_beginning(label_stem, LABEL_BEGINNINGS)]
    stems += [stem[: -len(ending)] for stem in stems for ending in SUFFIXES if stem.lower().endswith(ending)]
    return tuple(dict.fromkeys(stems))


def bare_stems(stem: str) -> set[str]:
    """An image's stem, and the same without what says that it is an image: img_7 and 7_img are 7."""
    return {stem, _without(stem, IMAGE_ENDINGS), without_beginning(stem, IMAGE_BEGINNINGS)}


def without_labels(paths: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Images, and what lies among them: files named as labels or by-products of another file that is there."""
    paths = list(paths)
    stems = {bare for path in paths for bare in bare_stems(stem_of(path))}
    others = []
    for path in paths:
        stem = stem_of(path)
        names = {*image_stems(stem), _without(stem, BY_PRODUCTS)} - {stem}
        others += [path] if names & stems else []
    return [path for path in paths if path not in others], others


def pair_files(
    images: Iterable[Path],
    annotations: Iterable[Path],
    key: Callable[[Path], str] = stem_of,
    what: str = "labels",
) -> Pairs:
    """Pair annotation files with images of the same name.

    Names are the same where they differ in one of the usual words or in upper and lower case alone. Where one folder
    holds both x.png and x_masks.png as labels of x, the one with the ending is taken: the other is a copy of the image.

    Args:
        images: image files.
        annotations: annotation files.
        key: what two files of a pair have in common; the id of the image.
        what: the word for annotations in messages.
    """
    found, problems = Pairs(), []
    by_id: dict[str, Path] = {}
    images = list(images)
    stems = {key(path) for path in images}
    by_products = [path for path in images if _without(key(path), BY_PRODUCTS) in stems - {key(path)}]
    for path in (path for path in images if path not in by_products):
        image_id = key(path)
        if not image_id.isprintable():
            problems.append(f"{one_line(path.name)}: the name holds characters that cannot be printed")
        elif image_id in by_id:
            problems.append(f"{path.name}: another image, {by_id[image_id].name}, has the same name")
        else:
            by_id[image_id] = path
    loose = _loose_names(by_id)
    claims: dict[str, list[Path]] = {}
    for path in annotations:
        name = key(path)
        names = image_stems(name)
        candidates = (*names, *(loose.get(name.casefold(), "") for name in names))
        owner = next((candidate for candidate in candidates if candidate in by_id), None)
        if owner is None and _without(name, BY_PRODUCTS) in by_id:
            by_products.append(path)
        elif owner is None:
            problems.append(f"{one_line(path.name)}: there is no image for these {what}")
        else:
            claims.setdefault(owner, []).append(path)
    copies = 0
    for image_id, paths in sorted(claims.items()):
        named = [path for path in paths if len(image_stems(key(path))) > 1]
        chosen = named if len(paths) > 1 and named else paths
        copies += len(paths) - len(chosen)
        found.pairs[image_id] = (by_id[image_id], chosen[0])
        problems += [f"{p.name}: {by_id[image_id].name} has {what} already, {chosen[0].name}" for p in chosen[1:]]
    found.unlabelled = tuple(by_id[image_id] for image_id in sorted(set(by_id) - set(claims)))
    found.problems = tuple(problems)
    notes = []
    if found.unlabelled:
        notes.append(f"no {what}, taken as unlabelled: {len(found.unlabelled)} images")
    if copies:
        notes.append(f"beside a file with a label ending, taken for copies of images and left out: {copies} files")
    if by_products:
        notes.append(f"pictures that cellpose wrote beside images, left out: {len(by_products)} files")
    found.notes = tuple(notes)
    return found


def _loose_names(ids: Iterable[str]) -> dict[str, str]:
    """Ids by names that differ in case or in a word for images; names that two ids share are left out."""
    names: dict[str, set[str]] = {}
    for image_id in ids:
        for name in bare_stems(image_id):
            names.setdefault(name.casefold(), set()).add(image_id)
    return {name: next(iter(owners)) for name, owners in names.items() if len(owners) == 1}


def _without(stem: str, endings: tuple[str, ...]) -> str:
    """The stem less the first of the endings that it has, in upper or lower case."""
    return next((stem[: -len(e)] for e in endings if stem.lower().endswith(e) and len(stem) > len(e)), stem)


def without_beginning(stem: str, beginnings: tuple[str, ...]) -> str:
    """The stem less the word that it begins with, in upper or lower case, and the mark after that; folders stay."""
    folders, slash, name = stem.rpartition("/")
    found = re.match(rf"(?:{'|'.join(beginnings)})(?:[_\- ](?=.)|(?=[0-9]))", name, re.IGNORECASE)
    return folders + slash + (name[found.end() :] if found else name)
