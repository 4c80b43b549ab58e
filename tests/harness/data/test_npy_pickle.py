from __future__ import annotations

import io
import os
import pickle
import pickletools
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.data.npy_pickle import StoredArray, read_object_npy
from harness.errors import HarnessError

LABELS = np.arange(12, dtype=np.uint16).reshape(3, 4)


def saved(value: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, value, allow_pickle=True)
    return out.getvalue()


def with_pickle(content: bytes) -> bytes:
    """An .npy file whose header is right and whose pickle is `content`."""
    whole = saved({})
    return whole[: whole.index(b"\x80", 8)] + content


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">i4", "i8", "?", "f4", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_arrays_come_out_as_they_went_in(dtype: str, order: str, protocol: int) -> None:
    array = np.asarray(LABELS, dtype, order=order)
    holder = np.empty((), object)
    holder[()] = {"masks": array, "n": 3, "name": "x", "list": [1.5, None, True, (1, 2, 3, 4)]}
    found = read_object_npy(with_pickle(pickle.dumps(holder, protocol=protocol)))
    assert np.array_equal(found["masks"].array(), array)
    assert found["masks"].array().dtype == array.dtype
    assert (found["n"], found["name"], found["list"]) == (3, "x", [1.5, None, True, (1, 2, 3, 4)])


def test_what_no_label_image_needs_is_read_as_nothing() -> None:
    saved_dict = {"path": Path("x"), "number": np.float32(2), "set": {1}, "text": np.array(["a"])}
    found = read_object_npy(saved(saved_dict))
    assert (found["path"], found["number"]) == (None, None)
    with pytest.raises(HarnessError, match="not of numbers"):
        found["text"].array()


@pytest.mark.parametrize("module", [b"pathlib", b"pathlib._local"])
def test_a_path_that_any_python_saved_is_read_as_nothing(module: bytes) -> None:
    holder = np.empty((), object)
    holder[()] = {"path": Path("x")}
    of_this_python = Path.__module__.encode()
    content = pickle.dumps(holder, protocol=2).replace(b"c" + of_this_python + b"\n", b"c" + module + b"\n")
    assert b"c" + module + b"\n" in content
    assert read_object_npy(with_pickle(content))["path"] is None


class Evil:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize("function", [os.system, eval, os.mkdir, __import__, getattr])
def test_nothing_is_executed(tmp_path: Path, function: Any, protocol: int) -> None:
    trace = tmp_path / "executed"
    evil = Evil(function, f"touch {trace}" if function is os.system else str(trace))
    for value in (evil, {"masks": LABELS, "flows": [evil]}):
        holder = np.empty((), object)
        holder[()] = value
        for content in (pickle.dumps(holder, protocol=protocol), pickle.dumps(value, protocol=protocol)):
            with pytest.raises(HarnessError) as refused:
                read_object_npy(with_pickle(content))
            assert str(refused.value).isprintable()
    assert not trace.exists()


def test_a_pickle_cannot_change_a_stand_in() -> None:
    content = b"\x80\x02cnumpy\ndtype\n}X\x01\x00\x00\x00aK\x01sb."
    assert pickletools.dis(content, io.StringIO()) is None
    with pytest.raises(HarnessError, match="changes something other than an array"):
        read_object_npy(with_pickle(content))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b".",
        b"\x80\x04",
        b"0.",
        b"(.",
        b"\x80\x02)R.",
        b"\x80\x04Nh\x05.",
        b"\x80\x02P7\n.",
        b"\x80\x02](K\x01K\x02" + b"u.",
        b"\x80\x04\x8e" + (2**62).to_bytes(8, "little") + b"x.",
        b"\x80\x04\x95" + (2**62).to_bytes(8, "little") + b"N.",
        b"\x80\x02Nr" + (2**32 - 1).to_bytes(4, "little") + b".",
    ],
)
def test_disorder_is_one_line(content: bytes) -> None:
    with pytest.raises(HarnessError) as refused:
        read_object_npy(with_pickle(content))
    assert str(refused.value).isprintable()


def test_nested_tuples_as_key_type_or_size_end_soon() -> None:
    """Their hash and their text take 2 ** 60 steps."""
    tower = b"N\x85" + b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(60))
    began = time.monotonic()
    for content in (b"\x80\x02}" + tower + b"K\x01s.", b"\x80\x02cnumpy\ndtype\n" + tower + b"\x85R."):
        with pytest.raises(HarnessError):
            read_object_npy(with_pickle(content))
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "state",
    [
        None,
        (),
        (1, (3, 4), None, False, b""),
        (1, (3, 5), "dtype", False, bytes(24)),
        (1, (2**50, 2**50), "dtype", False, b""),
    ],
)
def test_an_array_whose_content_does_not_fit_is_refused(state: Any) -> None:
    kind = read_object_npy(saved({"a": LABELS}))["a"].state[2]
    state = tuple(kind if part == "dtype" else part for part in state) if state else state
    with pytest.raises(HarnessError):
        StoredArray(state).array()


@pytest.mark.parametrize("value", [LABELS, np.array([{}, {}], object), np.array(["a"])])
def test_other_files_of_numpy_are_refused(value: Any) -> None:
    with pytest.raises(HarnessError, match="not one saved dict"):
        read_object_npy(saved(value))
