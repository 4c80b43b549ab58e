"""The same picture under several names: with the same pixels, or saved anew with loss or in another size."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.errors import one_line

SIDE = 48
"""Height and width of the small copy by which pictures are compared."""

LARGE = 512
"""From this height and width on the small copy shows the middle half of the image, so that fine texture stays."""

ALIKE = 0.8
"""Correlation of two small copies from which on they show the same picture.

JPEG copies of quality 30 reach 0.86 on Sartorius, LIVECell, DSB2018 and Usiigaci images; two images of one of these
sets at most 0.5.
"""

SAME_DETAIL = 0.95
"""Correlation of the finest detail of two images from which on they are one picture. Brightened copies reach 0.96."""

FAINT = 0.5
"""Standard deviation of a small copy, in grey levels, below which there is nothing to compare."""

ROBOFLOW = re.compile(r"(.+)\.rf\.[0-9A-Za-z]{16,}(?:\.[a-z]+)?")
"""Names that Roboflow gives to images: that of the source and a hash."""

SKETCH, SKETCHED = 256, 0.5
"""Numbers that stand for a small copy in a first comparison, and their correlation from which on copies are compared.

The correlation of two copies is met within 0.06 (standard deviation), so that a pair above ALIKE is hardly missed.
"""

LEAST_UNITS = 3
"""Groups and single images that a split needs. Where pictures alike would leave fewer, they are not joined."""

MAX_COMPARED = 20
"""Copies that one is compared with after the first comparison."""

BLOCK = 1024
"""Images whose small copies are unpacked at a time."""


class Picture(NamedTuple):
    """exact: equal for images of the same pixels, empty for a blank one. small: of the small copy, empty if faint."""

    exact: bytes
    small: bytes


NO_PICTURE = Picture(b"", b"")


def picture_of(image: NDArray[np.uint8]) -> Picture:
    """What two images of the same picture have in common."""
    return Picture(_exact(image), _small(image))


def _exact(image: NDArray[np.uint8]) -> bytes:
    """Made of the shape, a sum over all pixels and every seventh pixel each way: quick; no two photographs share it.

    Empty where all pixels are equal, for blank images are no copies.
    """
    some = np.ascontiguousarray(image[::7, ::7])
    if (some == some.flat[0]).all() and (image == image.flat[0]).all():
        return b""
    flat = np.ascontiguousarray(image).ravel()
    words = len(flat) // 8 * 8
    total = int(flat[:words].view(np.uint64).sum()) + int(flat[words:].sum())
    return hashlib.sha256(repr((image.shape, total)).encode() + some.tobytes()).digest()


def _small(image: NDArray[np.uint8]) -> bytes:
    import cv2

    height, width = image.shape[:2]
    if min(height, width) >= LARGE:
        image = image[height // 4 : height - height // 4, width // 4 : width - width // 4]
    small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    small = small.mean(axis=2).astype(np.uint8) if small.ndim == 3 else small
    return small.tobytes() if _detail([small.tobytes()]).std() >= FAINT else b""


def _detail(small: Sequence[bytes]) -> NDArray[np.float32]:
    """(n, m) small copies without their uneven light: two empty wells under one lamp are not one picture."""
    import cv2

    planes = np.frombuffer(b"".join(small), np.uint8).reshape(-1, SIDE, SIDE).astype(np.float32)
    # at the border the blur repeats rows, so that any slope would leave the same frame
    flat = np.stack([(plane - cv2.blur(plane, (7, 7)))[3:-3, 3:-3] for plane in planes]).reshape(len(planes), -1)
    return flat - flat.mean(axis=1, keepdims=True)


def has_same_detail(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> bool:
    """Whether two images that are alike are surely one picture, resized or brightened: the finest detail is the same.

    Frames of a film in which nothing moves are alike too, but each has noise of its own. A copy compressed with loss
    has lost the finest detail, so that it cannot be told from such a frame.
    """
    import cv2

    size = min(a.shape[1::-1], b.shape[1::-1])
    details = []
    for image in (a, b):
        grey = image if image.ndim == 2 else image.mean(axis=2).astype(np.uint8)
        small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        details.append((small - cv2.blur(small, (3, 3))).ravel())
    one, other = details
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return lengths > 0 and float(one @ other) >= SAME_DETAIL * lengths


def same_pictures(ids: Sequence[str], pictures: Iterable[Picture]) -> list[list[str]]:
    """Ids of images with the same pixels, where there are two or more."""
    by_picture: dict[bytes, list[str]] = defaultdict(list)
    for image_id, picture in zip(ids, pictures, strict=True):
        if picture.exact:
            by_picture[picture.exact].append(image_id)
    return [same for same in by_picture.values() if len(same) > 1]


def alike_pictures(ids: Sequence[str], pictures: Iterable[Picture]) -> list[list[str]]:
    """Ids of images that show the same picture and have other pixels, where there are two or more."""
    first: dict[bytes, tuple[str, bytes]] = {}
    for image_id, picture in zip(ids, pictures, strict=True):
        if picture.small:
            first.setdefault(picture.exact, (image_id, picture.small))
    if len(first) < 2:
        return []
    names, small = zip(*first.values(), strict=True)
    sketches = np.concatenate([_sketch(small[start : start + BLOCK]) for start in range(0, len(small), BLOCK)])
    found: dict[int, list[int]] = {}
    leader = list(range(len(names)))
    for start in range(0, len(names), BLOCK):
        likely = sketches[start : start + BLOCK] @ sketches[: start + BLOCK].T >= SKETCHED
        for i in range(start, min(start + BLOCK, len(names))):
            earlier = np.flatnonzero(likely[i - start, :i])[:MAX_COMPARED].tolist()
            match = next((j for j in earlier if _correlation(small[i], small[j]) >= ALIKE), None)
            if match is not None:
                leader[i] = leader[match]
                found.setdefault(leader[i], [leader[i]]).append(i)
    return [[names[i] for i in members] for members in found.values()]


def _sketch(small: Sequence[bytes]) -> NDArray[np.float32]:
    """(n, SKETCH) of length 1: random projections of the small copies."""
    detail = _detail(small)
    sketch = detail @ np.random.default_rng(0).standard_normal((detail.shape[1], SKETCH), np.float32)
    return sketch / np.linalg.norm(sketch, axis=1, keepdims=True)


def _correlation(a: bytes, b: bytes) -> float:
    one, other = _detail([a, b])
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))


def roboflow_versions(ids: Iterable[str]) -> list[list[str]]:
    """Ids of images that Roboflow made of one picture, turned, mirrored or otherwise changed, where there are several.

    It calls the versions of a.png a_png.rf.HASH.
    """
    by_source: dict[str, list[str]] = defaultdict(list)
    for image_id in ids:
        named = ROBOFLOW.fullmatch(image_id)
        if named:
            by_source[named[1]].append(image_id)
    return [versions for versions in by_source.values() if len(versions) > 1]


def joined_groups(groups: Mapping[str, str | None], same: Sequence[Sequence[str]]) -> dict[str, str | None]:
    """Groups by image id, those that share a picture made one, so that no split puts it on two sides."""
    joined = dict(groups)
    for ids in same:
        taken = {joined[image_id] for image_id in ids} - {None}
        name = min((group for group in taken if group is not None), default=f"same picture as {ids[0]}")
        joined |= {image_id: name for image_id, group in joined.items() if group is not None and group in taken}
        joined |= dict.fromkeys(ids, name)
    return joined


def count_units(groups: Mapping[str, str | None]) -> int:
    """Groups, and images without one: what a split can put on one side or the other."""
    named = [group for group in groups.values() if group is not None]
    return len(set(named)) + len(groups) - len(named)


def notes_of_same_pictures(
    same: Sequence[Sequence[str]], alike: Sequence[Sequence[str]], parted: bool
) -> tuple[str, ...]:
    """What is told of images of the same pixels, and of those that show the same picture.

    Args:
        same: ids of images of the same pixels.
        alike: ids of images that show the same picture.
        parted: whether a split may part those.
    """
    kept = ", kept on one side of a split"
    left = "; nearly all do, as frames of a film, so that a split may part them" if parted else kept
    found = (
        (same, f"images with the same pixels as another one{kept}"),
        (alike, f"images that show the same picture as another one, saved anew{left}"),
    )
    return tuple(_note(words, groups) for groups, words in found if groups)


def _note(words: str, groups: Sequence[Sequence[str]]) -> str:
    copies = sum(len(ids) - 1 for ids in groups)
    example = " and ".join(one_line(image_id, 60) for image_id in groups[0][:2])
    return f"{words}: {copies} ({example} for one)"
