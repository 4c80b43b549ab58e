"""Damaged annotation files of every source in one folder are read soundly or refused by HarnessError.

As test_fuzz_readers.py, for the formats of annotation tools; HARNESS_FUZZ=20000 tries that many new inputs per test.
"""

from __future__ import annotations

import io
import json
import sys
import threading
import tracemalloc
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import assert_one_line
from example_sources import EXAMPLES
from fuzzing import edits, fuzz, odd_values, places
from hypothesis import given
from hypothesis import strategies as st

from harness.data.conformance import assert_sound
from harness.data.sources import check, load
from harness.errors import HarnessError

FILES = {
    "cellpose": "a_seg.npy",
    "imagej": "a_RoiSet.zip",
    "qupath": "a.geojson",
    "labelme": "a.json",
    "yolo": "labels/a.txt",
    "ctc": "01_GT/SEG/man_seg000.tif",
    "dsb2018": f"a/masks/{1:064x}.png",
}
"""The annotation file that is damaged."""

TRIED: Counter[str] = Counter()
REFUSED: Counter[str] = Counter()
EXECUTED: list[str] = []

FORBIDDEN = ("os.", "subprocess.", "shutil.", "socket.", "pickle.find_class", "ctypes.")
"""Audit events that no reader may raise: each is a door out of the file."""

HARMLESS = ("os.listdir", "os.scandir", "os.walk")


OTHERS: set[int] = set()
"""Threads that ran before the file was read, such as those of earlier tests: what they do is not the reader's."""

LISTENING: list[bool] = []


def _listen(event: str, arguments: tuple[Any, ...]) -> None:
    if LISTENING and event.startswith(FORBIDDEN) and event not in HARMLESS and threading.get_ident() not in OTHERS:
        EXECUTED.append(f"{event} {arguments}")


sys.addaudithook(_listen)


@pytest.fixture(scope="module", autouse=True)
def counted(figures: Callable[..., None]) -> Iterator[None]:
    yield
    for kind, inputs in TRIED.items():
        figures(f"{kind} files", inputs=inputs, refused=REFUSED[kind])


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    found = {kind: EXAMPLES[kind](tmp_path_factory.mktemp(kind)) for kind in FILES}
    for source in found.values():
        load(source, cache=False)  # modules are imported before anything is listened to
    return found


def read_or_refused(source: str, content: bytes, skip_bad: bool) -> None:
    """With `content` in place of the annotation file."""
    kind, _, folder = source.partition(":")
    path = Path(folder) / FILES[kind]
    whole = path.read_bytes()
    TRIED[kind] += 1
    EXECUTED.clear()
    OTHERS.clear()
    OTHERS.update(thread.ident or 0 for thread in threading.enumerate() if thread is not threading.current_thread())
    tracemalloc.start()
    try:
        path.write_bytes(content)
        LISTENING.append(True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # decoders warn of much that is then refused
            assert_sound(load(source, skip_bad=skip_bad, cache=False))
            assert skip_bad or not check(source, trust_labels=True).problems
    except HarnessError as error:
        REFUSED[kind] += 1
        assert_one_line(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        LISTENING.clear()
        path.write_bytes(whole)
    assert peak < 60e6
    assert not EXECUTED


def content_of(source: str) -> bytes:
    kind, _, folder = source.partition(":")
    return (Path(folder) / FILES[kind]).read_bytes()


@pytest.mark.parametrize("kind", FILES)
@fuzz
@given(edit=edits(), skip_bad=st.booleans())
def test_bytes(sources: dict[str, str], kind: str, edit: Callable[[bytes], bytes], skip_bad: bool) -> None:
    read_or_refused(sources[kind], edit(content_of(sources[kind])), skip_bad)


@fuzz
@given(edit=edits(), skip_bad=st.booleans())
def test_bytes_of_regions_in_a_whole_zip_file(
    sources: dict[str, str], edit: Callable[[bytes], bytes], skip_bad: bool
) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content_of(sources["imagej"]))) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            new.writestr(name, edit(old.read(name)))
    read_or_refused(sources["imagej"], out.getvalue(), skip_bad)


@pytest.mark.parametrize("kind", ["qupath", "labelme"])
@fuzz
@given(data=st.data(), skip_bad=st.booleans())
def test_values_of_json(sources: dict[str, str], kind: str, data: st.DataObject, skip_bad: bool) -> None:
    whole = json.loads(content_of(sources[kind]))
    for _ in range(data.draw(st.integers(1, 3))):
        where = data.draw(st.sampled_from(places(whole)))
        if not where:
            continue
        holder = whole
        for step in where[:-1]:
            holder = holder[step]
        action = data.draw(st.sampled_from(["replace", "remove", "double"]))
        if action == "replace":
            holder[where[-1]] = data.draw(st.one_of(odd_values, st.sampled_from(["mask", "circle", "MultiPolygon"])))
        elif action == "remove":
            del holder[where[-1]]
        elif isinstance(holder, list):
            holder.append(deepcopy(holder[where[-1]]))
    read_or_refused(sources[kind], json.dumps(whole).encode(), skip_bad)


@fuzz
@given(words=st.lists(st.one_of(st.floats().map(str), st.integers().map(str), st.text(max_size=4)), max_size=12))
def test_rows_of_yolo(sources: dict[str, str], words: list[str]) -> None:
    row = " ".join(words).encode("utf-8", "replace")
    read_or_refused(sources["yolo"], content_of(sources["yolo"]) + b"\n" + row, skip_bad=True)


TYPES = ["u1", ">i8", "f2", "f8", "S3", "O", "M8[s]", "c8"]
arrays = st.tuples(st.lists(st.integers(0, 70), max_size=4), st.sampled_from(TYPES)).map(
    lambda kind: np.zeros(kind[0] if np.prod(kind[0]) < 10**5 else 3, kind[1])
)


@fuzz
@given(
    masks=st.one_of(odd_values, arrays),
    edit=edits(),
    edited=st.booleans(),
)
def test_dicts_of_cellpose(sources: dict[str, str], masks: Any, edit: Callable[[bytes], bytes], edited: bool) -> None:
    out = io.BytesIO()
    np.save(out, np.asarray({"masks": masks, "flows": [masks]}, object), allow_pickle=True)
    whole = out.getvalue()
    start = whole.index(b"\x80", 8)
    content = whole[:start] + (edit(whole[start:]) if edited else whole[start:])
    read_or_refused(sources["cellpose"], content, skip_bad=True)
