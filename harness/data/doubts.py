"""Signs that labels are not what they are taken for: each would train a network on nonsense without an error.

A data set with doubts is read; a run on it stops unless it is told to trust the labels. Real sets of cells stay far
from every limit: on Sartorius, LIVECell, DSB2018 and Usiigaci images at most 2 % of the cells of an image are in
several pieces, and no cell covers more than 8 % of an image.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.contract import Sample
from harness.errors import one_line
from harness.masks.crops import CropMasks

EXAMINED = 16
"""Cells of an image whose pieces are counted at most, evenly spread over it."""

PIECE = 0.1
"""A piece counts where it has this share of the mask's largest piece: a stray pixel is none."""

IN_PIECES = 0.3
"""Share of cells in several pieces from which on they are no cells."""

EXTRA_PIECES = 3
"""So many pieces more than cells are needed besides: a single cell may be hidden in part."""

COVER, COVER_ALONE = 0.25, 0.5
"""Share of the image that a mask reaching all four edges may cover: beside other cells, and alone."""

SPECK = 3
"""Pixels of a mask too small to be a cell. More than half of SPECKS or more cells of this size are noise."""

SPECKS = 20

TWINS = 0.3
"""Share of cells with the mask of another cell from which on most are drawn twice."""

NEARLY = 0.7
"""Intersection over union of two masks that are the same cell: one moved by a pixel, or drawn by another rule."""

MAX_PAIRS = 2**21
"""Most pairs of masks compared. Only labels that are no cells have more: their boxes all overlap."""

HOLLOW = 2.0
"""A mask is hollow where it is this many times as large with its holes filled."""

CORNER, CORNER_CELLS = 0.7, 20
"""Where so many cells all end before this share of height and of width, their coordinates are of a smaller image."""

OUTSIDE, OUTSIDE_CELLS = 0.05, 3
"""Share of cells of a data set drawn in part outside of their image, and how many are needed besides."""

FILLED, FILLED_CELLS = 0.5, 20
"""Share of cells that fill their boxes from which on they look like boxes, and how many are needed besides."""

BOXES = 0.5
"""Share of boxes that lie elsewhere than their masks from which on one of them is wrong."""

CAUSES = {
    "boxes": "is the order of coordinates y, x, or are they in percent?",
    "specks": "was the file compressed with loss, or is it an image in place of labels?",
    "cover": "is the background a number other than 0?",
    "twins": "was the same annotation merged twice?",
    "hollow": "are they outlines or a border of a number of its own, in place of whole cells?",
    "corner": "are the coordinates those of a smaller copy of the image, or in percent?",
    "outside": "is the order of coordinates y, x, or are they of a larger copy of the image?",
}


@dataclass(frozen=True)
class Signs:
    """What was counted on one image; see the limits above.

    Attributes:
        cells: how many there are.
        examined: how many of them were looked at for pieces.
        in_pieces: those in several separate pieces.
        extra_pieces: pieces beyond one for each examined cell.
        cover: share of the image of the largest mask that reaches all four edges.
        specks: masks of at most SPECK pixels.
        twins: masks equal to an earlier one.
        boxes: given boxes that were held against their masks.
        contradicted: those that lie elsewhere.
        nearly_twins: masks nearly equal to an earlier one, beside the twins.
        hollow: examined masks that are mostly hole.
        rings: those of them that are several rings, or reach all four edges.
        reach: the largest share of the width or of the height at which a mask ends.
        outside: cells drawn in part outside of the image.
        filled: masks that fill their box.
    """

    cells: int
    examined: int = 0
    in_pieces: int = 0
    extra_pieces: int = 0
    cover: float = 0.0
    specks: int = 0
    twins: int = 0
    boxes: int = 0
    contradicted: int = 0
    nearly_twins: int = 0
    hollow: int = 0
    rings: int = 0
    reach: float = 1.0
    outside: int = 0
    filled: int = 0

    def doubts(self) -> dict[str, str]:
        """Kind of doubt to what was found on the image, in words."""
        found = {}
        if self.in_pieces > IN_PIECES * self.examined and self.extra_pieces >= EXTRA_PIECES:
            found["pieces"] = f"{self.in_pieces} of {self.examined} cells are in several separate pieces"
        if self.cover > (COVER if self.cells > 1 else COVER_ALONE):
            found["cover"] = f"one cell covers {self.cover:.0%} of the image and reaches all its edges"
        if self.cells >= SPECKS and self.specks > self.cells / 2:
            found["specks"] = f"{self.specks} of {self.cells} cells have {SPECK} pixels or fewer"
        twins, nearly = self.twins + self.nearly_twins, "nearly " if self.nearly_twins else ""
        if twins > TWINS * self.cells and twins > 1:
            found["twins"] = (
                f"{twins} of {self.cells} cells have {nearly}the same mask as another one, as if drawn twice"
            )
        if self.rings or (self.hollow > IN_PIECES * self.examined and self.hollow >= EXTRA_PIECES):
            found["hollow"] = f"{self.hollow} of {self.examined} cells are hollow"
        if self.contradicted > BOXES * self.boxes and self.contradicted > 1:
            found["boxes"] = f"{self.contradicted} of {self.boxes} boxes lie elsewhere than their masks"
        return found


def signs_of(sample: Sample, boxes: int = 0, contradicted: int = 0, outside: int = 0) -> Signs:
    """Count what tells of wrong labels. The numbers are as in Signs, where the reader knows them."""
    masks = sample.instances.masks
    if masks is None or not len(masks):
        return Signs(0, outside=outside)
    crowd = sample.instances.crowd
    if crowd is not None and crowd.any():
        masks = masks.select(~crowd)
    if not len(masks):
        return Signs(0, outside=outside)
    height, width = sample.size
    sides = masks.boxes[:, 2:] - masks.boxes[:, :2]
    whole = np.flatnonzero((sides == (width, height)).all(axis=1))
    tiny = np.flatnonzero((sides <= SPECK).all(axis=1))
    spread = np.linspace(0, len(masks) - 1, min(len(masks), EXAMINED)).astype(int)
    examined = np.union1d(spread, whole[:EXAMINED])
    pieces = [_pieces(masks, i) for i in examined.tolist()]
    hollow = [_is_hollow(masks, i) for i in examined.tolist()]
    rings = sum(h and (n >= EXTRA_PIECES or i in whole) for i, n, h in zip(examined, pieces, hollow, strict=True))
    areas = masks.areas()
    twins, nearly = _twins(masks), _nearly_twins(masks, areas)
    return Signs(
        len(masks),
        len(examined),
        sum(n > 1 for n in pieces),
        sum(pieces) - len(pieces),
        float(areas[whole].max(initial=0)) / (height * width),
        int((areas[tiny] <= SPECK).sum()),
        twins,
        boxes,
        contradicted,
        max(nearly - twins, 0),
        sum(hollow),
        rings,
        float((masks.boxes[:, 2:] / (width, height)).max()),
        outside,
        int(((areas == sides.prod(axis=1)) & (sides > SPECK).all(axis=1)).sum()),
    )


def _pieces(masks: CropMasks, i: int) -> int:
    """Separate pieces of a mask (8-connected) that are large enough to count."""
    import cv2

    crop = masks.crop(i)
    count, numbered = cv2.connectedComponents(crop, connectivity=8)
    if count <= 2:
        return 1
    areas = np.bincount(numbered.ravel())[1:]
    return int((areas >= PIECE * areas.max()).sum())


def _is_hollow(masks: CropMasks, i: int) -> bool:
    """Whether a mask is mostly hole."""
    import cv2

    crop = masks.crop(i)
    if min(crop.shape) <= SPECK:
        return False
    outlines, _ = cv2.findContours(crop, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = cv2.drawContours(np.zeros_like(crop), outlines, -1, 1, cv2.FILLED)
    return bool(np.count_nonzero(filled) > HOLLOW * np.count_nonzero(crop))


def _nearly_twins(masks: CropMasks, areas: NDArray[np.int64]) -> int:
    """Masks that overlap with one before them so far that they are the same cell; equal ones count too."""
    order = np.argsort(masks.boxes[:, 0], kind="stable")
    boxes = masks.boxes[order].astype(np.int64)
    size = boxes[:, 2:] - boxes[:, :2]
    # a mask with NEARLY of another one in it begins at most as much further right as that one has left
    last = np.searchsorted(boxes[:, 0], boxes[:, 0] + (1 - NEARLY) * size[:, 0], side="right")
    each = last - np.arange(len(boxes)) - 1
    if each.sum() > MAX_PAIRS:
        return 0
    a = np.repeat(np.arange(len(boxes)), each)
    b = np.arange(len(a)) - np.repeat(np.cumsum(each) - each, each) + a + 1
    common = (np.minimum(boxes[a, 2:], boxes[b, 2:]) - np.maximum(boxes[a, :2], boxes[b, :2])).clip(0)
    enough = common.prod(axis=1) >= NEARLY * np.maximum(areas[order[a]], areas[order[b]])
    again = set()
    for one, other in zip(order[a[enough]].tolist(), order[b[enough]].tolist(), strict=True):
        if max(one, other) not in again and _overlap(masks, one, other) >= NEARLY * (areas[one] + areas[other]) / (
            1 + NEARLY
        ):
            again.add(max(one, other))
    return len(again)


def _overlap(masks: CropMasks, i: int, j: int) -> int:
    """Pixels of both of two masks."""
    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = masks.boxes[i].tolist(), masks.boxes[j].tolist()
    x0, y0, x1, y1 = max(ax0, bx0), max(ay0, by0), min(ax1, bx1), min(ay1, by1)
    a = masks.crop(i)[y0 - ay0 : y1 - ay0, x0 - ax0 : x1 - ax0]
    b = masks.crop(j)[y0 - by0 : y1 - by0, x0 - bx0 : x1 - bx0]
    return int(np.count_nonzero(a & b))


def _twins(masks: CropMasks) -> int:
    """Masks equal to one before them."""
    # few boxes are equal: a number for each, wrapping around, finds those to look at
    numbers = masks.boxes.astype(np.int64) @ np.asarray([1, 1_000_003, 998_244_353_007, 7_927_000_000_000_019])
    _, which, count = np.unique(numbers, return_inverse=True, return_counts=True)
    seen: set[tuple[bytes, bytes]] = set()
    twins = 0
    for i in np.flatnonzero(count[which] > 1).tolist():
        mask = (masks.boxes[i].tobytes(), masks.crop(i).tobytes())
        twins += mask in seen
        seen.add(mask)
    return twins


@dataclass
class Doubts:
    """Gathers the signs of all images. causes: what the reader takes for the likely cause, by kind of doubt."""

    causes: Mapping[str, str] = field(default_factory=dict)
    signs: dict[str, Signs] = field(default_factory=dict)

    def add(self, image_id: str, signs: Signs) -> None:
        self.signs[image_id] = signs

    def sentences(self) -> tuple[str, ...]:
        """One line for each kind of doubt: the first image, how many more, the likely cause."""
        by_kind: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for image_id, signs in self.signs.items():
            for kind, what in signs.doubts().items():
                by_kind[kind].append((image_id, what))
        if "pieces" not in by_kind:
            self._add_pieces_of_all(by_kind)
        self._add_misplaced(by_kind)
        return tuple(self._sentence(kind, found) for kind, found in sorted(by_kind.items()))

    def notes(self) -> tuple[str, ...]:
        """What is worth knowing and no reason to stop."""
        sure = [signs for signs in self.signs.values() if "twins" not in signs.doubts()]
        notes = []
        for words, counts in (("", [s.twins for s in sure]), ("nearly ", [s.nearly_twins for s in sure])):
            if any(counts):
                on = _images(sum(map(bool, counts)))
                notes.append(f"cells with {words}the same mask as another cell of their image: {sum(counts)}, on {on}")
        cells, filled = (sum(getattr(s, name) for s in self.signs.values()) for name in ("cells", "filled"))
        if filled > FILLED * cells and filled >= FILLED_CELLS:
            notes.append(
                f"cells that fill their boxes, as if boxes were saved in place of outlines: {filled} of {cells}"
            )
        return tuple(notes)

    def _add_misplaced(self, by_kind: dict[str, list[tuple[str, str]]]) -> None:
        """Annotations of an image of another size: only many of them together tell."""
        cells = sum(signs.cells for signs in self.signs.values())
        reach = max((signs.reach for signs in self.signs.values() if signs.cells), default=1.0)
        if reach < CORNER and cells >= CORNER_CELLS:
            first = next(image_id for image_id, signs in self.signs.items() if signs.cells)
            by_kind["corner"] = [
                (first, f"here and on every image all cells lie in the upper left {reach:.0%} of width and height")
            ]
        out = {image_id: signs.outside for image_id, signs in self.signs.items() if signs.outside}
        outside = sum(out.values())
        if outside > OUTSIDE * (cells + outside) and outside >= OUTSIDE_CELLS:
            by_kind["outside"] = [(name, f"{count} outlines reach far out of the image") for name, count in out.items()]

    def _add_pieces_of_all(self, by_kind: dict[str, list[tuple[str, str]]]) -> None:
        """A few pieces on every image: none is striking alone, all together are."""
        split = {image_id: signs for image_id, signs in self.signs.items() if signs.in_pieces}
        examined = sum(signs.examined for signs in self.signs.values())
        in_pieces = sum(signs.in_pieces for signs in split.values())
        if in_pieces > IN_PIECES * examined and sum(s.extra_pieces for s in split.values()) >= EXTRA_PIECES:
            words = "{0.in_pieces} of {0.examined} cells are in several separate pieces"
            by_kind["pieces"] = [(image_id, words.format(signs)) for image_id, signs in split.items()]

    def _sentence(self, kind: str, found: Sequence[tuple[str, str]]) -> str:
        image_id, what = found[0]
        more = f" (so too on {_images(len(found) - 1, 'more ')} of {len(self.signs)})" if len(found) > 1 else ""
        cause = self.causes.get(kind) or CAUSES.get(kind) or _cause_of_pieces(self.signs[image_id].cells)
        return f"{one_line(image_id, 60)}: {what}{more}; {cause}"


def _cause_of_pieces(cells: int) -> str:
    if cells == 1:
        return "is it a mask of all cells in place of a number for each?"
    if cells < 10:
        return "are they numbers of classes in place of cells?"
    return "are they grey levels: an image in place of labels, or the two folders swapped?"


def _images(count: int, more: str = "") -> str:
    return f"{count} {more}image{'s' if count > 1 else ''}"


# -------------------------------------------------------------------------------------------- the same picture twice


def picture_of(image: NDArray[np.uint8]) -> bytes:
    """Equal for images of the same pixels; b"" where all pixels are equal, for blank images are no copies.

    Made of the shape, a sum over all pixels and every seventh pixel each way: quick, and no two photographs share it.
    """
    some = np.ascontiguousarray(image[::7, ::7])
    if (some == some.flat[0]).all() and (image == image.flat[0]).all():
        return b""
    flat = np.ascontiguousarray(image).ravel()
    words = len(flat) // 8 * 8
    total = int(flat[:words].view(np.uint64).sum()) + int(flat[words:].sum())
    return hashlib.sha256(repr((image.shape, total)).encode() + some.tobytes()).digest()


def same_pictures(ids: Sequence[str], pictures: Iterable[bytes]) -> list[list[str]]:
    """Ids of images with the same pixels, where there are two or more. pictures: picture_of each."""
    by_picture: dict[bytes, list[str]] = defaultdict(list)
    for image_id, picture in zip(ids, pictures, strict=True):
        if picture:
            by_picture[picture].append(image_id)
    return [same for same in by_picture.values() if len(same) > 1]


def joined_groups(groups: Mapping[str, str | None], same: Sequence[Sequence[str]]) -> dict[str, str | None]:
    """Groups by image id, those that share a picture made one, so that no split puts it on two sides."""
    joined = dict(groups)
    for ids in same:
        taken = {joined[image_id] for image_id in ids} - {None}
        name = min((group for group in taken if group is not None), default=f"same picture as {ids[0]}")
        joined |= {image_id: name for image_id, group in joined.items() if group is not None and group in taken}
        joined |= dict.fromkeys(ids, name)
    return joined


def note_of_same_pictures(same: Sequence[Sequence[str]]) -> tuple[str, ...]:
    if not same:
        return ()
    copies = sum(len(ids) - 1 for ids in same)
    example = " and ".join(one_line(image_id, 60) for image_id in same[0][:2])
    return (f"images with the same pixels as another one, kept on one side of a split: {copies} ({example} for one)",)
