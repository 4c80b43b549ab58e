"""What all image formats share: the judgement of a size, orientation, the way to 8 bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.data.grey_levels import can_be_counted, counted_range, note_of, range_of, stretch, strips_of
from harness.errors import HarnessError

MAX_PIXELS = 2**29
"""Most pixels that an image may have, or claim to have: 23,170 x 23,170. Larger ones must be cut into tiles."""

MAX_UNTILED = 2**27
"""Most pixels of a PNG, JPEG or BMP file, which can only be decoded whole: 11,585 x 11,585."""

MAX_BYTES = 2**31
"""Most bytes of one decoded plane."""

PIXELS_PER_BYTE = 8192
"""No compression in use packs a plain image more tightly: deflate makes 1032 bytes of one, 8 pixels each, at most."""

ALPHA_DROPPED = "alpha channel dropped"


class Decoded(NamedTuple):
    """pixels: (H, W) or (H, W, C), channels in the order RGB. lossy: whether the compression changes values."""

    pixels: NDArray
    notes: Sequence[str] = ()
    lossy: bool = False


def check_size(
    height: int,
    width: int,
    stored: int,
    wanted: tuple[int, int] | None,
    orientation: int = 1,
    most: int = MAX_UNTILED,
    pixel_bytes: int = 1,
) -> None:
    """Raise HarnessError where an image is not of the wanted size, too large, or larger than its bytes can hold.

    Args:
        height: as stored, in pixels; width too.
        stored: bytes of the file.
        wanted: height and width after the image is turned, or None.
        orientation: EXIF's number, 1 to 8; those from 5 on exchange height and width.
        most: pixels that an image of its format may have.
        pixel_bytes: bytes of a decoded pixel.
    """
    shown = (width, height) if 5 <= orientation <= 8 else (height, width)
    if wanted is not None and shown != wanted:
        how = ", turned as its EXIF orientation says" if orientation in range(2, 9) else ""
        exchanged = "; are height and width exchanged there?" if shown == wanted[::-1] else ""
        raise HarnessError(
            f"the image is {shown[0]}x{shown[1]} (height x width{how}), its annotation "
            f"{wanted[0]}x{wanted[1]}{exchanged}"
        )
    pixels = height * width
    if pixels > most:
        hint = " or save it as TIFF" if most < pixels <= MAX_PIXELS else ""
        raise HarnessError(f"the image is {height}x{width}, more than {most} pixels; cut it into tiles{hint}")
    if pixels > MAX_UNTILED and pixels * pixel_bytes > MAX_BYTES:
        raise HarnessError(
            f"the image is {height}x{width} with {pixel_bytes} bytes a pixel, more than {MAX_BYTES} bytes; cut it into "
            "tiles or save it with fewer bits"
        )
    if pixels == 0 or pixels > 2**16 + PIXELS_PER_BYTE * stored:
        raise HarnessError(f"the file claims {height}x{width} pixels, which its {stored} bytes cannot hold")


def apply_orientation(pixels: NDArray, orientation: int) -> NDArray:
    """The image as a viewer shows it, by the orientation tag of EXIF and TIFF (1 to 8; others change nothing)."""
    match orientation:
        case 2:
            return pixels[:, ::-1]
        case 3:
            return pixels[::-1, ::-1]
        case 4:
            return pixels[::-1]
        case 5:
            return pixels.swapaxes(0, 1)
        case 6:
            return np.rot90(pixels, -1)
        case 7:
            return pixels[::-1, ::-1].swapaxes(0, 1)
        case 8:
            return np.rot90(pixels)
    return pixels


def same_channels(pixels: NDArray) -> NDArray:
    """(H, W) where all channels are equal or there is only one; else as it is."""
    if pixels.ndim == 3 and all(np.array_equal(pixels[..., 0], pixels[..., c]) for c in range(1, pixels.shape[2])):
        return pixels[..., 0]
    return pixels


def to_8_bit(pixels: NDArray) -> tuple[NDArray[np.uint8], str]:
    """Any numbers as uint8, stretched from the 0.1th to the 99.9th percentile, and a note that says so."""
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * np.uint8(255), "one bit a pixel, taken as 0 and 255"
    if pixels.dtype.kind not in "uif":
        raise HarnessError(f"pixels of type {pixels.dtype} are not an image's")
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise HarnessError("the image holds NaN or infinite pixels")
    if can_be_counted(pixels.dtype):
        low, high = counted_range(strips_of(pixels), pixels.dtype)
    else:
        low, high = range_of(pixels)
    if not np.isfinite(high - low):
        raise HarnessError("the image holds numbers too large to be scaled")
    return stretch(pixels, low, high), note_of(pixels.dtype)
