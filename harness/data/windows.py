"""Images of any size, read by window: TIFF files without decoding the rest, OME-Zarr, and others decoded whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from harness.data.grey_levels import can_be_counted, counted_range, note_of, range_of, stretch
from harness.data.images import read_image
from harness.data.pixels import MAX_PIXELS, PIXELS_PER_BYTE
from harness.data.tiff import MIN_IS_WHITE, PALETTE, check_colours, only_page, orientation_of, plain_channels, shown
from harness.errors import HarnessError, one_line

MAX_SIDE = 32_768
"""Pixels of the longer side at most."""

SAMPLED_PIXELS = 2**24
"""Pixels from which the range of grey values is taken where there are too many kinds of values to count."""

ZARR_SUFFIX = ".zarr"


class WindowedImage(Protocol):
    """size: height and width. notes: what is done to the image, once it has been read."""

    @property
    def size(self) -> tuple[int, int]: ...

    @property
    def notes(self) -> tuple[str, ...]: ...

    def read(self, top: int, left: int, bottom: int, right: int) -> NDArray[np.uint8]:
        """The pixels of a window inside the image, half open: (h, w) or (h, w, 3) uint8."""
        ...


class WholeImage:
    """An image that is in memory."""

    def __init__(self, pixels: NDArray[np.uint8], notes: tuple[str, ...] = ()) -> None:
        self._pixels, self.notes = pixels, notes
        self.size = (pixels.shape[0], pixels.shape[1])

    def read(self, top: int, left: int, bottom: int, right: int) -> NDArray[np.uint8]:
        return np.ascontiguousarray(self._pixels[top:bottom, left:right])


class _Raw(Protocol):
    """A plane that gives its stored values by window."""

    size: tuple[int, int]
    dtype: np.dtype[Any]

    def window(self, top: int, left: int, bottom: int, right: int) -> tuple[NDArray[Any], list[str]]: ...

    def strips(self) -> Iterator[NDArray[Any]]: ...


class StretchedImage:
    """A plane whose values are brought to 8 bits by the range of the whole image, which is looked at once."""

    def __init__(self, raw: _Raw) -> None:
        self._raw, self.size = raw, raw.size
        self._range, said = _value_range(raw)
        self._notes: dict[str, None] = dict.fromkeys(said)

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(self._notes)

    def read(self, top: int, left: int, bottom: int, right: int) -> NDArray[np.uint8]:
        try:
            pixels, notes = self._raw.window(top, left, bottom, right)
        except HarnessError:
            raise
        except Exception as error:  # decoders of damaged bytes raise nearly anything
            raise HarnessError(f"not a whole image file ({one_line(error) or type(error).__name__})") from error
        self._notes.update(dict.fromkeys(notes))
        if pixels.dtype == np.bool_:
            return pixels.astype(np.uint8) * np.uint8(255)
        if self._range is None:
            return np.ascontiguousarray(pixels)
        return stretch(pixels, *self._range)


def open_image(path: Path) -> WindowedImage:
    """An image of any size. TIFF and OME-Zarr are read by window; other formats are decoded whole.

    Raises:
        HarnessError: without the file's name, where it is missing, broken, too large, a stack, or has channels that
            are neither grey, RGB nor alpha.
    """
    try:
        if path.suffix.lower() == ZARR_SUFFIX:
            return StretchedImage(_Zarr(path))
        if path.suffix.lower() in (".tif", ".tiff") and path.is_file():
            raw = _Tiff(path)
            if raw.orientation == 1:
                return StretchedImage(raw)
    except HarnessError:
        raise
    except Exception as error:  # decoders of damaged bytes raise nearly anything
        raise HarnessError(f"not a whole image file ({one_line(error) or type(error).__name__})") from error
    return WholeImage(*read_image(path))


def _check_size(height: int, width: int, stored: int | None) -> None:
    if height * width > MAX_PIXELS or max(height, width) > MAX_SIDE:
        raise HarnessError(f"the image is {height}x{width}; at most {MAX_PIXELS} pixels are read")
    if height * width == 0 or (stored is not None and height * width > 2**16 + PIXELS_PER_BYTE * stored):
        raise HarnessError(f"the file claims {height}x{width} pixels, which its {stored} bytes cannot hold")


class _Tiff:
    """The plane of full size of a TIFF file: tiles or strips are decoded as a window needs them."""

    def __init__(self, path: Path) -> None:
        import tifffile

        self._path = path
        self._file = tifffile.TiffFile(path)
        self._page = page = only_page(self._file)
        self.size = (page.imagelength, page.imagewidth)
        _check_size(*self.size, path.stat().st_size)
        check_colours(page)
        self.orientation = orientation_of(page)
        self.dtype = _shown_dtype(page)
        if page.is_tiled:
            self._segment = (page.tilelength, page.tilewidth)
        else:
            self._segment = (min(page.rowsperstrip, self.size[0]), self.size[1])
        # a plane in one uncompressed piece is mapped; else each tile or strip is decoded alone
        self._mapped = _mapped(path, page, self._file.byteorder)

    def window(self, top: int, left: int, bottom: int, right: int) -> tuple[NDArray[Any], list[str]]:
        found = self._stored(top, left, bottom, right)
        found, notes = plain_channels(self._page, found)
        found, more = shown(self._page, found)
        return found, [*notes, *more]

    def strips(self) -> Iterator[NDArray[Any]]:
        high = self._segment[0] * max(1, 512 // self._segment[0])
        for top in range(0, self.size[0], high):
            yield self.window(top, 0, min(top + high, self.size[0]), self.size[1])[0]

    def _stored(self, top: int, left: int, bottom: int, right: int) -> NDArray[Any]:
        """As stored: (h, w) or (h, w, C)."""
        page = self._page
        if self._mapped is not None:
            return np.asarray(self._mapped[top:bottom, left:right])
        planes = page.samplesperpixel if int(page.planarconfig) == 2 else 1
        channels = 1 if planes > 1 else page.samplesperpixel
        high, wide = self._segment
        down, across = -(-self.size[0] // high), -(-self.size[1] // wide)
        out = np.zeros((planes, bottom - top, right - left, channels), page.dtype)
        for plane in range(planes):
            for row in range(top // high, -(-bottom // high)):
                for column in range(left // wide, -(-right // wide)):
                    piece = self._decoded((plane * down + row) * across + column)
                    y, x = row * high, column * wide
                    y0, x0 = max(top, y), max(left, x)
                    y1, x1 = min(bottom, y + piece.shape[0]), min(right, x + piece.shape[1])
                    out[plane, y0 - top : y1 - top, x0 - left : x1 - left] = piece[y0 - y : y1 - y, x0 - x : x1 - x]
        merged = out[0] if planes == 1 else np.moveaxis(out[..., 0], 0, -1)
        return merged[..., 0] if page.samplesperpixel == 1 else merged

    def _decoded(self, index: int) -> NDArray[Any]:
        """One tile or strip as (h, w, C); zeros where a file leaves it out."""
        page = self._page
        handle = self._file.filehandle
        handle.seek(page.dataoffsets[index])
        data = handle.read(page.databytecounts[index])
        keys = {"jpegtables": page.jpegtables} if page.jpegtables is not None else {}
        piece, _, shape = page.decode(data or None, index, **keys)
        if piece is None:
            return np.zeros(shape[1:], page.dtype)
        return piece[0]


def _shown_dtype(page: Any) -> np.dtype[Any]:
    """Of the values after a palette or an inversion."""
    dtype = np.dtype(page.dtype)
    if int(page.photometric) == PALETTE and page.colormap is not None:
        return np.dtype(np.uint8)
    inverted_sign = int(page.photometric) == MIN_IS_WHITE and dtype.kind in "if"
    return np.dtype(np.float64) if inverted_sign else dtype


def _mapped(path: Path, page: Any, byteorder: str) -> NDArray[Any] | None:
    """The plane as a map of the file; None where it is compressed, tiled or in pieces."""
    if not page.is_memmappable or page.is_tiled or int(page.planarconfig) != 1:
        return None
    shape = (page.imagelength, page.imagewidth, page.samplesperpixel)[: 3 if page.samplesperpixel > 1 else 2]
    dtype = np.dtype(page.dtype).newbyteorder(byteorder)
    return np.memmap(path, dtype, "r", page.dataoffsets[0], shape)


class _Zarr:
    """The plane of full resolution of an OME-Zarr image: the last two axes of its first array."""

    def __init__(self, path: Path) -> None:
        try:
            import zarr
        except ModuleNotFoundError as error:
            raise HarnessError(
                'OME-Zarr needs the package zarr: pip install "cell-segmentation-harness[zarr]"'
            ) from error
        node: Any = zarr.open(str(path), mode="r")
        if not hasattr(node, "shape"):
            multiscales = dict(node.attrs).get("multiscales") or dict(node.attrs).get("ome", {}).get("multiscales")
            name = multiscales[0]["datasets"][0]["path"] if multiscales else "0"
            node = node[name]
        others = [n for n in node.shape[:-2] if n != 1]
        if len(node.shape) < 2 or (others and others != [3]):
            raise HarnessError(
                f"an array of the shape {tuple(node.shape)}; save one plane, grey or with three channels"
            )
        self._array, self._colour = node, bool(others)
        self.size = (int(node.shape[-2]), int(node.shape[-1]))
        self.dtype = np.dtype(node.dtype)
        _check_size(*self.size, None)

    def window(self, top: int, left: int, bottom: int, right: int) -> tuple[NDArray[Any], list[str]]:
        found = np.asarray(self._array[..., top:bottom, left:right])
        shape = (bottom - top, right - left)
        if self._colour:
            return np.moveaxis(found.reshape(3, *shape), 0, -1), []
        return found.reshape(shape), []

    def strips(self) -> Iterator[NDArray[Any]]:
        for top in range(0, self.size[0], 512):
            yield self.window(top, 0, min(top + 512, self.size[0]), self.size[1])[0]


def _value_range(raw: _Raw) -> tuple[tuple[float, float] | None, list[str]]:
    """What becomes 0 and 255, None for 8 bits; and a note, as harness.data.pixels.to_8_bit."""
    dtype = raw.dtype
    if dtype == np.bool_:
        return None, ["one bit a pixel, taken as 0 and 255"]
    if dtype == np.uint8:
        return None, []
    if dtype.kind not in "uif":
        raise HarnessError(f"pixels of type {dtype} are not an image's")
    note = note_of(dtype)
    if can_be_counted(dtype):
        return counted_range(raw.strips(), dtype), [note]
    step = max(1, int(np.sqrt(raw.size[0] * raw.size[1] / SAMPLED_PIXELS)))
    values = np.concatenate([strip[::step, ::step].ravel() for strip in raw.strips()])
    if dtype.kind == "f" and not np.isfinite(values).all():
        raise HarnessError("the image holds NaN or infinite pixels")
    return range_of(values), [note if step == 1 else f"{note} of every {step}th pixel each way"]
