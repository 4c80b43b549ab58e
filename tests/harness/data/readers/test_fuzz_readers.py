"""Mutated inputs are read soundly or refused by HarnessError; nothing else may come out of a reader.

HARNESS_FUZZ=20000 tries that many new inputs per test; the default is 25.
"""

from __future__ import annotations

import io
import json
import struct
import tracemalloc
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from data_files import annotation, assert_one_line, coco_tables, kaggle_row, write_coco, write_kaggle
from fuzzing import edits, fuzz, numbers, odd_values, places
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from harness.data.dataset import Dataset
from harness.data.images import read_image, read_labels
from harness.data.sources import check, load
from harness.errors import HarnessError

TRIED: Counter[str] = Counter()
REFUSED: Counter[str] = Counter()


@pytest.fixture(scope="module", autouse=True)
def counted(figures: Callable[..., None]) -> Iterator[None]:
    yield
    for reader, inputs in TRIED.items():
        figures(reader, inputs=inputs, refused=REFUSED[reader])


def sound(dataset: Dataset) -> None:
    """Every promise that a Sample makes."""
    assert dataset.cells > 0
    for i in range(len(dataset)):
        sample = dataset[i]
        height, width = sample.size
        cells, masks = sample.instances, sample.instances.masks
        assert masks is not None
        assert sample.image.dtype == np.uint8
        assert len(cells.labels) == len(masks) == len(cells.boxes)
        if len(masks):
            assert masks.boxes[:, :2].min() >= 0
            assert (masks.boxes[:, 2:] <= (width, height)).all()
            assert masks.pixels.max() == 1
            assert np.array_equal(masks.tight()[0].boxes, masks.boxes)
            assert 0 <= cells.labels.min() <= cells.labels.max() < len(dataset.classes)


def read_or_refused(source: str, skip_bad: bool) -> None:
    reader = {"sartorius": "tables of Kaggle's", "coco": "COCO files"}[source.partition(":")[0]]
    TRIED[reader] += 1
    tracemalloc.start()
    try:
        sound(load(source, skip_bad=skip_bad, cache=False))
    except HarnessError as error:
        REFUSED[reader] += 1
        assert_one_line(error)
    else:
        assert skip_bad or not check(source, trust_labels=True).problems
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 60e6


@pytest.fixture(scope="module")
def kaggle(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("kaggle")
    rows = [kaggle_row(i, t) for i, t in (("a", "1 3 13 2"), ("a", "50 6"), ("b", "100 21"))]
    return write_kaggle(folder, rows), folder / "train.csv"


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("coco")
    segmentations = (
        [[2, 3, 6, 3, 6, 7, 2, 7]],
        {"size": [10, 12], "counts": [33, 4, 6, 4, 73]},
        {"size": [10, 12], "counts": "Q1462"},
    )
    tables = coco_tables([annotation(i, s) for i, s in enumerate(segmentations)], ("a.png", "b.png"))
    return write_coco(folder, tables), folder / "ann.json"


@fuzz
@given(edit=edits(), skip_bad=st.booleans())
def test_bytes_of_train_csv(kaggle: tuple[str, Path], edit: Callable[[bytes], bytes], skip_bad: bool) -> None:
    source, path = kaggle
    whole = path.read_bytes()
    try:
        path.write_bytes(edit(whole))
        read_or_refused(source, skip_bad)
    finally:
        path.write_bytes(whole)


@fuzz
@given(
    column=st.sampled_from(["id", "annotation", "width", "height", "cell_type", "sample_id"]),
    value=st.one_of(
        st.text(max_size=20).map(lambda t: t.encode("utf-8", "ignore").decode()),
        st.lists(numbers, max_size=12).map(lambda n: " ".join(map(str, n))),
        st.sampled_from(["../a", "1" * 500, "a\0", "999999"]),
    ),
    skip_bad=st.booleans(),
)
def test_fields_of_train_csv(
    tmp_path_factory: pytest.TempPathFactory, kaggle: tuple[str, Path], column: str, value: str, skip_bad: bool
) -> None:
    source, path = kaggle
    whole = path.read_bytes()
    field = '"' + value.replace('"', '""') + '"'
    header, first, *rest = whole.decode().splitlines()
    cells = first.split(",")
    cells[header.split(",").index(column)] = field
    try:
        path.write_text("\n".join([header, ",".join(cells), *rest]), encoding="utf-8")
        read_or_refused(source, skip_bad)
    finally:
        path.write_bytes(whole)


@fuzz
@given(data=st.data(), skip_bad=st.booleans())
def test_values_of_a_coco_file(coco: tuple[str, Path], data: st.DataObject, skip_bad: bool) -> None:
    source, path = coco
    whole = path.read_text("utf-8")
    tables = json.loads(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        where = data.draw(st.sampled_from(places(tables)))
        if not where:
            continue
        holder = tables
        for step in where[:-1]:
            holder = holder[step]
        action = data.draw(st.sampled_from(["replace", "remove", "double"]))
        if action == "replace":
            holder[where[-1]] = data.draw(odd_values)
        elif action == "remove":
            del holder[where[-1]]
        elif isinstance(holder, list):
            holder.append(deepcopy(holder[where[-1]]))
    try:
        path.write_text(json.dumps(tables))
        read_or_refused(source, skip_bad)
    finally:
        path.write_text(whole)


@fuzz
@given(edit=edits(), skip_bad=st.booleans())
def test_bytes_of_a_coco_file(coco: tuple[str, Path], edit: Callable[[bytes], bytes], skip_bad: bool) -> None:
    source, path = coco
    whole = path.read_bytes()
    try:
        path.write_bytes(edit(whole))
        read_or_refused(source, skip_bad)
    finally:
        path.write_bytes(whole)


@fuzz
@given(counts=st.text(alphabet=[chr(c) for c in range(40, 120)], max_size=14))
def test_compressed_run_lengths(coco: tuple[str, Path], counts: str) -> None:
    source, path = coco
    whole = path.read_text("utf-8")
    tables = json.loads(whole)
    tables["annotations"][1]["segmentation"] = {"size": [10, 12], "counts": counts}
    try:
        path.write_text(json.dumps(tables))
        read_or_refused(source, skip_bad=False)
    finally:
        path.write_text(whole)


def encoded(kind: str) -> bytes:
    grey = np.arange(300, dtype=np.uint8).reshape(15, 20) % 7
    out = io.BytesIO()
    if kind == "png":
        return cv2.imencode(".png", grey)[1].tobytes()
    if kind == "png16":
        return cv2.imencode(".png", grey.astype(np.uint16) * 999)[1].tobytes()
    if kind == "tiff":
        tifffile.imwrite(out, grey.astype(np.uint16))
    elif kind == "deflated tiff":
        tifffile.imwrite(out, np.dstack([grey, grey * 2, grey * 3]), compression="zlib", photometric="rgb")
    else:
        picture = Image.fromarray(grey)
        picture = picture.convert("P") if kind == "palette png" else picture
        suffix, more = {"lzw tiff": ("tiff", {"compression": "tiff_lzw"}), "palette png": ("png", {})}.get(
            kind, (kind, {})
        )
        picture.save(out, suffix, **more)
    return out.getvalue()


KINDS = ["png", "png16", "palette png", "tiff", "deflated tiff", "lzw tiff", "jpeg", "bmp"]


def read_soundly(path: Path) -> None:
    """As an image and as labels."""
    for read, reader in ((read_image, "images"), (read_labels, "label images")):
        TRIED[reader] += 1
        tracemalloc.start()
        try:
            result = read(path)
            pixels = result[0] if isinstance(result, tuple) else result
            assert pixels.ndim in (2, 3)
            assert pixels.size > 0
        except HarnessError as error:
            REFUSED[reader] += 1
            assert_one_line(error)
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert peak < 60e6


@pytest.mark.filterwarnings("ignore")  # decoders warn of much that is then refused
@pytest.mark.parametrize("kind", KINDS)
@fuzz
@given(edit=edits())
def test_bytes_of_image_and_label_files(
    tmp_path_factory: pytest.TempPathFactory, kind: str, edit: Callable[[bytes], bytes]
) -> None:
    path = tmp_path_factory.getbasetemp() / f"fuzzed.{kind.split()[-1]}"
    path.write_bytes(edit(encoded(kind)))
    read_soundly(path)


@fuzz
@given(
    sides=st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 70)),
    kind=st.tuples(*[st.integers(0, 255)] * 2),
    edit=edits(),
    resized=st.booleans(),
)
def test_a_png_whose_checksums_are_right(
    tmp_path_factory: pytest.TempPathFactory,
    sides: tuple[int, int],
    kind: tuple[int, int],
    edit: Callable[[bytes], bytes],
    resized: bool,
) -> None:
    whole = encoded("png")
    header = struct.pack(">IIBBBBB", *sides, *kind, 0, 0, 0) if resized else whole[16:29]
    chunks = ((b"IHDR", header), (b"IDAT", edit(whole[41:-16])), (b"IEND", b""))
    sealed = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    path = tmp_path_factory.getbasetemp() / "sealed.png"
    path.write_bytes(whole[:8] + b"".join(sealed))
    read_soundly(path)
