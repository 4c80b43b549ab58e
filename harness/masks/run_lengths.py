"""Run lengths to cropped masks, all masks of an image at once, without a plane per mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError
from harness.masks.crops import CropMasks
from harness.masks.rle import crops_of_runs, decode_counts, transpose

MAX_COVER = 256
"""Most times that the boxes of an image's cells may cover it. Crowded real images stay under 20."""


def check_runs(
    starts: NDArray[np.int64], stops: NDArray[np.int64], owner: NDArray[np.int64], pixels: int
) -> dict[int, str]:
    """What is wrong, by index of the mask.

    Args:
        starts: (R,) first pixel of each run.
        stops: (R,) pixel after its last.
        owner: (R,) index of the mask that a run belongs to, ascending.
        pixels: how many the image has.
    """
    same = owner[1:] == owner[:-1]
    backwards = np.flatnonzero(same & (starts[1:] < starts[:-1])) + 1
    overlapping = np.flatnonzero(same & (starts[1:] >= starts[:-1]) & (starts[1:] < stops[:-1])) + 1
    faults: dict[int, str] = {}
    for i in np.flatnonzero((starts < 0) | (stops > pixels)).tolist():
        faults.setdefault(
            int(owner[i]), f"a run of pixels {starts[i]} to {stops[i]} lies outside the {pixels} there are"
        )
    for i in np.flatnonzero(stops <= starts).tolist():
        faults.setdefault(int(owner[i]), "a run length is not positive")
    for i in backwards.tolist():
        faults.setdefault(int(owner[i]), f"runs are not sorted: {starts[i]} comes after {starts[i - 1]}")
    for i in overlapping.tolist():
        faults.setdefault(
            int(owner[i]), f"runs overlap: one starts at {starts[i]}, the one before ends at {stops[i - 1]}"
        )
    return faults


def masks_of_pairs(texts: list[str], height: int, width: int) -> tuple[CropMasks, dict[int, str]]:
    """Masks of Kaggle's run lengths, "start length start length ...", 1-indexed and row-major.

    Args:
        texts: one for each cell of an image.
        height: of the image, in pixels; width too.

    Returns:
        The masks of the good cells, in order, and what is wrong with the others by index.
    """
    joined = " ".join(texts)
    faults: dict[int, str] = {}
    if _plain(joined):
        counts = np.array([text.count(" ") + 1 for text in texts], np.int64)
    else:
        faults = {
            i: "run lengths hold something other than digits and spaces" for i, t in enumerate(texts) if _foreign(t)
        }
        counts = np.array([0 if i in faults else len(text.split()) for i, text in enumerate(texts)], np.int64)
        faults |= {i: "an empty mask: no run length" for i in np.flatnonzero(counts == 0).tolist() if i not in faults}
    for i in np.flatnonzero(counts % 2).tolist():
        faults[i] = f"an odd number of run lengths: {counts[i]}; they come in pairs of start and length"
    if faults:
        counts[list(faults)] = 0
        joined = " ".join(text for i, text in enumerate(texts) if counts[i])
    # numbers beyond int64 saturate; clipping keeps the sum of two in range and still outside every image
    pairs = np.fromstring(joined, np.int64, sep=" ").clip(0, 2**40).reshape(-1, 2)
    starts, owner = pairs[:, 0] - 1, np.repeat(np.arange(len(texts)), counts // 2)
    for i in owner[starts < 0].tolist():
        faults[i] = "a run begins at pixel 0, outside the image: run lengths count from 1 here"
    return _good_masks(starts, starts + pairs[:, 1], owner, faults, height, width)


def _foreign(text: str, spaces: bytes = b" \t\r\n") -> bool:
    """Whether there is anything but digits and white space."""
    return not text.isascii() or bool(text.encode("ascii").translate(None, b"0123456789" + spaces))


def _plain(joined: str) -> bool:
    """Whether there are only numbers, each with one space before the next."""
    return not (joined[:1] in ("", " ") or joined[-1] == " " or "  " in joined or _foreign(joined, b" "))


def masks_of_counts(counts: dict[int, NDArray[np.int64]], height: int, width: int) -> tuple[CropMasks, dict[int, str]]:
    """Masks of COCO's alternating column-major run lengths, background first.

    Args:
        counts: run lengths by index of the cell, ascending.
        height: of the image, in pixels; width too.

    Returns:
        The masks of the good cells, in order, and what is wrong with the others by index.
    """
    faults: dict[int, str] = {}
    starts, stops, owner = [], [], []
    for i, runs in counts.items():
        ends = np.cumsum(runs)
        begin, end = ends[0:-1:2], ends[1::2]
        filled = begin != end
        if not filled.any():
            faults[i] = "an empty mask"
        if runs.min(initial=0) < 0:
            faults[i] = "a negative run length"
        elif len(ends) and not 0 <= ends[-1] <= height * width:
            faults[i] = f"run lengths cover {ends[-1]} pixels of an image of {height * width}"
        starts.append(begin[filled])
        stops.append(end[filled])
        owner.append(np.full(np.count_nonzero(filled), i))
    if not starts:
        return CropMasks.empty(), faults
    # columns are read as if they were rows; each crop is transposed afterwards
    masks, faults = _good_masks(
        np.concatenate(starts), np.concatenate(stops), np.concatenate(owner), faults, width, height
    )
    return transpose(masks), faults


def counts_of_text(text: str, height: int, width: int) -> NDArray[np.int64]:
    """COCO's compressed run lengths of one mask. Raises HarnessError on text that is not such."""
    runs = decode_counts(text)
    if runs.max() > height * width:
        raise HarnessError(f"a run of {runs.max()} pixels in an image of {height * width}")
    return runs


def _good_masks(
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    owner: NDArray[np.int64],
    faults: dict[int, str],
    height: int,
    width: int,
) -> tuple[CropMasks, dict[int, str]]:
    faults = {**check_runs(starts, stops, owner, height * width), **faults}
    if faults:
        good = ~np.isin(owner, list(faults))
        starts, stops, owner = starts[good], stops[good], owner[good]
    owner = np.cumsum(np.diff(owner, prepend=owner[:1]) > 0)  # 0..N-1 without gaps
    return crops_of_runs(starts, stops, owner, width, MAX_COVER * height * width), faults
