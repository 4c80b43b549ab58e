"""Text from data, made harmless where it is shown."""

from __future__ import annotations

import html
import re

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet takes a cell that begins so for a formula."""

_LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "Δ": r"$\Delta$",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}  # fmt: skip


def one_line(text: str) -> str:
    """Without line breaks and characters that cannot be printed."""
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())


def for_markdown(text: str) -> str:
    """As it is, in a cell of a Markdown table: no column, tag, link or emphasis begins in it."""
    escaped = re.sub(r"([\\`*_{}\[\]|!])", r"\\\1", one_line(text))
    # inside a word an underscore stands for itself, and names are easier to read and search without the backslash
    return html.escape(re.sub(r"(?<=\w)\\_(?=\w)", "_", escaped), quote=False)


def for_csv(text: str) -> str:
    """As it is, with an apostrophe before what a spreadsheet would calculate."""
    return f"'{text}" if text.startswith(FORMULA) else text


def for_latex(text: str) -> str:
    """As it is, in a cell of a LaTeX table."""
    return "".join(_LATEX.get(letter, letter) for letter in one_line(text))
