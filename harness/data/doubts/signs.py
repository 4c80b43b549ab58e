"""What tells of wrong labels on one image, and from which limits on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.contract import Sample
from harness.data.doubts.masks import (
    SPECK,
    count_inside,
    count_nearly_twins,
    count_pieces,
    count_twins,
    count_wrapped,
    is_hollow,
    is_uniform,
)
from harness.data.doubts.placement import Placement, placement_of

EXAMINED = 16
"""Cells of an image whose pieces are counted at most, evenly spread over it."""

IN_PIECES = 0.3
"""Share of cells in several pieces from which on they are no cells."""

EXTRA_PIECES = 3
"""So many pieces more than cells are needed besides: a single cell may be hidden in part."""

COVER, COVER_ALONE = 0.25, 0.5
"""Share of the image that a mask reaching all four edges may cover: beside other cells, and alone."""

SPECKS = 20
"""More than half of so many or more cells of SPECK pixels or fewer are noise."""

TWINS = 0.3
"""Share of cells with the mask of another cell from which on most are drawn twice."""

AROUND, AROUND_CELLS = 0.3, 5
"""Share of the other cells that lie inside one cell from which on that one is a region, and how many are needed."""

BOXES = 0.5
"""Share of boxes that lie elsewhere than their masks from which on one of them is wrong."""


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
        at_left: masks at the left edge.
        wrapped: those of them of which a column lies at the right edge.
        inside: the most cells that lie inside one far larger cell.
        blank: whether the image has one grey level.
        uniform: whether each cell has one grey level, and what lies around the cells too.
        numbers_used_up: whether the labels use all numbers that their bits can hold.
        most_of_class: cells of the most frequent class.
        placement: how masks lie on their picture, where that can be told.
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
    at_left: int = 0
    wrapped: int = 0
    inside: int = 0
    blank: bool = False
    uniform: bool = False
    numbers_used_up: bool = False
    most_of_class: int = 0
    placement: Placement | None = None

    def doubts(self) -> dict[str, str]:
        """Kind of doubt to what was found on the image, in words."""
        found = {}
        if self.numbers_used_up:
            found["numbers"] = f"the labels of {self.cells} cells use up the numbers of 8 bits"
        if self.blank:
            found["blank"] = f"the image is of one grey level and has {self.cells} cells"
        elif self.uniform:
            found["uniform"] = "each cell has one grey level, and so has all around the cells"
        if self.inside >= max(AROUND_CELLS, AROUND * (self.cells - 1)):
            found["around"] = f"one cell lies around {self.inside} of {self.cells - 1} others"
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
        if not found and self.placement is not None and self.placement.turned:
            found["turned"] = f"the cells fit the picture {self.placement.turned}, and not as they are"
        return found


def signs_of(
    sample: Sample, boxes: int = 0, contradicted: int = 0, outside: int = 0, numbers_used_up: bool = False
) -> Signs:
    """Count what tells of wrong labels. The arguments are as in Signs, where the reader knows them."""
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
    areas = masks.areas()
    pieces = [count_pieces(masks, i) for i in examined.tolist()]
    hollow = [is_hollow(masks, i, int(areas[i])) for i in examined.tolist()]
    twins = count_twins(masks)
    uniform = len(masks) > 1 and is_uniform(sample.image, masks, spread.tolist())
    return Signs(
        cells=len(masks),
        examined=len(examined),
        in_pieces=sum(n > 1 for n in pieces),
        extra_pieces=sum(pieces) - len(pieces),
        cover=float(areas[whole].max(initial=0)) / (height * width),
        specks=int((areas[tiny] <= SPECK).sum()),
        twins=twins,
        boxes=boxes,
        contradicted=contradicted,
        nearly_twins=max(count_nearly_twins(masks, areas) - twins, 0),
        hollow=sum(hollow),
        rings=sum(h and (n >= EXTRA_PIECES or i in whole) for i, n, h in zip(examined, pieces, hollow, strict=True)),
        reach=float((masks.boxes[:, 2:] / (width, height)).max()),
        outside=outside,
        filled=int(((areas == sides.prod(axis=1)) & (sides > SPECK).all(axis=1)).sum()),
        at_left=int((masks.boxes[:, 0] == 0).sum()),
        wrapped=count_wrapped(masks, width),
        inside=count_inside(masks, areas),
        blank=uniform and bool((sample.image == sample.image.flat[0]).all()),
        uniform=uniform,
        numbers_used_up=numbers_used_up,
        most_of_class=int(np.bincount(sample.instances.labels).max()),
        placement=placement_of(sample.image, masks),
    )
