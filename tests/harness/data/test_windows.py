"""Images read by window: the same pixels as when they are read as a whole."""

from __future__ import annotations

import itertools
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile

from harness.data.images import read_image, read_labels
from harness.data.windows import open_image
from harness.errors import HarnessError

SIZE = (150, 211)
WINDOWS = [(0, 0, 150, 211), (0, 0, 1, 1), (37, 64, 101, 130), (149, 210, 150, 211), (60, 0, 75, 211)]


def pixels(dtype: Any, channels: int = 1) -> np.ndarray:
    rng = np.random.default_rng(7)
    shape = SIZE if channels == 1 else (*SIZE, channels)
    if np.dtype(dtype).kind == "f":
        return rng.normal(5, 2, shape).astype(dtype)
    high = 255 if np.dtype(dtype).itemsize == 1 else 4000
    return rng.integers(0, high, shape).astype(dtype)


def assert_same_as_whole(path: Path) -> None:
    whole, notes = read_image(path)
    image = open_image(path)
    assert image.size == whole.shape[:2]
    for top, left, bottom, right in WINDOWS:
        np.testing.assert_array_equal(image.read(top, left, bottom, right), whole[top:bottom, left:right])
    assert set(image.notes) == set(notes)


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"compression": "zlib"},
        {"compression": "lzw", "predictor": True, "rowsperstrip": 7},
        {"tile": (32, 48)},
        {"tile": (64, 64), "compression": "zstd", "bigtiff": True},
        {"byteorder": ">"},
        {"byteorder": ">", "compression": "zlib", "rowsperstrip": 20},
        {"photometric": "miniswhite", "tile": (64, 64)},
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_windows_of_grey_files_are_parts_of_the_whole(tmp_path: Path, how: dict[str, Any], dtype: Any) -> None:
    if how.get("predictor") and dtype == np.float32:
        how = {**how, "predictor": 3}
    tifffile.imwrite(tmp_path / "x.tif", pixels(dtype), **how)
    assert_same_as_whole(tmp_path / "x.tif")


@pytest.mark.parametrize("how", [{}, {"tile": (32, 32), "compression": "zlib"}, {"planarconfig": "separate"}], ids=str)
def test_windows_of_colour_files_are_parts_of_the_whole(tmp_path: Path, how: dict[str, Any]) -> None:
    data = pixels(np.uint8, 3)
    if how.get("planarconfig"):
        data = np.moveaxis(data, -1, 0)
    tifffile.imwrite(tmp_path / "x.tif", data, photometric="rgb", **how)
    assert_same_as_whole(tmp_path / "x.tif")


def test_signed_numbers_palettes_and_other_formats_are_read_as_ever(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "signed.tif", pixels(np.int16) - 1000)
    assert_same_as_whole(tmp_path / "signed.tif")
    colours = np.random.default_rng(0).integers(0, 65535, (3, 256)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "palette.tif", pixels(np.uint8), photometric="palette", colormap=colours)
    assert_same_as_whole(tmp_path / "palette.tif")
    cv2.imwrite(str(tmp_path / "x.png"), pixels(np.uint8))
    assert_same_as_whole(tmp_path / "x.png")


def test_a_pyramid_is_read_at_full_resolution(tmp_path: Path) -> None:
    full = pixels(np.uint8)
    with tifffile.TiffWriter(tmp_path / "x.ome.tif", bigtiff=True) as file:
        file.write(full, subifds=2, tile=(64, 64), compression="zlib", metadata={"axes": "YX"})
        file.write(full[::2, ::2], subfiletype=1, tile=(64, 64))
        file.write(full[::4, ::4], subfiletype=1, tile=(64, 64))
    assert_same_as_whole(tmp_path / "x.ome.tif")


def save_large(path: Path, side: int, dtype: Any, channels: int = 1) -> Path:
    """A square image of equal tiles, whose first pixel is 1 and whose others are 0."""
    tile = np.zeros((1024, 1024, channels)[: 2 if channels == 1 else 3], dtype)
    tile[0, 0] = 1
    packed, shape = zlib.compress(tile.tobytes()), (side, side, channels)[: tile.ndim]
    tiles = itertools.repeat(packed, (side // 1024) ** 2)
    tifffile.imwrite(path, tiles, shape=shape, dtype=dtype, tile=(1024, 1024), compression="zlib", bigtiff=True)
    return path


def test_a_file_beyond_what_is_decoded_whole_is_read_by_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.data.pixels.MAX_BYTES", 2**28)
    path = save_large(tmp_path / "x.tif", 12288, np.uint8, 3)
    with pytest.raises(HarnessError, match=r"12288 with 3 bytes a pixel, more than .* tiles or save it with"):
        read_image(path)
    assert open_image(path).read(5000, 6000, 5010, 6020).shape == (10, 20, 3)


def test_tiff_files_larger_than_other_formats_may_be_are_decoded_whole(tmp_path: Path) -> None:
    """As training on a stitched scan needs it: 12,288 x 12,288."""
    labels = read_labels(save_large(tmp_path / "x.tif", 12288, np.uint8))
    assert labels.shape == (12288, 12288)
    assert np.count_nonzero(labels) == 144
    with pytest.raises(HarnessError, match=r"24576x24576, more than 536870912 pixels; cut it into tiles$"):
        read_labels(save_large(tmp_path / "x.tif", 24576, np.uint8))


def test_damage_is_one_line_and_no_traceback(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", pixels(np.uint8), compression="zlib")
    whole = (tmp_path / "x.tif").read_bytes()
    for cut in (4, 60, len(whole) // 2):
        (tmp_path / "cut.tif").write_bytes(whole[:cut])
        with pytest.raises(HarnessError):
            open_image(tmp_path / "cut.tif").read(0, 0, *SIZE)


@pytest.mark.parametrize("grouped", [True, False])
def test_zarr_arrays_are_read_as_tiff_files_are(tmp_path: Path, grouped: bool) -> None:
    zarr = pytest.importorskip("zarr", reason="needs the extra zarr")
    data = pixels(np.uint16)
    if grouped:
        group = zarr.open_group(str(tmp_path / "x.zarr"), mode="w")
        group.attrs["multiscales"] = [{"datasets": [{"path": "s0"}, {"path": "s1"}]}]
        array = group.create_array("s0", shape=(1, 1, 1, *SIZE), chunks=(1, 1, 1, 64, 64), dtype=data.dtype)
        array[0, 0, 0] = data
    else:
        array = zarr.create_array(str(tmp_path / "x.zarr"), shape=SIZE, chunks=(64, 64), dtype=data.dtype)
        array[:] = data
    tifffile.imwrite(tmp_path / "x.tif", data)
    as_tiff, as_zarr = open_image(tmp_path / "x.tif"), open_image(tmp_path / "x.zarr")
    for window in WINDOWS:
        np.testing.assert_array_equal(as_zarr.read(*window), as_tiff.read(*window))
