from __future__ import annotations

import os
from pathlib import Path

from systems import link

from harness.orchestration.process import log_pump
from harness.orchestration.process.log_pump import LogPump


def pumped(path: Path, *chunks: bytes, limit: int = 4 * 2**20) -> LogPump:
    reading, writing = os.pipe()
    pump = LogPump(reading, path, limit)
    for chunk in chunks:
        os.write(writing, chunk)
    os.close(writing)
    pump.finish()
    return pump


def test_a_short_log_is_kept_whole(tmp_path: Path) -> None:
    pump = pumped(tmp_path / "log", b"one\n", b"two\n\n")
    assert (tmp_path / "log").read_bytes() == b"one\ntwo\n\n"
    assert pump.last_line() == "two"


def test_of_a_long_log_both_ends_are_kept(tmp_path: Path) -> None:
    chunks = [b"%06d\n" % number + b"x" * 10_000 for number in range(1000)]
    pumped(tmp_path / "log", *chunks, limit=3 * 2**20)
    content = (tmp_path / "log").read_bytes()
    total = sum(map(len, chunks))
    assert content.startswith(chunks[0])
    assert content.endswith(chunks[-1])
    assert len(content) < 3 * 2**20 + 100
    left_out = int(content.split(b"[... ")[1].split(b" bytes")[0].replace(b",", b""))
    mark = len(f"\n[... {left_out:,} bytes left out ...]\n")
    assert len(content) - mark + left_out == total


def test_it_ends_though_another_process_holds_the_pipe(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    pump = LogPump(reading, tmp_path / "log")
    os.write(writing, b"said")
    pump.finish()
    os.close(writing)
    assert (tmp_path / "log").read_bytes() == b"said"


def test_without_a_disk_it_still_drains(tmp_path: Path) -> None:
    pump = pumped(tmp_path / "gone" / "log", *[b"z" * 60_000] * 50)
    assert pump.last_line().endswith("z")


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    link(tmp_path / "log", "precious")
    pumped(tmp_path / "log", b"theirs")
    assert (tmp_path / "precious").read_text("utf-8") == "mine"


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    assert pumped(tmp_path / "log", b"\xff\xfe\n").last_line() == "\ufffd\ufffd"
    assert log_pump.LOG_LIMIT <= 20 * 2**20
