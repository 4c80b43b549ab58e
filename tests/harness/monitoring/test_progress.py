from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from harness.monitoring.progress import Progress, ProgressPipe, ProgressReader


def test_what_is_reported_is_read() -> None:
    reading, writing = os.pipe()
    said = Progress("training", 7, 0.5, 1.25, 30.0, 12.0)
    ProgressPipe(writing).report(said)
    assert ProgressReader().feed(os.read(reading, 9999)) == said
    os.close(reading)
    os.close(writing)


def test_a_full_pipe_does_not_hold_the_worker_up() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    pipe = ProgressPipe(writing)
    for step in range(5000):
        pipe.report(Progress(f"phase {step}"))
    os.close(reading)
    pipe.report(Progress("nobody reads"))
    os.close(writing)


def test_few_a_second_but_every_change_of_phase() -> None:
    reading, writing = os.pipe()
    pipe = ProgressPipe(writing)
    for step in range(100):
        pipe.report(Progress("training", step))
    pipe.report(Progress("evaluation"))
    lines = os.read(reading, 99999).splitlines()
    assert 2 <= len(lines) < 10
    assert b"evaluation" in lines[-1]
    os.close(reading)
    os.close(writing)


def test_asked_to_stop() -> None:
    pipe = ProgressPipe()
    assert not pipe.stop_requested()
    pipe.request_stop()
    pipe.report(Progress("training"))
    assert pipe.stop_requested()


def test_a_line_in_pieces_and_the_last_of_several() -> None:
    reader = ProgressReader()
    a, b = (
        f'{{"phase": "p", "step": {n}, "fraction": 2, "loss": null, "images_per_second": 1, "seconds_left": null}}\n'
        for n in (1, 2)
    )
    assert reader.feed(a[:20].encode()) is None
    found = reader.feed((a[20:] + b + "{").encode())
    assert found == Progress("p", 2, 1.0, None, 1.0, None)


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_garbage_is_passed_over(chunks: list[bytes]) -> None:
    reader = ProgressReader()
    for chunk in chunks:
        reader.feed(chunk + b"\n")
    assert reader.feed(b'{"phase": "p", "step": 1, "fraction": "x"}\n') is None
