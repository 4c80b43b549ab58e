"""Many masks, each cropped to its own box: the shape that annotations and predictions travel in.

790 cells on a 520x704 image are 289 MB as H x W planes and about 0.3 MB as crops. Crops may overlap and have holes,
which a label map cannot express. All crops of an image lie end to end in one byte array, so that a set of masks is
three arrays whatever its size: it slices, concatenates, caches and maps from disk as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SMALL_LABELS, PIXELS_OF_LABEL = 2**16, 16
"""A list as long as the largest label is worth it up to here, and up to one label for so many pixels."""

COUNTED_AT_ONCE = 2**22
"""Pixels of boxes that are counted at once: each that is set takes eight bytes meanwhile."""


@dataclass(frozen=True, slots=True, eq=False)
class CropMasks:
    """N binary masks, each stored inside its box only.

    Attributes:
        boxes: (N, 4) int32, x0 y0 x1 y1 in pixels, half open, inside the image; a box need not be tight.
        pixels: (sum of box areas,) uint8 of 0 and 1; crop i is row-major in pixels[offsets[i]:offsets[i + 1]].
        offsets: (N + 1,) int64.
    """

    boxes: NDArray[np.int32]
    pixels: NDArray[np.uint8]
    offsets: NDArray[np.int64]

    @staticmethod
    def empty() -> CropMasks:
        return CropMasks(np.zeros((0, 4), np.int32), np.zeros(0, np.uint8), np.zeros(1, np.int64))

    @staticmethod
    def from_crops(boxes: NDArray[np.integer] | Sequence[Sequence[int]], crops: Sequence[NDArray]) -> CropMasks:
        """From N boxes and N crops of shape (y1 - y0, x1 - x0), any dtype; non-zero is inside.

        Raises ValueError where a crop's shape is not its box's.
        """
        box_array = np.asarray(boxes, np.int32).reshape(-1, 4)
        if len(box_array) != len(crops):
            raise ValueError(f"{len(box_array)} boxes for {len(crops)} crops")
        for i, (box, crop) in enumerate(zip(box_array.tolist(), crops, strict=True)):
            if crop.shape != (box[3] - box[1], box[2] - box[0]):
                raise ValueError(f"crop {i} has shape {crop.shape}, its box {box}")
        flat = [np.ascontiguousarray(crop != 0).view(np.uint8).ravel() for crop in crops]
        pixels = np.concatenate(flat) if flat else np.zeros(0, np.uint8)
        return CropMasks(box_array, pixels, crop_offsets(box_array))

    @staticmethod
    def from_planes(planes: NDArray) -> CropMasks:
        """From a dense (N, H, W) array; for tests and small inputs. Every plane must hold a pixel."""
        boxes, crops = [], []
        for plane in np.asarray(planes) != 0:
            box = extent(plane)
            if box is None:
                raise ValueError("an empty mask has no box")
            boxes.append(box)
            crops.append(plane[box[1] : box[3], box[0] : box[2]])
        return CropMasks.from_crops(boxes, crops)

    @staticmethod
    def from_label_image(labels: NDArray[np.integer]) -> tuple[CropMasks, NDArray[np.int64]]:
        """One mask per distinct non-zero value of an (H, W) label image; also the values, ascending."""
        boxes, values = label_boxes(labels)
        each = zip(boxes.tolist(), values.tolist(), strict=True)
        crops = [labels[y0:y1, x0:x1] == value for (x0, y0, x1, y1), value in each]
        return CropMasks.from_crops(boxes, crops), values

    @staticmethod
    def concatenate(parts: Sequence[CropMasks]) -> CropMasks:
        boxes = np.concatenate([p.boxes for p in parts]) if parts else np.zeros((0, 4), np.int32)
        return _end_to_end(boxes, [p.pixels for p in parts])

    def __len__(self) -> int:
        return len(self.boxes)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return (self.crop(i) for i in range(len(self)))

    def crop(self, i: int) -> NDArray[np.uint8]:
        """Mask i as a (y1 - y0, x1 - x0) view of 0 and 1."""
        x0, y0, x1, y1 = self.boxes[i].tolist()
        return self.pixels[self.offsets[i] : self.offsets[i + 1]].reshape(y1 - y0, x1 - x0)

    def parts(self, most: int) -> Iterator[tuple[int, CropMasks]]:
        """The masks in runs of one at least and of at most so many pixels of boxes: number of the first, and a view."""
        first, last = 0, len(self)
        while first < len(self):
            begin = self.offsets[first]
            if self.offsets[-1] - begin > most:
                last = max(first + 1, int(self.offsets.searchsorted(begin + most, side="right")) - 1)
            else:
                last = len(self)
            offsets = self.offsets[first : last + 1] - begin
            yield first, CropMasks(self.boxes[first:last], self.pixels[begin : self.offsets[last]], offsets)
            first = last

    def areas(self) -> NDArray[np.int64]:
        """(N,) set pixels of each mask."""
        if len(self.pixels) > COUNTED_AT_ONCE and len(self) > 1:
            return np.concatenate([part.areas() for _, part in self.parts(COUNTED_AT_ONCE)])
        ends = self.pixels.view(np.bool_).nonzero()[0].searchsorted(self.offsets)
        return ends[1:] - ends[:-1]

    def select(self, index: NDArray[np.integer] | NDArray[np.bool_] | Sequence[int]) -> CropMasks:
        """The masks at an index array or where a boolean array is true, in that order."""
        picked = np.arange(len(self))[np.asarray(index, dtype=None if len(index) else np.int64)]
        begin, end = self.offsets[picked].tolist(), self.offsets[picked + 1].tolist()
        return _end_to_end(self.boxes[picked], [self.pixels[a:b] for a, b in zip(begin, end, strict=True)])

    def crop_to(self, index: NDArray[np.integer], boxes: NDArray[np.integer]) -> CropMasks:
        """The masks at an (M,) index array, cut to (M, 4) boxes that lie inside their own."""
        old = self.boxes[index]
        begin, end = self.offsets[index].tolist(), self.offsets[index + 1].tolist()
        wide, inner = (old[:, 2] - old[:, 0]).tolist(), (boxes - old[:, [0, 1, 0, 1]]).tolist()
        # for so few pixels, slicing views is quicker than indexing each pixel
        pieces = [
            self.pixels[a:b].reshape(-1, w)[y0:y1, x0:x1].ravel()
            for a, b, w, (x0, y0, x1, y1) in zip(begin, end, wide, inner, strict=True)
        ]
        return _end_to_end(boxes, pieces)

    def flip(self, height: int, width: int, horizontal: bool, vertical: bool) -> CropMasks:
        """The masks in an image of that size after it is mirrored left to right, top to bottom, or both."""
        boxes = flip_boxes(self.boxes, height, width, horizontal, vertical)
        along_x, along_y = (-1 if horizontal else 1), (-1 if vertical else 1)
        wide, offsets = (boxes[:, 2] - boxes[:, 0]).tolist(), self.offsets.tolist()
        pieces = [
            self.pixels[a:b].reshape(-1, w)[::along_y, ::along_x].ravel()
            for a, b, w in zip(offsets[:-1], offsets[1:], wide, strict=True)
        ]
        return _end_to_end(boxes, pieces)

    def tight(self, among: NDArray[np.integer] | None = None) -> tuple[CropMasks, NDArray[np.int64]]:
        """The non-empty masks with boxes shrunk to their pixels, and their (M,) indices here.

        Args:
            among: ascending indices of the masks whose boxes may not be tight; all where it is None.
        """
        some = self if among is None else self.select(among)
        where, counts, row = some._set_rows()
        kept = counts.nonzero()[0]
        boxes = some._boxes_of(where, counts, row, kept)
        if among is not None:
            all_boxes, full = self.boxes.copy(), np.ones(len(self), np.bool_)
            all_boxes[among[kept]], full[among] = boxes, counts > 0
            kept = full.nonzero()[0]
            boxes = all_boxes[kept]
        if len(kept) == len(self) and (boxes == self.boxes).all():
            return self, kept
        return self.crop_to(kept, boxes), kept

    def _boxes_of(
        self, where: NDArray[np.int64], counts: NDArray[np.int64], row: NDArray[np.int64], kept: NDArray[np.int64]
    ) -> NDArray[np.int32]:
        """Tight (M, 4) boxes of the masks that have pixels, `kept`. where, counts, row: from _set_rows."""
        if not len(kept):
            return np.zeros((0, 4), np.int32)
        x0, y0, x1 = self.boxes[:, 0], self.boxes[:, 1], self.boxes[:, 2]
        column = where - row * (x1 - x0).repeat(counts) - self.offsets[:-1].repeat(counts)
        end = counts.cumsum()[kept]
        begin = end - counts[kept]
        boxes = np.empty((len(kept), 4), np.int32)
        boxes[:, 0], boxes[:, 1] = np.minimum.reduceat(column, begin), row[begin]
        boxes[:, 2], boxes[:, 3] = np.maximum.reduceat(column, begin) + 1, row[end - 1] + 1
        boxes[:, ::2] += x0[kept, None]
        boxes[:, 1::2] += y0[kept, None]
        return boxes

    def remap(
        self,
        index: NDArray[np.integer],
        boxes: NDArray[np.integer],
        rows: NDArray[np.integer],
        cols: NDArray[np.integer],
    ) -> CropMasks:
        """The masks at an index array in another image, whose pixel (y, x) shows pixel (rows[y], cols[x]) of this one.

        Args:
            index: (M,) masks to take.
            boxes: (M, 4), where each lies in the other image. Every pixel of a box must come from its mask's box here.
            rows: row of this image for each row of the other.
            cols: column of this image for each column of the other.
        """
        old, new = self.boxes[index].astype(np.int64), boxes.astype(np.int64)
        heights, widths = new[:, 3] - new[:, 1], new[:, 2] - new[:, 0]
        spans = old[:, 2] - old[:, 0]
        # for every row of every crop: its mask, and where in `pixels` column 0 of the image would be
        owner = np.arange(len(new)).repeat(heights)
        y = np.arange(len(owner)) - (heights.cumsum() - heights - new[:, 1])[owner]
        start = (self.offsets[:-1][index] - old[:, 0] - old[:, 1] * spans)[owner] + rows[y] * spans[owner]
        across = widths[owner]
        end = across.cumsum()
        x = np.arange(end[-1] if len(end) else 0) - (end - across - new[:, 0][owner]).repeat(across)
        pixels = self.pixels[start.repeat(across) + cols[x]]
        return CropMasks(boxes.astype(np.int32), pixels, crop_offsets(boxes))

    def set_pixels(self, width: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Every set pixel: its row-major index in an image of that width, and which mask it belongs to.

        Two (P,) int64 arrays, masks in order. Overlaps are counted by joining them with a label image or with those of
        another set, without a plane per mask.
        """
        index, counts = self.pixel_index(width)
        return index, np.arange(len(self)).repeat(counts)

    def pixel_index(self, width: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Every set pixel's row-major index in an image of that width, masks in order; and how many each mask has.

        (P,) and (N,) int64; the pixels of a mask ascend. No pixel needs a division, which would be slow.
        """
        where, counts, index = self._set_rows()
        x0, y0, x1, _ = self.boxes.T.astype(np.int64)
        index *= (width - (x1 - x0)).repeat(counts)
        index += where
        index += (y0 * width + x0 - self.offsets[:-1]).repeat(counts)
        return index, counts

    def _set_rows(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Index in `pixels` of every set pixel, how many each mask has, and the row of every set pixel in its crop."""
        where = self.pixels.view(np.bool_).nonzero()[0]
        ends = where.searchsorted(self.offsets)
        counts = ends[1:] - ends[:-1]
        span, first = np.maximum(self.boxes[:, 2] - self.boxes[:, 0], 1).astype(np.float64), self.offsets[:-1]
        # (where - first) // span by multiplication; half a pixel keeps clear of integers, so rounding cannot matter
        row = where * (1.0 / span).repeat(counts)
        row += ((0.5 - first) / span).repeat(counts)
        return where, counts, row.astype(np.int64)

    def planes(self, height: int, width: int) -> NDArray[np.uint8]:
        """Dense (N, H, W): N x H x W bytes. For tests and for other libraries that need planes."""
        dense = np.zeros((len(self), height, width), np.uint8)
        for plane, box, crop in zip(dense, self.boxes.tolist(), self, strict=True):
            plane[box[1] : box[3], box[0] : box[2]] = crop
        return dense


def flip_boxes(
    boxes: NDArray[np.int32], height: int, width: int, horizontal: bool, vertical: bool
) -> NDArray[np.int32]:
    """(N, 4) boxes in an image of that size after it is mirrored left to right, top to bottom, or both."""
    mirrored = boxes.copy()
    if horizontal:
        mirrored[:, 0], mirrored[:, 2] = width - boxes[:, 2], width - boxes[:, 0]
    if vertical:
        mirrored[:, 1], mirrored[:, 3] = height - boxes[:, 3], height - boxes[:, 1]
    return mirrored


def label_boxes(labels: NDArray[np.integer]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """(N, 4) tight boxes of the distinct non-zero values of an (H, W) label image, and the values, ascending."""
    from scipy import ndimage

    numbers = None
    if labels.min(initial=0) < 0 or labels.max(initial=0) > max(labels.size // PIXELS_OF_LABEL, SMALL_LABELS):
        # a list as long as the largest value would be out of proportion: they are numbered anew, and 0 stays 0
        numbers = np.unique(labels[labels != 0]).astype(np.int64)
        labels = np.where(labels == 0, 0, np.searchsorted(numbers, labels) + 1)
    found = [(k, where) for k, where in enumerate(ndimage.find_objects(labels), start=1) if where is not None]
    boxes = [(columns.start, rows.start, columns.stop, rows.stop) for _, (rows, columns) in found]
    values = np.asarray([k for k, _ in found], np.int64)
    return np.asarray(boxes, np.int32).reshape(-1, 4), values if numbers is None else numbers[values - 1]


def crop_offsets(boxes: NDArray[np.integer]) -> NDArray[np.int64]:
    """(N + 1,) offsets of crops of these (N, 4) boxes laid end to end."""
    offsets = np.zeros(len(boxes) + 1, np.int64)
    sizes = (boxes[:, 2] - boxes[:, 0]).astype(np.int64) * (boxes[:, 3] - boxes[:, 1])
    sizes.cumsum(out=offsets[1:])
    return offsets


def _end_to_end(boxes: NDArray[np.integer], pieces: Sequence[NDArray[np.uint8]]) -> CropMasks:
    """The masks of these boxes from the flat pixels of each."""
    pixels = np.concatenate(pieces) if pieces else np.zeros(0, np.uint8)
    return CropMasks(boxes.astype(np.int32, copy=False), pixels, crop_offsets(boxes))


def extent(mask: NDArray) -> tuple[int, int, int, int] | None:
    """x0, y0, x1, y1 (half open) of the non-zero pixels of an (H, W) array; None where there are none."""
    rows = np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return None
    cols = np.flatnonzero(mask.any(axis=0))
    return int(cols[0]), int(rows[0]), int(cols[-1]) + 1, int(rows[-1]) + 1
