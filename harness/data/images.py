"""Image and label files of strangers to arrays: PNG, TIFF, JPEG, BMP.

Sizes are read from the header and judged before anything of the image's size is made.
"""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError, one_line

MAX_PIXELS = 2**27
"""Most pixels that an image may have, or claim to have: 11,585 x 11,585. Larger ones must be cut into tiles."""

SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")
PIXELS_PER_BYTE = 8192
"""No compression in use packs a plain image more tightly: deflate makes 1032 bytes of one, 8 pixels each, at most."""


def images_in(folder: Path) -> dict[str, Path]:
    """Image files directly in a folder by file name, sorted; hidden files are passed over."""
    return {p.name: p for p in sorted(folder.iterdir()) if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")}


def read_image(path: Path, size: tuple[int, int] | None = None) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """An (H, W) or (H, W, 3) RGB uint8 image and what was done to make it so.

    size: the (H, W) it must have. 16-bit, float and wider integer images are stretched linearly from their 0.1th to
    their 99.9th percentile; an alpha channel is dropped; three equal channels become one.
    Raises HarnessError, without the file's name, where it is missing, broken, too large, or of another size.
    """
    pixels, notes = _decode(path, size)
    if pixels.ndim == 3:
        if pixels.shape[2] in (2, 4):
            pixels = pixels[..., :-1]
            notes.append("alpha channel dropped")
        if (
            pixels.shape[2] == 3
            and (pixels[..., 0] == pixels[..., 1]).all()
            and (pixels[..., 0] == pixels[..., 2]).all()
        ):
            pixels = pixels[..., :1]
        if pixels.shape[2] == 1:
            pixels = pixels[..., 0]
    if pixels.ndim not in (2, 3) or pixels.shape[2:] not in ((), (3,)):
        raise HarnessError(f"an image has 1 to 4 channels, not the shape {pixels.shape}")
    if pixels.dtype != np.uint8:
        pixels, note = _to_8_bit(pixels)
        notes.append(note)
    return np.ascontiguousarray(pixels), tuple(notes)


def read_labels(path: Path, size: tuple[int, int] | None = None) -> NDArray[np.integer]:
    """An (H, W) label image: 0 is background, every other value one cell.

    Raises HarnessError, without the file's name, where it is broken, of another size, coloured, negative or not of
    whole numbers.
    """
    labels, _ = _decode(path, size, palette_as_index=True)
    if labels.ndim == 3 and labels.shape[2] == 1:
        labels = labels[..., 0]
    if labels.ndim != 2:
        raise HarnessError(f"a label image has one channel; this one has the shape {labels.shape}")
    if labels.dtype == np.bool_ or labels.dtype.kind not in "ui":
        raise HarnessError(f"a label image holds whole numbers; this one holds {labels.dtype}")
    if labels.dtype.kind == "i" and labels.min(initial=0) < 0:
        raise HarnessError(f"a label image holds no negative numbers; this one holds {labels.min()}")
    return labels


def _decode(path: Path, size: tuple[int, int] | None, palette_as_index: bool = False) -> tuple[NDArray, list[str]]:
    """Pixels as they are stored, channels last and in the order RGB, and notes."""
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise HarnessError("the file is missing") from error
    except OSError as error:
        raise HarnessError(f"cannot be read: {error.strerror}") from error
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return _decode_png(data, size, palette_as_index)
        if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return _decode_tiff(data, size, palette_as_index), []
        return _decode_other(data, size)
    except HarnessError:
        raise
    except Exception as error:  # decoders of hostile bytes raise nearly anything
        raise HarnessError(f"not a whole image file ({one_line(error) or type(error).__name__})") from error


def _judge_size(height: int, width: int, stored: int, wanted: tuple[int, int] | None) -> None:
    if wanted is not None and (height, width) != wanted:
        raise HarnessError(f"the image is {height}x{width} (height x width), its annotation {wanted[0]}x{wanted[1]}")
    pixels = height * width
    if pixels > MAX_PIXELS:
        raise HarnessError(f"the image is {height}x{width}, more than {MAX_PIXELS} pixels; cut it into tiles")
    if pixels == 0 or pixels > 2**16 + PIXELS_PER_BYTE * stored:
        raise HarnessError(f"the file claims {height}x{width} pixels, which its {stored} bytes cannot hold")


def _decode_png(data: bytes, size: tuple[int, int] | None, palette_as_index: bool) -> tuple[NDArray, list[str]]:
    import cv2

    width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
    _judge_size(height, width, len(data), size)
    _check_png(data)
    if colour == 3 and palette_as_index:
        from PIL import Image

        return np.asarray(Image.open(io.BytesIO(data), formats=["PNG"])), []
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.shape[:2] != (height, width):
        raise HarnessError("the file cannot be decoded as PNG")
    if pixels.ndim == 3 and pixels.shape[2] >= 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB)
    if depth < 8 and colour == 0 and palette_as_index:
        raise HarnessError(f"a label image has 8 bits or more; this one has {depth}")
    return pixels, ["palette applied"] if colour == 3 else []


def _check_png(data: bytes) -> None:
    """Every chunk is whole and its checksum right. Decoders differ in what they make of a file that breaks off."""
    at, kind = 8, b""
    while kind != b"IEND":
        if at + 12 > len(data):
            raise HarnessError("the PNG file breaks off (truncated)")
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        end = at + 12 + length
        if end > len(data):
            raise HarnessError("the PNG file breaks off (truncated)")
        if zlib.crc32(data[at + 4 : end - 4]) != struct.unpack(">I", data[end - 4 : end])[0]:
            raise HarnessError(f"the PNG file is damaged (checksum of {kind.decode('ascii', 'replace')!r})")
        at = end


def _decode_tiff(data: bytes, size: tuple[int, int] | None, palette_as_index: bool) -> NDArray:
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page = tiff.pages[0]
        if len(tiff.pages) > 1 and not tiff.pages[1].is_reduced:
            raise HarnessError(f"a stack of {len(tiff.pages)} pages; save one image a file")
        height, width = page.imagelength, page.imagewidth
        _judge_size(height, width, len(data), size)
        if page.samplesperpixel > 4 or page.imagedepth > 1:
            raise HarnessError(f"an image has 1 to 4 channels; this one has the shape {page.shape}")
        if page.compression in (1, 8, 32773, 32946):  # what tifffile decodes alone: none, deflate, packbits
            pixels = page.asarray()
        else:
            from PIL import Image

            pixels = np.asarray(Image.open(io.BytesIO(data), formats=["TIFF"]))
        if page.photometric == 3 and page.colormap is not None and not palette_as_index:
            pixels = (page.colormap.T >> 8).astype(np.uint8)[pixels]
        if pixels.ndim == 3 and pixels.shape[-2:] == (height, width):
            pixels = np.moveaxis(pixels, 0, -1)
    if pixels.shape[:2] != (height, width):
        raise HarnessError(f"not an image of one plane: shape {pixels.shape}")
    return pixels


def _decode_other(data: bytes, size: tuple[int, int] | None) -> tuple[NDArray, list[str]]:
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=["JPEG", "BMP"]) as picture:
        _judge_size(picture.height, picture.width, len(data), size)
        notes = ["palette applied"] if picture.mode == "P" else []
        plain = picture if picture.mode in ("L", "RGB") else picture.convert("RGB")
        return np.asarray(plain), notes


def _to_8_bit(pixels: NDArray) -> tuple[NDArray[np.uint8], str]:
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * np.uint8(255), "one bit a pixel, taken as 0 and 255"
    if pixels.dtype.kind not in "uif":
        raise HarnessError(f"pixels of type {pixels.dtype} are not an image's")
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise HarnessError("the image holds NaN or infinite pixels")
    kind = "float" if pixels.dtype.kind == "f" else f"{8 * pixels.dtype.itemsize}-bit"
    low, high = np.percentile(pixels, (0.1, 99.9)).astype(np.float64)
    if not high > low:
        low, high = float(pixels.min()), float(pixels.max())
    if not np.isfinite(high - low):
        raise HarnessError("the image holds numbers too large to be scaled")
    scale = 255.0 / (high - low) if high > low else 0.0
    stretched = np.clip((pixels.astype(np.float64) - low) * scale + 0.5, 0, 255)
    return stretched.astype(np.uint8), f"{kind}, stretched to 8-bit from the 0.1th to the 99.9th percentile"
