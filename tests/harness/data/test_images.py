from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from harness.data.images import images_in, read_image, read_labels
from harness.errors import HarnessError

GREY = np.arange(120, dtype=np.uint8).reshape(10, 12)
COLOUR = np.stack([GREY, 255 - GREY, GREY // 2], axis=-1)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def save(path: Path, pixels: np.ndarray, **more: object) -> Path:
    if path.suffix == ".tif":
        tifffile.imwrite(path, pixels, **more)
    else:
        Image.fromarray(pixels).save(path, **more)
    return path


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
@pytest.mark.parametrize("pixels", [GREY, COLOUR], ids=["grey", "colour"])
def test_8_bit_images_come_back_as_they_were(tmp_path: Path, suffix: str, pixels: np.ndarray) -> None:
    read, notes = read_image(save(tmp_path / f"x.{suffix}", pixels), (10, 12))
    assert np.array_equal(read, pixels)
    assert notes == ()


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "packbits", "zstd", "lzma"])
@pytest.mark.parametrize("pixels", [GREY, COLOUR, COLOUR.astype(np.uint16) * 16], ids=["grey", "RGB", "RGB of 12 bits"])
def test_tiff_pixels_are_the_same_whatever_the_compression(
    tmp_path: Path, compression: str | None, pixels: np.ndarray
) -> None:
    photometric = "rgb" if pixels.ndim == 3 else "minisblack"
    plain = read_image(save(tmp_path / "plain.tif", pixels, photometric=photometric))
    packed = read_image(save(tmp_path / "x.tif", pixels, photometric=photometric, compression=compression))
    assert np.array_equal(packed[0], plain[0])
    assert packed[1] == plain[1]
    if pixels.dtype == np.uint8:
        assert np.array_equal(packed[0], pixels)


@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_min_is_white_is_inverted_in_images_and_kept_in_labels(
    tmp_path: Path, compression: str | None, dtype: type
) -> None:
    ramp = np.linspace(0, np.iinfo(dtype).max, 120).reshape(10, 12).astype(dtype)
    path = save(tmp_path / "x.tif", ramp, photometric="miniswhite", compression=compression)
    shown, notes = read_image(path)
    assert np.array_equal(shown, read_image(save(tmp_path / "y.tif", np.iinfo(dtype).max - ramp))[0])
    assert shown[0, 0] == 255
    assert "min-is-white, inverted" in notes
    assert np.array_equal(read_labels(path), ramp)


TURNS = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: np.swapaxes(a, 0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.swapaxes(np.rot90(a, 2), 0, 1),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_an_image_is_turned_as_its_orientation_says(tmp_path: Path, suffix: str, orientation: int) -> None:
    path = tmp_path / f"x.{suffix}"
    if suffix == "tif":
        tifffile.imwrite(path, COLOUR, photometric="rgb", extratags=[(274, "H", 1, orientation, True)])
    else:
        exif = Image.Exif()
        exif[0x112] = orientation
        Image.fromarray(COLOUR).save(path, exif=exif, **({"quality": 100, "subsampling": 0} if suffix == "jpg" else {}))
    read, _ = read_image(path, (12, 10) if orientation > 4 else (10, 12))
    assert np.abs(read.astype(int) - TURNS[orientation](COLOUR)).max() < 9
    assert np.array_equal(np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB")).shape, read.shape)
    if suffix == "tif":
        assert np.array_equal(
            read_labels(save(path, GREY, extratags=[(274, "H", 1, orientation, True)])), TURNS[orientation](GREY)
        )


@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha"])
def test_alpha_of_a_tiff_is_dropped(tmp_path: Path, kind: str) -> None:
    rgba = np.dstack([COLOUR, GREY])
    read, notes = read_image(save(tmp_path / "x.tif", rgba, photometric="rgb", extrasamples=[kind]))
    assert np.array_equal(read, COLOUR)
    assert notes == ("alpha channel dropped",)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("channels", [2, 4])
def test_channels_that_are_no_alpha_are_refused(tmp_path: Path, planar: str, channels: int) -> None:
    pixels = np.stack([GREY, 255 - GREY, GREY // 2, GREY // 3][:channels], axis=-1 if planar == "contig" else 0)
    path = save(tmp_path / "x.tif", pixels, photometric="minisblack", planarconfig=planar)
    with pytest.raises(HarnessError, match=f"{channels} channels that are neither RGB nor marked as alpha"):
        read_image(path)


def test_three_grey_channels_are_rgb_and_an_empty_fourth_is_dropped(tmp_path: Path) -> None:
    read, notes = read_image(save(tmp_path / "x.tif", COLOUR, photometric="minisblack", planarconfig="contig"))
    assert np.array_equal(read, COLOUR)
    assert notes == ("three grey channels, taken as red, green and blue",)
    for kind in ("rgb", "minisblack"):
        planes = save(tmp_path / "y.tif", np.moveaxis(COLOUR, -1, 0), photometric=kind, planarconfig="separate")
        assert np.array_equal(read_image(planes)[0], COLOUR)
    padded = np.dstack([COLOUR, np.full_like(GREY, 255)])
    read, notes = read_image(save(tmp_path / "y.tif", padded, photometric="rgb", extrasamples=["unspecified"]))
    assert np.array_equal(read, COLOUR)
    assert notes == ("empty extra channel dropped",)


def test_a_palette_of_8_bit_entries_is_not_black(tmp_path: Path) -> None:
    table = np.stack([np.arange(256), np.arange(256)[::-1], np.zeros(256)]).astype(np.uint16)
    path = save(tmp_path / "x.tif", GREY, photometric="palette", colormap=table)
    assert np.array_equal(read_image(path)[0], np.dstack([GREY, 255 - GREY, GREY * 0]))


def test_stacks_are_refused_however_they_are_stored(tmp_path: Path) -> None:
    stack = np.stack([GREY, 255 - GREY, GREY // 2])
    tifffile.imwrite(tmp_path / "pages.tif", stack, photometric="minisblack")
    tifffile.imwrite(tmp_path / "imagej.tif", stack, imagej=True, metadata={"axes": "ZYX"})
    tifffile.imwrite(tmp_path / "one.tif", stack, photometric="minisblack", truncate=True)
    tifffile.imwrite(tmp_path / "ij1.tif", stack, imagej=True, truncate=True, metadata={"axes": "ZYX"})
    tifffile.imwrite(tmp_path / "ome.ome.tif", stack, photometric="minisblack", metadata={"axes": "ZYX"})
    with tifffile.TiffWriter(tmp_path / "behind.tif") as tiff:
        tiff.write(GREY[::2, ::2].copy(), subfiletype=1)
        tiff.write(GREY)
        tiff.write(255 - GREY)
    for name in ("pages.tif", "imagej.tif", "one.tif", "ij1.tif", "ome.ome.tif", "behind.tif"):
        with pytest.raises(HarnessError, match="a stack of"):
            read_image(tmp_path / name)


def test_a_thumbnail_before_the_page_is_left_out(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "x.tif") as tiff:
        tiff.write(GREY[::2, ::2].copy(), subfiletype=1)
        tiff.write(GREY)
    assert np.array_equal(read_image(tmp_path / "x.tif")[0], GREY)


def test_colours_that_are_not_rgb_are_refused_by_name(tmp_path: Path) -> None:
    pixels = np.dstack([COLOUR, GREY])
    with pytest.raises(HarnessError, match="CMYK"):
        read_image(save(tmp_path / "x.tif", pixels, photometric="separated"))


def test_float_labels_that_are_whole_and_grey_labels_saved_as_rgb_are_read(tmp_path: Path) -> None:
    labels = (GREY % 5).astype(np.float32)
    assert np.array_equal(read_labels(save(tmp_path / "x.tif", labels)), GREY % 5)
    assert np.array_equal(read_labels(save(tmp_path / "y.png", np.dstack([GREY % 5] * 3))), GREY % 5)


def test_labels_compressed_with_loss_are_refused(tmp_path: Path) -> None:
    for path in (save(tmp_path / "x.jpg", GREY), save(tmp_path / "x.tif", GREY, compression="jpeg")):
        with pytest.raises(HarnessError, match="JPEG"):
            read_labels(path)


def test_jpeg_is_read_and_a_cut_one_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "x.jpg", np.full((40, 50, 3), (200, 90, 30), np.uint8), quality=95)
    assert np.abs(read_image(path)[0].astype(int) - (200, 90, 30)).max() < 6
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(HarnessError):
        read_image(path)


def test_alpha_is_dropped_and_equal_channels_become_one(tmp_path: Path) -> None:
    rgba = np.dstack([COLOUR, np.full((10, 12), 7, np.uint8)])
    read, notes = read_image(save(tmp_path / "x.png", rgba))
    assert np.array_equal(read, COLOUR)
    assert notes == ("alpha channel dropped",)
    assert np.array_equal(read_image(save(tmp_path / "y.png", np.dstack([GREY] * 3)))[0], GREY)
    assert np.array_equal(read_image(save(tmp_path / "z.png", np.dstack([GREY] * 3 + [GREY])))[0], GREY)


def test_a_palette_is_applied(tmp_path: Path) -> None:
    picture = Image.fromarray(GREY % 3).convert("P")
    picture.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    picture.save(tmp_path / "x.png")
    read, notes = read_image(tmp_path / "x.png")
    assert read[0, :3].tolist() == [[10, 20, 30], [40, 50, 60], [70, 80, 90]]
    assert notes == ("palette applied",)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32, np.float64])
def test_wider_pixels_are_stretched(tmp_path: Path, dtype: type) -> None:
    wide = np.linspace(1000, 3000, 120).reshape(10, 12).astype(dtype)
    read, notes = read_image(save(tmp_path / "x.tif", wide))
    assert read.dtype == np.uint8
    assert (read.min(), read.max()) == (0, 255)
    assert (np.diff(read.ravel().astype(int)) >= 0).all()
    assert "stretched to 8-bit" in notes[0]


def test_a_16_bit_png_is_stretched_and_a_flat_one_is_black(tmp_path: Path) -> None:
    assert read_image(save(tmp_path / "x.png", GREY.astype(np.uint16) * 200))[0].max() == 255
    assert read_image(save(tmp_path / "y.png", np.full((5, 5), 4000, np.uint16)))[0].max() == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_pixels_that_are_no_numbers_are_refused(tmp_path: Path, bad: float) -> None:
    pixels = np.ones((4, 4), np.float32)
    pixels[1, 1] = bad
    with pytest.raises(HarnessError, match="NaN or infinite"):
        read_image(save(tmp_path / "x.tif", pixels))


def test_every_truncation_of_a_png_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "x.png", np.random.default_rng(0).integers(0, 255, (10, 12), np.uint8))
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(HarnessError):
            read_image(path)


def test_a_flipped_bit_in_a_png_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "x.png", GREY)
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 4
    path.write_bytes(whole)
    with pytest.raises(HarnessError, match="damaged"):
        read_image(path)


def test_what_a_file_claims_must_be_possible(tmp_path: Path) -> None:
    header = b"\x89PNG\r\n\x1a\n"
    for sides, words in (((30000, 30000), "cut it into tiles"), ((8000, 8000), "cannot hold"), ((0, 9), "cannot hold")):
        claim = chunk(b"IHDR", struct.pack(">IIBBBBB", *sides, 8, 0, 0, 0, 0))
        (tmp_path / "x.png").write_bytes(
            header + claim + chunk(b"IDAT", zlib.compress(b"\0" * 9)) + chunk(b"IEND", b"")
        )
        with pytest.raises(HarnessError, match=words):
            read_image(tmp_path / "x.png")


def test_other_refusals(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="missing"):
        read_image(tmp_path / "no.png")
    with pytest.raises(HarnessError, match=r"10x12 .* annotation 12x10"):
        read_image(save(tmp_path / "x.png", GREY), (12, 10))
    with pytest.raises(HarnessError, match=r"stack of 3 pages; .*\(three pages that are red, green and blue"):
        read_image(save(tmp_path / "x.tif", np.zeros((3, 10, 12), np.uint8), photometric="minisblack"))
    (tmp_path / "x.gif").write_bytes(b"GIF89a and so on")
    with pytest.raises(HarnessError, match="not a whole image"):
        read_image(tmp_path / "x.gif")
    with pytest.raises(HarnessError, match="cannot be read"):
        read_image(tmp_path)


@pytest.mark.parametrize("name", ["x.png", "x.tif"])
def test_label_images_keep_their_numbers(tmp_path: Path, name: str) -> None:
    labels = np.zeros((10, 12), np.uint16)
    labels[2:4, 3:9] = 40000
    assert np.array_equal(read_labels(save(tmp_path / name, labels)), labels)


def test_a_palette_of_labels_is_not_applied(tmp_path: Path) -> None:
    picture = Image.fromarray(GREY % 3).convert("P")
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    picture.save(tmp_path / "x.png")
    assert np.array_equal(read_labels(tmp_path / "x.png"), GREY % 3)
    table = np.arange(3 * 256, dtype=np.uint16).reshape(3, 256) * 80
    tifffile.imwrite(tmp_path / "x.tif", GREY, photometric="palette", colormap=table)
    assert np.array_equal(read_labels(tmp_path / "x.tif"), GREY)
    assert np.array_equal(read_image(tmp_path / "x.tif")[0], (table.T >> 8)[GREY])


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (COLOUR, "one channel"),
        (np.full((4, 4), 0.5, np.float32), "whole numbers"),
        (-np.ones((4, 4), np.int32), "negative"),
    ],
)
def test_label_images_that_are_none(tmp_path: Path, labels: np.ndarray, words: str) -> None:
    with pytest.raises(HarnessError, match=words):
        read_labels(save(tmp_path / "x.tif", labels))


def test_only_images_are_listed(tmp_path: Path) -> None:
    for name in ("b.png", "a.TIF", "c.txt", ".hidden.png"):
        (tmp_path / name).touch()
    assert list(images_in(tmp_path)) == ["a.TIF", "b.png"]


def test_colour_order_is_rgb(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "x.png"), np.full((3, 3, 3), (1, 2, 3), np.uint8))
    assert read_image(tmp_path / "x.png")[0][0, 0].tolist() == [3, 2, 1]


def test_several_pages_that_are_all_marked_as_reduced_are_a_stack(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        for _ in range(2):
            file.write(GREY, subfiletype=1, metadata=None)
    with pytest.raises(HarnessError, match="stack of 2 pages"):
        read_image(tmp_path / "x.tif")


def test_a_page_that_is_a_mask_of_another_is_left_out(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        file.write(GREY, metadata=None)
        file.write(GREY > 90, subfiletype=4, metadata=None)
    assert np.array_equal(read_image(tmp_path / "x.tif")[0], GREY)


def test_orientation_in_a_text_chunk_turns_a_png(tmp_path: Path) -> None:
    """As ImageMagick writes EXIF data."""
    exif = Image.Exif()
    exif[0x112] = 3
    raw = b"Exif\0\0" + exif.tobytes().removeprefix(b"Exif\0\0")
    text = PngInfo()
    text.add_text("Raw profile type exif", f"\nexif\n{len(raw):8d}\n{raw.hex()}\n", zip=True)
    Image.fromarray(np.ascontiguousarray(GREY[::-1, ::-1])).save(tmp_path / "x.png", pnginfo=text)
    assert np.array_equal(read_image(tmp_path / "x.png")[0], GREY)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "`git lfs pull` fetches it"),
        (b"GIF89a and so on", "the format GIF"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"BZh9 and so on", "something else"),
    ],
)
def test_what_is_no_image_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(HarnessError, match=words) as caught:
        read_image(tmp_path / "x.png")
    assert " at 0x" not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_no_image_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.png")
    assert images_in(tmp_path) == {}
    with pytest.raises(HarnessError, match="not a file"):
        read_image(tmp_path / "x.png")
