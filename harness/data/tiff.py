"""TIFF files of one plane, by tifffile and imagecodecs, whatever their compression."""

from __future__ import annotations

import io
import math
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.pixels import ALPHA_DROPPED, MAX_PIXELS, Decoded, apply_orientation, check_size
from harness.errors import HarnessError

# tags and values of the TIFF 6.0 specification
MIN_IS_WHITE, MIN_IS_BLACK, RGB, PALETTE, YCBCR = 0, 1, 2, 3, 6
COLOUR_CHANNELS = {MIN_IS_WHITE: 1, MIN_IS_BLACK: 1, RGB: 3, PALETTE: 1, YCBCR: 3}
OTHER_COLOURS = {4: "a transparency mask", 5: "CMYK", 8: "CIE L*a*b*", 32803: "a raw sensor image"}
ORIENTATION = 274
JPEG = (6, 7)
ALPHA = (1, 2)


def decode_tiff(data: bytes, size: tuple[int, int] | None, as_labels: bool) -> Decoded:
    """The one plane of a file, turned as its orientation says.

    As an image: palettes are applied and min-is-white is inverted. As labels: pixels as stored.

    Raises:
        HarnessError: where there are several planes, or channels that are neither grey, RGB nor alpha.
        Exception: whatever tifffile raises on damaged bytes.
    """
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page = only_page(tiff)
        height, width = page.imagelength, page.imagewidth
        orientation = orientation_of(page)
        pixel_bytes = page.samplesperpixel * np.dtype(page.dtype).itemsize
        check_size(height, width, len(data), size, orientation, MAX_PIXELS, pixel_bytes)
        check_colours(page)
        pixels = page.asarray(maxworkers=1)
        if page.samplesperpixel > 1 and pixels.ndim == 3 and pixels.shape[0] == page.samplesperpixel:
            pixels = np.moveaxis(pixels, 0, -1) if pixels.shape[1:] == (height, width) else pixels
        if pixels.shape[:2] != (height, width):
            raise HarnessError(f"not an image of one plane: shape {pixels.shape}")
        pixels, notes = plain_channels(page, pixels)
        if not as_labels:
            pixels, more = shown(page, pixels)
            notes += more
        return Decoded(apply_orientation(pixels, orientation), notes, page.compression in JPEG)


def orientation_of(page: Any) -> int:
    """How the page is turned: TIFF's number, 1 to 8; 1 for not at all."""
    return int(page.tags.valueof(ORIENTATION, 1))


def only_page(tiff: Any) -> Any:
    """The one page of full size: thumbnails, pyramids and transparency masks are left out."""
    full = list(islice((page for page in tiff.pages if not (page.is_reduced or page.is_mask)), 2))
    if not full:  # all are marked as reduced: only one can be the largest
        most = max(page.imagelength * page.imagewidth for page in tiff.pages)
        full = [page for page in tiff.pages if page.imagelength * page.imagewidth == most]
    if len(full) > 1:
        colours = " (three pages that are red, green and blue: as one RGB image)" if len(tiff.pages) == 3 else ""
        raise HarnessError(f"a stack of {len(tiff.pages)} pages; save one image a file{colours}")
    page = full[0]
    planes = page.imagedepth
    if tiff.is_imagej:
        planes = max(planes, int((tiff.imagej_metadata or {}).get("images", 1)))
    for facts in tiff.shaped_metadata or () if tiff.is_shaped else ():
        planes = max(planes, math.prod(facts.get("shape", ())) // max(page.size, 1))
    if planes > 1:
        raise HarnessError(f"a stack of {planes} planes behind one page; save one image a file")
    return page


def check_colours(page: Any) -> None:
    photometric, samples = int(page.photometric), page.samplesperpixel
    if photometric not in COLOUR_CHANNELS:
        what = OTHER_COLOURS.get(photometric, f"colours of kind {photometric}")
        raise HarnessError(f"{what} in a TIFF file; save the image as grey or RGB")
    if photometric == YCBCR and page.compression not in JPEG:
        raise HarnessError("YCbCr colours without JPEG compression; save the image as RGB")
    if samples > 4 or samples < COLOUR_CHANNELS[photometric]:
        raise HarnessError(f"an image has 1 to 4 channels; this one has {samples}: save those that show the cells")


def plain_channels(page: Any, pixels: NDArray) -> tuple[NDArray, list[str]]:
    """The grey or RGB channels. Raises HarnessError where another channel may hold something to see."""
    extra = page.samplesperpixel - COLOUR_CHANNELS[int(page.photometric)]
    marked = [int(kind) for kind in page.extrasamples]
    if extra == 0:
        return pixels, []
    if extra == 1 and marked and marked[-1] in ALPHA:
        return pixels[..., 0] if pixels.shape[2] == 2 else pixels[..., :-1], [ALPHA_DROPPED]
    if page.samplesperpixel == 3:
        return pixels, ["three grey channels, taken as red, green and blue"]
    last = pixels[..., -1]
    if extra == 1 and last.size and (last == last.flat[0]).all():
        return pixels[..., 0] if pixels.shape[2] == 2 else pixels[..., :-1], ["empty extra channel dropped"]
    raise HarnessError(
        f"{page.samplesperpixel} channels that are neither RGB nor marked as alpha; "
        "save the channel that shows the cells as a grey image, or three of them as RGB"
    )


def shown(page: Any, pixels: NDArray) -> tuple[NDArray, list[str]]:
    """Pixels as a viewer shows them, and notes."""
    if page.photometric == PALETTE and page.colormap is not None:
        colours = page.colormap.T
        # by the specification entries have 16 bits; some writers give 8
        colours = colours if colours.max(initial=0) < 256 else colours >> 8
        return colours.astype(np.uint8)[pixels], ["palette applied"]
    if page.photometric != MIN_IS_WHITE:
        return pixels, []
    notes = ["min-is-white, inverted"]
    if pixels.dtype == np.bool_:
        return ~pixels, notes
    if pixels.dtype.kind == "u":
        return pixels.dtype.type(2 ** min(page.bitspersample, 8 * pixels.dtype.itemsize) - 1) - pixels, notes
    return -pixels.astype(np.float64), notes
