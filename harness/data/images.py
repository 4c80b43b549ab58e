"""Image and label files to arrays: PNG, TIFF, JPEG, BMP, as other people's programs write them.

One decoder serves each format: cv2 for PNG, tifffile with imagecodecs for TIFF, Pillow for the rest. Sizes are read
from the header and judged before anything of the image's size is made.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.data.pixels import ALPHA_DROPPED, Decoded, apply_orientation, check_size, same_channels, to_8_bit
from harness.errors import HarnessError, one_line

SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")

NAN_LABELS = "labels of NaN, taken as background"


def is_image(path: Path) -> bool:
    """Whether a file is called as an image is. Hidden files are none."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def other_files(folder: Path) -> str:
    """The end of a message that a folder lacks files: those of a kind that it has most of, empty where it has none."""
    kinds = Counter(path.suffix for path in folder.iterdir() if path.suffix and not path.name.startswith("."))
    if not kinds:
        return ""
    suffix, count = kinds.most_common(1)[0]
    hint = "" if suffix.lower() in SUFFIXES else "; images are read as PNG, TIFF, JPEG or BMP"
    return f"; it has {count} files *{one_line(suffix, 20)}{hint}"


def is_no_file(path: Path) -> bool:
    """Whether there is something that is not a file: a folder, or a pipe that nobody writes to."""
    return path.exists() and not path.is_file()


def images_in(folder: Path) -> dict[str, Path]:
    """Image files directly in a folder by file name, sorted; hidden files are left out."""
    return {path.name: path for path in sorted(folder.iterdir()) if is_image(path) and not is_no_file(path)}


def read_image(path: Path | bytes, size: tuple[int, int] | None = None) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """An image as a viewer shows it, and what was done to make it so.

    It is turned as its EXIF or TIFF orientation says; min-is-white pixels are inverted; a palette is applied; an alpha
    channel is dropped; three equal channels become one. Images of 16 bits, of floats and of wider integers are
    stretched linearly from their 0.1th to their 99.9th percentile.

    Args:
        path: the file, or its content.
        size: the (H, W) that it must have, after it is turned.

    Returns:
        An (H, W) or (H, W, 3) RGB uint8 array, and notes.

    Raises:
        HarnessError: without the file's name, where it is missing, broken, too large, of another size, a stack, or has
            channels that are neither grey, RGB nor alpha.
    """
    found = _decode(path, size, as_labels=False)
    pixels, notes = same_channels(found.pixels), list(found.notes)
    if pixels.ndim not in (2, 3) or pixels.shape[2:] not in ((), (3,)):
        raise HarnessError(f"an image has 1 to 4 channels, not the shape {pixels.shape}")
    if pixels.dtype != np.uint8:
        pixels, note = to_8_bit(pixels)
        notes.append(note)
    return np.ascontiguousarray(pixels), tuple(notes)


def read_labels(path: Path | bytes, size: tuple[int, int] | None = None) -> NDArray[np.integer]:
    """As read_noted_labels, without the notes."""
    return read_noted_labels(path, size)[0]


def read_noted_labels(
    path: Path | bytes, size: tuple[int, int] | None = None
) -> tuple[NDArray[np.integer], tuple[str, ...]]:
    """A label image as stored: 0 is background, every other value one cell.

    No palette is applied and min-is-white pixels stay as they are. Float labels are taken where all are whole numbers;
    NaN is background.

    Returns:
        An (H, W) array of integers, and notes.

    Raises:
        HarnessError: without the file's name, where it is broken, of another size, compressed with loss, coloured,
            negative or not of whole numbers.
    """
    found = _decode(path, size, as_labels=True)
    if found.lossy:
        raise HarnessError("label images compressed as JPEG have wrong numbers at every edge; save them as PNG or TIFF")
    labels = same_channels(found.pixels)
    if labels.ndim != 2:
        raise HarnessError(
            f"a label image has one channel; this one has the shape {labels.shape}. "
            "Save a number for each cell in a grey image; colours are not read as cells"
        )
    return whole_labels(labels)


def whole_labels(labels: NDArray) -> tuple[NDArray[np.integer], tuple[str, ...]]:
    """An array of labels as integers, and notes. Raises HarnessError where they are negative or no whole numbers."""
    notes: tuple[str, ...] = ()
    if labels.dtype.kind == "f":
        nowhere = np.isnan(labels)
        if nowhere.any():
            labels, notes = np.where(nowhere, labels.dtype.type(0), labels), (NAN_LABELS,)
        with np.errstate(invalid="ignore"):
            whole = labels.astype(np.int64)
        if not (whole == labels).all():
            what = f"{labels.dtype} with fractions: is it a probability or distance map?"
            raise HarnessError(f"a label image holds whole numbers; this one holds {what}")
        labels = whole
    if labels.dtype == np.bool_:
        labels = labels.astype(np.uint8)
    if labels.dtype.kind not in "ui":
        raise HarnessError(f"a label image holds whole numbers; this one holds {labels.dtype}")
    if labels.dtype.kind == "i" and labels.min(initial=0) < 0:
        raise HarnessError(
            f"a label image holds no negative numbers; this one holds {labels.min()}: set what is no cell to 0 "
            "(StarDist's -1, not annotated, is not read: cut such parts out)"
        )
    return labels, notes


def _decode(path: Path | bytes, size: tuple[int, int] | None, as_labels: bool) -> Decoded:
    try:
        if isinstance(path, Path) and is_no_file(path):
            raise HarnessError("cannot be read: a folder or a pipe, not a file")
        data = path if isinstance(path, bytes) else path.read_bytes()
    except FileNotFoundError as error:
        raise HarnessError("the file is missing") from error
    except (OSError, ValueError) as error:
        raise HarnessError(f"cannot be read: {one_line(getattr(error, 'strerror', None) or error)}") from error
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return _decode_png(data, size, as_labels)
        if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            from harness.data.tiff import decode_tiff

            return decode_tiff(data, size, as_labels)
        if not data.startswith((b"\xff\xd8", b"BM")):
            raise HarnessError(_not_an_image(data))
        return _decode_other(data, size, as_labels)
    except HarnessError:
        raise
    except Exception as error:  # decoders of damaged bytes raise nearly anything
        raise HarnessError(f"not a whole image file ({one_line(error) or type(error).__name__})") from error


def _not_an_image(data: bytes) -> str:
    """What a file is that is neither PNG, TIFF, JPEG nor BMP."""
    if not data:
        return "the file is empty"
    if data.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS in place of the image; `git lfs pull` fetches it"
    if data.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html")):
        return "a web page in place of the image: its download was answered with a page"
    known = ((b"GIF8", "GIF"), (b"RIFF", "WebP"), (b"\0\0\0\x0cjP", "JPEG 2000"), (b"\xff\x0a", "JPEG XL"))
    other = next((f"the format {name}" for start, name in known if data.startswith(start)), "something else")
    return f"not a whole image file: {other}, whatever its name says; save it as PNG or TIFF"


def _decode_png(data: bytes, size: tuple[int, int] | None, as_labels: bool) -> Decoded:
    import cv2

    width, height, _, colour = struct.unpack(">IIBB", data[16:26])
    orientation = _check_png(data)
    check_size(height, width, len(data), size, orientation)
    if colour == 3 and as_labels:
        from PIL import Image

        return Decoded(apply_orientation(np.asarray(Image.open(io.BytesIO(data), formats=["PNG"])), orientation))
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.shape[:2] != (height, width):
        raise HarnessError("the file cannot be decoded as PNG")
    notes = ["palette applied"] if colour == 3 else []
    if pixels.ndim == 3 and pixels.shape[2] >= 3:
        if pixels.shape[2] == 4:
            notes.append(ALPHA_DROPPED)
        pixels = pixels[..., 2::-1]
    return Decoded(apply_orientation(pixels, orientation), notes)


def _check_png(data: bytes) -> int:
    """Every chunk is whole and its checksum right: decoders differ in what they make of a file that breaks off.

    Returns the orientation of an eXIf chunk, 1 where there is none.
    """
    at, kind, orientation = 8, b"", 1
    while kind != b"IEND":
        if at + 12 > len(data):
            raise HarnessError("the PNG file breaks off (truncated)")
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        end = at + 12 + length
        if end > len(data):
            raise HarnessError("the PNG file breaks off (truncated)")
        if zlib.crc32(data[at + 4 : end - 4]) != struct.unpack(">I", data[end - 4 : end])[0]:
            raise HarnessError(f"the PNG file is damaged (checksum of {kind.decode('ascii', 'replace')!r})")
        if kind == b"eXIf":
            orientation = _exif_orientation(data[at + 8 : end - 4])
        elif kind in (b"tEXt", b"zTXt") and data[at + 8 : at + 32].lower().startswith(b"raw profile type exif"):
            orientation = _orientation_of_text(data)
        at = end
    return orientation


def _exif_orientation(data: bytes) -> int:
    from PIL import Image

    exif = Image.Exif()
    exif.load(data)
    return int(exif.get(0x0112, 1))


def _orientation_of_text(data: bytes) -> int:
    """Of EXIF data in a text chunk, as ImageMagick writes it."""
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
        return int(picture.getexif().get(0x0112, 1))


def _decode_other(data: bytes, size: tuple[int, int] | None, as_labels: bool) -> Decoded:
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=["JPEG", "BMP"]) as picture:
        orientation = int(picture.getexif().get(0x0112, 1)) if "exif" in picture.info else 1
        check_size(picture.height, picture.width, len(data), size, orientation)
        lossy = picture.format == "JPEG"
        if picture.mode == "P" and as_labels:
            return Decoded(np.asarray(picture))
        notes = ["palette applied"] if picture.mode == "P" else []
        plain = picture if picture.mode in ("L", "RGB") else picture.convert("RGB")
        return Decoded(apply_orientation(np.asarray(plain), orientation), notes, lossy)
