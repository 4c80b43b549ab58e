"""What is printed reaches its reader, whatever the system's code page holds."""

from __future__ import annotations

import io
import os
import sys


def print_any_character() -> None:
    """Let standard output and error take every character.

    A pipe or a file on Windows has the code page of the system, cp1252 for one, and printing "≈" there is an error.
    They get UTF-8, unless PYTHONIOENCODING asks for something else. A console takes every character by itself. What an
    encoding lacks is replaced.
    """
    for stream in (sys.stdout, sys.stderr):
        if not isinstance(stream, io.TextIOWrapper):
            continue
        chosen = "PYTHONIOENCODING" in os.environ or stream.isatty()
        if sys.platform == "win32" and not chosen:
            stream.reconfigure(encoding="utf-8")
        if stream.errors == "strict":
            stream.reconfigure(errors="replace")
