"""How inputs are mutated: edits of bytes, odd values, and the places of values in JSON."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st


def examples(usual: int) -> int:
    """How many inputs a property test tries: HARNESS_FUZZ where that is set, else `usual`."""
    return int(os.environ.get("HARNESS_FUZZ", usual))


EXAMPLES = examples(25)
fuzz = settings(
    max_examples=EXAMPLES,
    deadline=timedelta(seconds=20),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

numbers = st.one_of(st.integers(-3, 300), st.sampled_from([2**31, 2**63, 10**9, 10**30, -(2**63)]))
odd_values: st.SearchStrategy[Any] = st.one_of(
    numbers,
    st.none(),
    st.booleans(),
    st.floats(),
    st.text(max_size=8),
    st.lists(numbers, max_size=8),
    st.lists(st.lists(st.one_of(numbers, st.floats()), max_size=8), max_size=3),
    st.dictionaries(st.sampled_from(["size", "counts", "id"]), st.one_of(numbers, st.text(max_size=9)), max_size=2),
    st.sampled_from(["../x.png", "/etc/passwd", "a.png\0", "x" * 300, "a.png", ".", "..", "PPYo1PPYo1", "=1+1", "\n"]),
)


@st.composite
def edits(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """A few bytes changed, removed, put in or doubled; places are fractions, so that any content can be edited."""
    steps = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["set", "cut", "insert", "double", "end"]),
                st.floats(0, 1),
                st.integers(1, 30),
                st.binary(min_size=1, max_size=4),
            ),
            min_size=1,
            max_size=4,
        )
    )

    def edit(content: bytes) -> bytes:
        for kind, place, length, new in steps:
            at = int(place * len(content))
            head, tail = content[:at], content[at:]
            content = {
                "set": head + new + tail[len(new) :],
                "cut": head + tail[length:],
                "insert": head + new + tail,
                "double": head + tail[:length] + tail,
                "end": head,
            }[kind]
        return content

    return edit


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every path into a JSON value."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at] + [p for step, inner in steps for p in places(inner, (*at, step))]
