"""The one exception that means "the person at the keyboard can mend this"."""

from __future__ import annotations

from collections.abc import Iterable


class HarnessError(Exception):
    """A mistake a user can cause, said in one line: what, where, and what to type next.

    The command line prints the message without a traceback and exits with status 2. Anything else that
    escapes is a bug of ours and keeps its traceback.
    """


def nearest(name: str, known: Iterable[str]) -> str:
    """What to add to "no method 'x'": "; did you mean 'y'?", or nothing where nothing is near."""
    from difflib import get_close_matches

    close = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def one_line(text: object, limit: int = 200) -> str:
    """Printable text of one line, for messages: files and classes in other people's data have any names."""
    flat = "".join(c if c.isprintable() else "?" for c in " ".join(str(text).split()))
    return flat if len(flat) <= limit else flat[: limit - 3] + "..."
