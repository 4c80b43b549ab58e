"""Run lengths, and COCO's compressed text of them: all masks of an image at once, without a plane per mask.

COCO's run lengths go down the columns, background first. As text each value is written in base 32, low digit first, as
characters from '0'; bit 5 means that more follow, bit 4 of the last is the sign; from the fourth on values are
differences to the one two before (pycocotools' format).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError
from harness.masks.crops import CropMasks, crop_offsets

BOX_LIMIT = 2**30
"""Most pixels that the boxes of one image may have together. A few bytes of run lengths can claim a whole image."""

_MAX_DIGITS = 12
"""Base-32 digits of one value in text: 60 bits."""


def to_rle(masks: CropMasks, height: int, width: int) -> list[str]:
    """COCO's compressed run lengths of each mask in an image of this size, as ASCII text."""
    if not len(masks):
        return []
    start, stop, owner = _runs_down(masks, height)
    # where a crop is as high as the image, a run may continue in the next column
    continued = np.flatnonzero((start[1:] == stop[:-1]) & (owner[1:] == owner[:-1]))
    if len(continued):
        start, stop, owner = np.delete(start, continued + 1), np.delete(stop, continued), np.delete(owner, continued)
    each = np.bincount(owner, minlength=len(masks))
    # start, stop, start, stop ... and the end of the image, which a mask may reach by itself
    edges = np.empty(2 * len(start) + len(masks), np.int64)
    first = 2 * (np.cumsum(each) - each) + np.arange(len(masks))
    at = 2 * np.arange(len(start)) + owner
    edges[at], edges[at + 1] = start, stop
    last = first + 2 * each
    edges[last] = height * width
    counts = np.diff(edges, prepend=0)
    counts[first] = edges[first]
    keep = np.ones(len(edges), np.bool_)
    keep[last] = (counts[last] > 0) | (each == 0)
    return _texts(counts[keep], 2 * each + keep[last])


def from_rle(texts: Sequence[str], height: int, width: int) -> CropMasks:
    """The masks of COCO's compressed run lengths, tight.

    Raises HarnessError on one that is empty or does not fit. The size is checked from the runs before anything of the
    image's size is made, so a short text cannot claim a huge image.
    """
    if not texts:
        return CropMasks.empty()
    counts, each = _counts(texts)
    # no single run may be beyond the image before runs are added up: a sum of huge ones could wrap around
    first = np.cumsum(each) - each
    for i in np.flatnonzero(np.maximum.reduceat(counts, first) > height * width).tolist():
        raise HarnessError(f"run lengths {i} cover more pixels than an image of {height}x{width} has")
    ends = np.cumsum(counts)
    before = ends[first] - counts[first]
    ends -= np.repeat(before, each)
    for i in np.flatnonzero(ends[first + each - 1] > height * width).tolist():
        raise HarnessError(f"run lengths {i} cover more pixels than an image of {height}x{width} has")
    place = np.arange(len(counts)) - np.repeat(first, each)
    filled = np.flatnonzero((place % 2 == 1) & (counts > 0))
    owner = np.repeat(np.arange(len(texts)), each)[filled]
    for i in np.flatnonzero(np.bincount(owner, minlength=len(texts)) == 0).tolist():
        raise HarnessError(f"run lengths {i} hold no pixel")
    # columns are read as if they were rows; each crop is transposed afterwards
    return transpose(crops_of_runs(ends[filled] - counts[filled], ends[filled], owner, height, BOX_LIMIT))


def decode_counts(text: str) -> NDArray[np.int64]:
    """COCO's compressed text of one mask as (R,) run lengths. Raises HarnessError on text that is not such."""
    return _counts([text])[0]


def crops_of_runs(
    starts: NDArray[np.int64], stops: NDArray[np.int64], owner: NDArray[np.int64], width: int, limit: int
) -> CropMasks:
    """The tight masks of row-major, half open runs inside the image that ascend and do not overlap within a mask.

    Owners are 0..N-1, ascending, each with a run or more. Raises HarnessError where the boxes together have more than
    `limit` pixels.
    """
    if not len(starts):
        return CropMasks.empty()
    first, last = starts // width, (stops - 1) // width
    rows_each = last - first + 1
    if rows_each.max() > 1:  # a run may continue in the next row: split it there
        piece = np.repeat(np.arange(len(starts)), rows_each)
        row = first[piece] + np.arange(len(piece)) - np.repeat(np.cumsum(rows_each) - rows_each, rows_each)
        left = np.maximum(starts[piece] - row * width, 0)
        right = np.minimum(stops[piece] - row * width, width)
        owner = owner[piece]
    else:
        row, left, right = first, starts - first * width, stops - first * width
    begin = np.searchsorted(owner, np.arange(owner[-1] + 1))
    x0, y0 = np.minimum.reduceat(left, begin), np.minimum.reduceat(row, begin)
    x1, y1 = np.maximum.reduceat(right, begin), np.maximum.reduceat(row, begin) + 1
    boxes = np.stack([x0, y0, x1, y1], axis=1).astype(np.int32)
    offsets = crop_offsets(boxes)
    if offsets[-1] > limit:
        raise HarnessError(f"the boxes of its {len(boxes)} masks hold more than {limit:,} pixels")
    base = offsets[owner] + (row - y0[owner]) * (x1 - x0)[owner] - x0[owner]
    # no two runs share a start or an end, so that plain indexing flips each place once
    flips = np.zeros(offsets[-1] // 8 * 8 + 8, np.uint8)
    flips[base + left] = 1
    flips[base + right] ^= 1
    return CropMasks(boxes, _running_parity(flips)[: offsets[-1]], offsets)


def _running_parity(flips: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Whether the number of ones up to and including each place is odd, computed in place. (8 n,) of 0 and 1.

    The same as np.bitwise_xor.accumulate(flips), with eight bytes at a time in a word of 64 bits.
    """
    words = flips.view("<u8")
    for bits in (8, 16, 32):
        words ^= words << bits
    words[1:] ^= np.bitwise_xor.accumulate(words >> 56)[:-1] * 0x0101010101010101
    return flips


def transpose(masks: CropMasks) -> CropMasks:
    """The same masks with x and y exchanged."""
    boxes = np.ascontiguousarray(masks.boxes[:, [1, 0, 3, 2]])
    return CropMasks(boxes, _down_columns(masks), masks.offsets)


def _down_columns(masks: CropMasks) -> NDArray[np.uint8]:
    """All crops end to end, each in column-major order."""
    pixels, sides = masks.pixels, (masks.boxes[:, 2:] - masks.boxes[:, :2]).tolist()
    offsets = masks.offsets.tolist()
    pieces = [pixels[a : a + w * h].reshape(h, w).T.ravel() for a, (w, h) in zip(offsets, sides, strict=False)]
    return np.concatenate(pieces) if pieces else np.zeros(0, np.uint8)


def _runs_down(masks: CropMasks, height: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Column-major runs in an image of that height, each within one column: start, stop (half open) and mask index."""
    pixels = _down_columns(masks)
    if not len(pixels):
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64)
    x0, y0, x1, y1 = masks.boxes.T.astype(np.int64)
    w, h, begin = x1 - x0, y1 - y0, masks.offsets[:-1]
    changes = np.empty(len(pixels) + 1, np.bool_)
    changes[0], changes[-1] = pixels[0], pixels[-1]
    np.not_equal(pixels[1:], pixels[:-1], out=changes[1:-1])
    change = np.flatnonzero(changes)
    # where a column ends set and the next begins set, one run ends and another begins
    columns = np.arange(int(w.sum())) - np.repeat(np.cumsum(w) - w, w)
    columns *= np.repeat(h, w)
    columns += np.repeat(begin, w)
    both = columns[1:][(pixels[columns[1:] - 1] & pixels[columns[1:]]).view(np.bool_)]
    if len(both):
        # a stable sort merges the two sorted pieces
        change = np.sort(np.concatenate([change, both, both]), kind="stable")
    start, stop = change[::2], change[1::2]
    runs = np.diff(np.searchsorted(start, masks.offsets))
    owner = np.repeat(np.arange(len(masks)), runs)
    start, stop = start - begin[owner], stop - begin[owner]
    column = start // h[owner]
    shift = (x0[owner] + column) * height + y0[owner] - column * h[owner]
    return start + shift, stop + shift, owner


def _texts(counts: NDArray[np.int64], each: NDArray[np.int64]) -> list[str]:
    """Compressed text of N masks' run lengths, laid end to end, each[i] of mask i."""
    first = np.cumsum(each) - each
    values = counts.copy()
    later = np.arange(len(counts)) - np.repeat(first, each) > 2
    values[later] -= counts[np.flatnonzero(later) - 2]
    # a value of n digits is in -2^(5n - 1) .. 2^(5n - 1) - 1
    digits = np.ones(len(values), np.int64)
    size = np.where(values < 0, ~values, values)
    for n in range(1, _MAX_DIGITS):
        more = size >= 1 << (5 * n - 1)
        if not more.any():
            break
        digits += more
    end = np.cumsum(digits)
    place = np.arange(int(end[-1])) - np.repeat(end - digits, digits)
    codes = (np.repeat(values, digits) >> (5 * place)) & 31
    codes[place + 1 < np.repeat(digits, digits)] |= 32
    text = (codes + 48).astype(np.uint8).tobytes().decode("ascii")
    edges = [0, *end[first + each - 1].tolist()]
    return [text[a:b] for a, b in pairwise(edges)]


def _counts(texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Run lengths of N compressed texts laid end to end, and (N,) how many each has. Raises HarnessError."""
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    edges = np.cumsum(lengths)
    # one code point a character, whatever the text holds
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.int64) - 48
    wrong = (codes < 0) | (codes > 63)
    if wrong.any() or not lengths.all():
        at = np.flatnonzero(wrong)
        i = int(np.argmin(lengths)) if not len(at) else int(np.searchsorted(edges, at[0], side="right"))
        raise HarnessError(f"not compressed run lengths: {texts[i][:20]!r}")
    is_last = (codes & 32) == 0
    broken = np.flatnonzero(~is_last[edges - 1])
    if len(broken):
        raise HarnessError(f"compressed run lengths break off: {texts[int(broken[0])][-20:]!r}")
    last = np.flatnonzero(is_last)
    first = np.concatenate([[0], last[:-1] + 1])
    digits = last - first + 1
    long = np.flatnonzero(digits > _MAX_DIGITS)
    if len(long):
        text = texts[int(np.searchsorted(edges, first[long[0]], side="right"))]
        raise HarnessError(f"a run length too long to be one: {text[:20]!r}")
    place = np.arange(len(codes)) - np.repeat(first, digits)
    values = np.add.reduceat((codes & 31) << (5 * place), first)
    values -= np.where(codes[last] & 16, np.left_shift(np.int64(1), 5 * digits), 0)

    each = np.diff(np.searchsorted(last, edges), prepend=0)
    begin = np.cumsum(each) - each
    index = np.arange(len(values)) - np.repeat(begin, each)
    for parity in (1, 0):
        # runs 1, 3, 5... and 2, 4, 6... of a mask are two running sums; run 0 stands alone
        mine = np.flatnonzero((index % 2 == parity) & (index > 0))
        sums = np.cumsum(values[mine])
        before = np.concatenate([[0], sums])[np.searchsorted(mine, begin)]
        values[mine] = sums - np.repeat(before, np.diff(np.searchsorted(mine, begin), append=len(mine)))
    negative = np.flatnonzero(values < 0)
    if len(negative):
        text = texts[int(np.searchsorted(np.cumsum(each), negative[0], side="right"))]
        raise HarnessError(f"a negative run length in {text[:20]!r}")
    return values, each
