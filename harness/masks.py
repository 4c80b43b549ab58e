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


@dataclass(frozen=True, slots=True, eq=False)
class CropMasks:
    """N binary masks, each stored inside its box only.

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
        return CropMasks(box_array, pixels, offsets_of(box_array))

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
        from scipy import ndimage

        values, compact = np.unique(labels, return_inverse=True)
        compact = compact.reshape(labels.shape).astype(np.int32)
        if len(values) and values[0] != 0:
            compact += 1  # no background: np.unique numbered a real label 0
        else:
            values = values[1:]
        boxes, crops = [], []
        for index, where in enumerate(ndimage.find_objects(compact)):
            rows, cols = where
            boxes.append((cols.start, rows.start, cols.stop, rows.stop))
            crops.append(compact[where] == index + 1)
        return CropMasks.from_crops(boxes, crops), values.astype(np.int64)

    @staticmethod
    def concatenate(parts: Sequence[CropMasks]) -> CropMasks:
        boxes = np.concatenate([p.boxes for p in parts]) if parts else np.zeros((0, 4), np.int32)
        pixels = np.concatenate([p.pixels for p in parts]) if parts else np.zeros(0, np.uint8)
        return CropMasks(boxes, pixels, offsets_of(boxes))

    def __len__(self) -> int:
        return len(self.boxes)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return (self.crop(i) for i in range(len(self)))

    def crop(self, i: int) -> NDArray[np.uint8]:
        """Mask i as a (y1 - y0, x1 - x0) view of 0 and 1."""
        x0, y0, x1, y1 = self.boxes[i].tolist()
        return self.pixels[self.offsets[i] : self.offsets[i + 1]].reshape(y1 - y0, x1 - x0)

    def areas(self) -> NDArray[np.int64]:
        """(N,) set pixels of each mask."""
        return np.diff(np.searchsorted(np.flatnonzero(self.pixels.view(np.bool_)), self.offsets))

    def select(self, index: NDArray[np.integer] | NDArray[np.bool_] | Sequence[int]) -> CropMasks:
        """The masks at an index array or where a boolean array is true, in that order."""
        picked = np.arange(len(self))[np.asarray(index, dtype=None if len(index) else np.int64)]
        boxes = self.boxes[picked]
        pieces = [self.pixels[self.offsets[i] : self.offsets[i + 1]] for i in picked.tolist()]
        pixels = np.concatenate(pieces) if pieces else np.zeros(0, np.uint8)
        return CropMasks(boxes, pixels, offsets_of(boxes))

    def tight(self) -> tuple[CropMasks, NDArray[np.int64]]:
        """The non-empty masks with boxes shrunk to their pixels, and their (M,) indices here."""
        where, counts, row = self._set_rows()
        kept = np.flatnonzero(counts)
        if not len(kept):
            return CropMasks.empty(), kept
        x0, y0, x1, _ = self.boxes.T.astype(np.int64)
        column = where - row * np.repeat(x1 - x0, counts) - np.repeat(self.offsets[:-1], counts)
        end = np.cumsum(counts)[kept]
        begin = end - counts[kept]
        left, right = np.minimum.reduceat(column, begin), np.maximum.reduceat(column, begin)
        boxes = np.stack([left, row[begin], right + 1, row[end - 1] + 1], axis=1)
        boxes += np.stack([x0, y0, x0, y0], axis=1)[kept]
        if np.array_equal(boxes, self.boxes):
            return self, kept
        width, height = boxes[:, 2:].max(axis=0)
        return self.looked_up(kept, boxes, np.arange(height), np.arange(width)), kept

    def looked_up(
        self,
        index: NDArray[np.integer],
        boxes: NDArray[np.integer],
        rows: NDArray[np.integer],
        cols: NDArray[np.integer],
    ) -> CropMasks:
        """The masks at an index array in another image, whose pixel (y, x) shows pixel (rows[y], cols[x]) of this one.

        boxes: (M, 4), where each lies there; all that a box shows must be inside its mask's box here.
        """
        old, new = self.boxes[index].astype(np.int64), boxes.astype(np.int64)
        heights, widths = new[:, 3] - new[:, 1], new[:, 2] - new[:, 0]
        # every row of every crop: whose it is, and where in `pixels` column 0 of the image would be
        owner = np.repeat(np.arange(len(new)), heights)
        y = np.arange(len(owner)) - np.repeat(np.cumsum(heights) - heights - new[:, 1], heights)
        first = self.offsets[:-1][index] - old[:, 0] - old[:, 1] * (old[:, 2] - old[:, 0])
        start = first[owner] + rows[y] * (old[:, 2] - old[:, 0])[owner]
        across = widths[owner]
        x = np.arange(across.sum()) - np.repeat(np.cumsum(across) - across - new[owner, 0], across)
        pixels = self.pixels[np.repeat(start, across) + cols[x]]
        return CropMasks(boxes.astype(np.int32), pixels, offsets_of(boxes))

    def set_pixels(self, width: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Every set pixel: its row-major index in an image of that width, and which mask it belongs to.

        Two (P,) int64 arrays, masks in order. The join of these with a label map or with another set's is how
        overlaps are counted without a plane per mask.
        """
        index, counts = self.pixel_index(width)
        return index, np.repeat(np.arange(len(self)), counts)

    def pixel_index(self, width: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Every set pixel's row-major index in an image of that width, masks in order; and how many each mask has.

        (P,) and (N,) int64; the pixels of a mask ascend. It does without a division a pixel.
        """
        where, counts, index = self._set_rows()
        x0, y0, x1, _ = self.boxes.T.astype(np.int64)
        index *= np.repeat(width - (x1 - x0), counts)
        index += where
        index += np.repeat(y0 * width + x0 - self.offsets[:-1], counts)
        return index, counts

    def _set_rows(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Every set pixel's place in `pixels`; how many each mask has; every set pixel's row in its crop."""
        where = np.flatnonzero(self.pixels.view(np.bool_))
        counts = np.diff(np.searchsorted(where, self.offsets))
        span, first = np.maximum(self.boxes[:, 2] - self.boxes[:, 0], 1).astype(np.float64), self.offsets[:-1]
        # it is (where - first) // span; half a pixel keeps clear of the integers, so rounding is harmless
        row = where * np.repeat(1.0 / span, counts)
        row += np.repeat((0.5 - first) / span, counts)
        return where, counts, row.astype(np.int64)

    def planes(self, height: int, width: int) -> NDArray[np.uint8]:
        """Dense (N, H, W): N x H x W bytes. For tests and for code of others that wants planes."""
        dense = np.zeros((len(self), height, width), np.uint8)
        for plane, box, crop in zip(dense, self.boxes.tolist(), self, strict=True):
            plane[box[1] : box[3], box[0] : box[2]] = crop
        return dense


def offsets_of(boxes: NDArray[np.integer]) -> NDArray[np.int64]:
    """(N + 1,) offsets of crops of these (N, 4) boxes laid end to end."""
    sizes = (boxes[:, 2] - boxes[:, 0]).astype(np.int64) * (boxes[:, 3] - boxes[:, 1])
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])


def extent(mask: NDArray) -> tuple[int, int, int, int] | None:
    """x0, y0, x1, y1 (half open) of the non-zero pixels of an (H, W) array; None where there are none."""
    rows = np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return None
    cols = np.flatnonzero(mask.any(axis=0))
    return int(cols[0]), int(rows[0]), int(cols[-1]) + 1, int(rows[-1]) + 1
