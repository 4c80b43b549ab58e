"""Printing is never an error, whatever the code page is."""

from __future__ import annotations

import io
import sys

import pytest

from harness.platform.console import print_any_character


class Stream(io.TextIOWrapper):
    """A standard output; `terminal` says whether it is a console."""

    def __init__(self, encoding: str, terminal: bool = False) -> None:
        self.content = io.BytesIO()
        self.terminal = terminal
        super().__init__(self.content, encoding=encoding, errors="strict")

    def isatty(self) -> bool:
        return self.terminal


def printed(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> bytes:
    monkeypatch.setattr(sys, "stdout", stream)
    print_any_character()
    print("≈ µm", end="", flush=True)
    return stream.content.getvalue()


def test_what_an_encoding_lacks_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    assert printed(Stream("cp1252"), monkeypatch) == "? µm".encode("cp1252")


def test_a_pipe_of_windows_gets_utf_8(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.delenv("PYTHONIOENCODING", raising=False)
    assert printed(Stream("cp1252"), monkeypatch) == "≈ µm".encode()


def test_a_chosen_encoding_and_that_of_a_console_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert printed(Stream("cp1252", terminal=True), monkeypatch) == "? µm".encode("cp1252")
    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")
    assert printed(Stream("cp1252"), monkeypatch) == "? µm".encode("cp1252")
