"""What the signs of all images together tell of a data set."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.data.doubts.placement import POOR, Copies, Placement, better_owners
from harness.data.doubts.signs import EXTRA_PIECES, IN_PIECES, Signs
from harness.errors import one_line

CORNER, CORNER_CELLS = 0.7, 20
"""Where so many cells all end before this share of height and of width, their coordinates are of a smaller image."""

OUTSIDE, OUTSIDE_CELLS = 0.05, 3
"""Share of cells of a data set drawn in part outside of their image, and how many are needed besides."""

FILLED, FILLED_CELLS = 0.5, 20
"""Share of cells that fill their boxes from which on they look like boxes, and how many are needed besides."""

WRAPPED = 0.5
"""Share of the cells at the left edge of which a column lies at the right edge, from which on it is no accident."""

NO_BETTER, UNRELATED_IMAGES, UNRELATED_CELLS = 0.75, 4, 20
"""Where masks fit their pictures better than so many of their moved copies at most (mean), they are unrelated.

0.5 is expected where they are, with a standard deviation of 0.3 an image, so that several images are needed, and
several cells. On real sets it is 1.0.
"""

SHIFTED, SHIFTED_IMAGES = 0.8, 3
"""Share of images with masks beside the picture's edges by the same pixel that is no accident, and images needed."""

EMPTY = 0.2
"""Share of images without a cell from which on some may not be annotated yet."""

LEAST_NUMBERED = 5
"""So many classes that differ in a number alone may be numbers of cells."""

MAX_POOR = 2000
"""Images with a poor fit that are held against each other."""

CAUSES = {
    "boxes": "is the order of coordinates y, x, or are they in percent?",
    "specks": "was the file compressed with loss, or is it an image in place of labels?",
    "cover": "is the background a number other than 0?",
    "twins": "was the same annotation merged twice?",
    "hollow": "are they outlines or a border of a number of its own, in place of whole cells?",
    "turned": "is the order of coordinates y, x, or was the image turned after it was annotated?",
    "unrelated": "do the labels belong to other images: files renamed, or lists put together in another order?",
    "other": "were labels saved under the names of other images?",
    "shifted": "does the first pixel count as 0 in one program and as 1 in the other?",
    "wrapped": "are they shifted by a pixel?",
    "numbers": "were there more cells than that? Save the labels with 16 bits",
    "blank": "did its export fail?",
    "uniform": "is it a picture of the labels in place of the image?",
    "around": "is it a region that was outlined, in place of a cell?",
    "classes": "is it a number for each cell? Give all cells one class",
    "corner": "are the coordinates those of a smaller copy of the image, or in percent?",
    "outside": "is the order of coordinates y, x, or are they of a larger copy of the image?",
}


@dataclass
class Doubts:
    """Gathers the signs of all images.

    Attributes:
        causes: what the reader takes for the likely cause, by kind of doubt.
        classes: names of the classes.
    """

    causes: Mapping[str, str] = field(default_factory=dict)
    classes: Sequence[str] = ()
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
        self._add_numbered(by_kind)
        if "pieces" not in by_kind:
            self._add_wrapped(by_kind)
        if not by_kind:  # whatever else is wrong with masks, they will not fit their pictures either
            self._add_other(by_kind)
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
        empty = [image_id for image_id, signs in self.signs.items() if not signs.cells]
        if empty:
            what = f"images without a cell: {len(empty)} of {len(self.signs)} ({one_line(empty[0], 60)} for one)"
            advice = "; those that are not annotated yet do harm: leave them out"
            notes.append(what + advice * (len(empty) > EMPTY * len(self.signs)))
        return (*notes, *self._shifted(), *(() if self.sentences() else self._unrelated()))

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

    def _add_numbered(self, by_kind: dict[str, list[tuple[str, str]]]) -> None:
        """Classes that number the cells of an image: none is there twice on any image."""
        stems = {name.rstrip("0123456789") for name in self.classes}
        several = {image_id for image_id, signs in self.signs.items() if signs.cells > 1}
        if len(self.classes) < LEAST_NUMBERED or len(stems) > 1 or not several:
            return
        if all(signs.most_of_class <= 1 for signs in self.signs.values()):
            names = ", ".join(one_line(name, 20) for name in self.classes[:3])
            words = f"no two cells of any image are of one class; the classes are {names}, ..."
            by_kind["classes"] = [(min(several), words)]

    def _add_other(self, by_kind: dict[str, list[tuple[str, str]]]) -> None:
        """Masks that surely fit another image of the data set."""
        poor: dict[str, Copies] = {i: p.copies for i, p in self._placed().items() if p.copies is not None}
        owners = better_owners(poor) if 1 < len(poor) <= MAX_POOR else {}
        if owners:
            words = "the cells fit the image {} and not this one"
            by_kind["other"] = [(image_id, words.format(one_line(owner, 60))) for image_id, owner in owners.items()]

    def _add_wrapped(self, by_kind: dict[str, list[tuple[str, str]]]) -> None:
        """Cells at the left edge that begin on the row above: nearly all of them where run lengths count from 0."""
        wrapped = {image_id: signs.wrapped for image_id, signs in self.signs.items() if signs.wrapped}
        if sum(wrapped.values()) > WRAPPED * sum(signs.at_left for signs in self.signs.values()):
            words = "cells at the left edge that go on at the right edge: {}"
            by_kind["wrapped"] = [(image_id, words.format(count)) for image_id, count in wrapped.items()]

    def _unrelated(self) -> tuple[str, ...]:
        """Masks that have nothing to do with their pictures, as far as small copies tell."""
        placed = self._placed()
        cells = sum(self.signs[image_id].cells for image_id in placed)
        if len(placed) < UNRELATED_IMAGES or cells < UNRELATED_CELLS:
            return ()
        fit, rank = (float(np.mean([getattr(p, name) for p in placed.values()])) for name in ("fit", "rank"))
        if fit >= POOR or rank >= NO_BETTER:
            return ()
        first = one_line(next(iter(placed)), 60)
        words = "the cells fit their pictures no better than if they lay elsewhere on them"
        return (f"{words}: {_images(len(placed))} ({first} for one); {self._cause('unrelated')}",)

    def _shifted(self) -> tuple[str, ...]:
        """Masks that lie one pixel beside the edges of their pictures, where those are sharp."""
        shifts = [placement.shift for placement in self._placed().values()]
        for shift, side in ((1, "left"), (-1, "right")):
            count = shifts.count(shift)
            if count >= SHIFTED_IMAGES and count >= SHIFTED * len(shifts):
                return (f"cells that lie one pixel too far {side}: on {_images(count)}; {self._cause('shifted')}",)
        return ()

    def _placed(self) -> dict[str, Placement]:
        return {i: signs.placement for i, signs in self.signs.items() if signs.placement is not None}

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
        cause = self._cause(kind) or _cause_of_pieces(self.signs[image_id].cells)
        return f"{one_line(image_id, 60)}: {what}{more}; {cause}"

    def _cause(self, kind: str) -> str:
        """The likely cause, as this format has it or else any; empty where it depends on the image."""
        return self.causes.get(kind) or CAUSES.get(kind, "")


def _cause_of_pieces(cells: int) -> str:
    if cells == 1:
        return "is it a mask of all cells in place of a number for each?"
    if cells < 10:
        return "are they numbers of classes in place of cells?"
    return "are they grey levels: an image in place of labels, or the two folders swapped?"


def _images(count: int, more: str = "") -> str:
    return f"{count} {more}image{'s' if count > 1 else ''}"
