"""Where the set pixels of masks are in their image: held where there are few, else found again a part at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.masks.crops import CropMasks

MAX_HELD = 2**24
"""Most pixels of boxes whose index is held: eight bytes for each that is set."""

PART = 2**22
"""Most pixels of boxes that are looked at together where the index is not held."""


@dataclass(frozen=True, slots=True, eq=False)
class MaskPixels:
    """The set pixels of N masks, made ready where the same masks are looked at several times.

    masks: N masks in an image of `width` pixels. counts, ends: (N,) int64, set pixels of each, and their running sum.
    held: (P,) int64, the index of all of them (see `parts`); None where that would take much memory.
    """

    masks: CropMasks
    width: int
    counts: NDArray[np.int64]
    ends: NDArray[np.int64]
    held: NDArray[np.int64] | None

    @staticmethod
    def of(masks: CropMasks, width: int) -> MaskPixels:
        """The pixels of these masks in an image of that width."""
        if len(masks.pixels) > MAX_HELD:
            counts = masks.areas()
            return MaskPixels(masks, width, counts, np.cumsum(counts), None)
        index, counts = masks.pixel_index(width)
        return MaskPixels(masks, width, counts, np.cumsum(counts), index)

    def parts(self) -> Iterator[tuple[slice, NDArray[np.int64]]]:
        """All masks, some at a time: which, and their set pixels' row-major (P,) index in the image, masks in order."""
        if self.held is not None:
            yield slice(0, len(self.masks)), self.held
            return
        for first, part in self.masks.parts(PART):
            yield slice(first, first + len(part)), part.pixel_index(self.width)[0]

    def of_mask(self, number: int) -> NDArray[np.int64]:
        """The index of one mask's pixels."""
        if self.held is None:
            x0, y0, _, _ = self.masks.boxes[number].tolist()
            y, x = np.nonzero(self.masks.crop(number))
            return (y + y0) * self.width + x + x0
        return self.held[self.ends[number] - self.counts[number] : self.ends[number]]

    def all(self) -> NDArray[np.int64]:
        """The index of all pixels."""
        if self.held is not None:
            return self.held
        return np.concatenate([index for _, index in self.parts()])
