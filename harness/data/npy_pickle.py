"""Arrays and plain values out of a pickle, without running it.

A pickle is a program: loading one can run anything. Here its instructions are read one by one, those that build dicts,
lists, text, numbers and numpy arrays are followed, and everything else is refused. No class or function that a file
names is imported or called. Instructions are those of Python's pickletools; how numpy reduces an array to them is
documented with numpy.ndarray.__reduce__ and numpy.ndarray.__setstate__.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError, one_line

MAX_STEPS = 2_000_000
"""Most instructions of a pickle. A label image is one; lists of numbers take one each."""

VALUES = "BININT BININT1 BININT2 INT LONG LONG1 LONG4 BINFLOAT FLOAT UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8"
VALUES += " STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8"
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
MADE: dict[str, Callable[[list[Any]], Any]] = {"TUPLE": tuple, "LIST": list, "DICT": lambda items: _dict_of(items)}
EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_DICT": dict, "EMPTY_SET": set}

NUMBERS = {"b1", "f2", "f4", "f8", *(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8))}
"""Types of arrays that are read."""


@dataclass
class StoredArray:
    """An array as a pickle describes it. state: version, shape, dtype, whether column-major, bytes."""

    state: Any = None

    def array(self) -> NDArray:
        """Raises HarnessError where it is no array of plain numbers."""
        state = self.state
        if not (isinstance(state, tuple) and len(state) == 5 and isinstance(state[2], StoredType)):
            raise HarnessError("an array without content")
        _, shape, kind, column_major, raw = state
        plain = isinstance(shape, tuple) and all(type(side) is int and 0 <= side < 2**40 for side in shape)
        if not plain or not isinstance(raw, (bytes, bytearray)) or len(shape) > 8:
            raise HarnessError("an array of something other than numbers")
        dtype = kind.dtype()
        if int(np.prod(shape, dtype=object)) * dtype.itemsize != len(raw):
            raise HarnessError(f"an array of the shape {shape} in {len(raw)} bytes")
        return np.frombuffer(raw, dtype).reshape(shape, order="F" if column_major else "C")


@dataclass
class StoredType:
    """A numpy dtype as a pickle describes it: "i4", and in its state the order of bytes."""

    name: Any
    state: Any = None

    def dtype(self) -> np.dtype:
        """Raises HarnessError where it is no plain number."""
        order = self.state[1] if isinstance(self.state, tuple) and len(self.state) > 1 else "|"
        if not isinstance(self.name, str) or self.name not in NUMBERS or order not in ("<", ">", "|", "="):
            what = one_line(self.name, 40) if isinstance(self.name, str) else "something else"
            raise HarnessError(f"an array of {what}, not of numbers")
        return np.dtype(f"{order}{self.name}")


@dataclass(frozen=True)
class _Global:
    """A function that a pickle names, and what stands in for it."""

    stand_in: Callable[..., Any]


def _bytes_of_text(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise HarnessError("bytes in an unknown encoding")
    return text.encode("latin-1", "replace")


GLOBALS = {
    ("_codecs", "encode"): _Global(_bytes_of_text),
    ("numpy", "dtype"): _Global(lambda name, *_: StoredType(name)),
    ("numpy", "ndarray"): _Global(lambda *_: None),
    **{
        (f"numpy.{core}.multiarray", name): _Global(stand_in)
        for core in ("core", "_core")
        for name, stand_in in (("_reconstruct", lambda *_: StoredArray()), ("scalar", lambda *_: None))
    },
    # Python 3.13 saves paths under another name of the module
    **{
        (module, name): _Global(lambda *_: None)
        for module in ("pathlib", "pathlib._local")
        for name in ("PosixPath", "WindowsPath", "Path", "PurePosixPath")
    },
}
"""All that may be named. Numbers of numpy and paths are read as None: no label image needs them."""


def read_object_npy(data: bytes) -> Any:
    """The one value that np.save wrote as an object array of no dimension.

    Raises:
        HarnessError: where it is something else, or its pickle asks for anything but plain values and arrays.
    """
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(file)
    except Exception as error:  # a damaged header raises nearly anything
        raise HarnessError(f"not an .npy file: {one_line(error)}") from error
    if dtype != np.dtype(object) or shape != ():
        raise HarnessError(f"an array of {dtype} and the shape {shape}, not one saved dict")
    try:
        whole = _Machine().run(file)
    except HarnessError:
        raise
    except Exception as error:  # pickletools and a stack in disorder raise nearly anything
        raise HarnessError(f"not a whole pickle: {one_line(error) or type(error).__name__}") from error
    state = whole.state if isinstance(whole, StoredArray) else None
    if not (isinstance(state, tuple) and len(state) == 5 and isinstance(state[4], list) and len(state[4]) == 1):
        raise HarnessError("not one saved dict")
    return state[4][0]


class _Machine:
    """Follows the instructions of a pickle that build plain values."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.outer: list[list[Any]] = []  # what lay on the stack before each open mark
        self.memo: dict[int, Any] = {}

    def run(self, file: io.BytesIO) -> Any:
        for step, (opcode, argument, _) in enumerate(pickletools.genops(file)):
            if step > MAX_STEPS:
                raise HarnessError(f"its pickle has more than {MAX_STEPS:,} instructions")
            if opcode.name == "STOP":
                return self.stack.pop()
            self.follow(opcode.name, argument)
        raise HarnessError("its pickle has no end")

    def follow(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in VALUES_SET:
            stack.append(argument)
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name in EMPTY:
            stack.append(EMPTY[name]())
        elif name == "MARK":
            self.outer.append(stack)
            self.stack = []
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[int(argument)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self.memo[int(argument)])
        elif name == "POP":
            stack.pop()
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            stack[-count:] = [tuple(stack[-count:])]
        elif name in ("TUPLE", "LIST", "DICT"):
            made = MADE[name](self.since_mark())
            self.stack.append(made)
        elif name in ("APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS"):
            self.fill(name)
        elif name in ("GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD"):
            self.build(name, argument)
        elif name not in ("PROTO", "FRAME"):
            raise HarnessError(f"its pickle uses {name}, which no saved array needs: it is not loaded")

    def since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.outer.pop()
        return items

    def fill(self, name: str) -> None:
        if name.endswith("S"):
            items = self.since_mark()
        else:
            count = 2 if name == "SETITEM" else 1
            items = self.stack[-count:]
            del self.stack[-count:]
        target = self.stack[-1]
        if isinstance(target, list) and name.startswith("APPEND"):
            target.extend(items)
        elif isinstance(target, dict) and name.startswith("SET"):
            target.update(_dict_of(items))
        elif not (isinstance(target, set) and name == "ADDITEMS"):
            raise HarnessError("its pickle is out of order")

    def build(self, name: str, argument: Any) -> None:
        if name == "BUILD":
            state = self.stack.pop()
            if not isinstance(self.stack[-1], (StoredArray, StoredType)):
                raise HarnessError("its pickle changes something other than an array: it is not loaded")
            self.stack[-1].state = state
            return
        if name == "REDUCE":
            arguments, function = self.stack.pop(), self.stack.pop()
            if not isinstance(function, _Global) or not isinstance(arguments, tuple):
                raise HarnessError("its pickle calls something other than numpy's arrays: it is not loaded")
            self.stack.append(function.stand_in(*arguments))
            return
        if name == "STACK_GLOBAL":
            attribute, module = self.stack.pop(), self.stack.pop()
        else:
            module, _, attribute = str(argument).partition(" ")
        if not isinstance(module, str) or not isinstance(attribute, str):
            raise HarnessError("its pickle is out of order")
        if (module, attribute) not in GLOBALS:
            named = one_line(f"{module}.{attribute}", 80)
            raise HarnessError(f"its pickle names {named}, which no saved array needs: it is not loaded")
        self.stack.append(GLOBALS[module, attribute])


VALUES_SET = frozenset(VALUES.split())


def _dict_of(items: list[Any]) -> dict[Any, Any]:
    """From keys and values in turn. Keys are plain: the hash of a tuple of tuples may take for ever."""
    if not all(isinstance(key, (str, int, float, bytes)) for key in items[::2]):
        raise HarnessError("its pickle holds a dict whose keys are neither text nor numbers")
    return dict(zip(items[::2], items[1::2], strict=True))
