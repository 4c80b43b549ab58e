"""Exceptions that mean "the user can fix this", and the words of their messages."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from pathlib import Path

_REASONS = {
    errno.ENOSPC: "no space left on the disk",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "no permission to write there",
    errno.ENOENT: "its folder is gone",
    errno.EIO: "the disk reports an input/output error",
}


class HarnessError(Exception):
    """A mistake that a user can correct. Its message is one line: what, where, and what to type next.

    The command line prints the message without a traceback and exits with status 2. Any other exception is a bug and
    keeps its traceback.
    """


class NoWeightsError(HarnessError):
    """There are no initial weights for the network of a trial, which is then skipped. The message is the reason."""


class StorageError(HarnessError):
    """A file could not be written. What was there before is unharmed."""


def storage_error(path: Path, error: OSError) -> StorageError:
    """The line that names the path and why it cannot be written."""
    reason = _REASONS.get(error.errno or 0) or error.strerror or str(error)
    return StorageError(
        f"cannot write {path}: {reason}; what was written before is unharmed: mend that and type the same command again"
    )


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message such as "no method 'x'": "; did you mean 'y'?", or nothing if no name is similar."""
    from difflib import get_close_matches

    close = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def one_line(text: object, limit: int = 200) -> str:
    """Printable text of one line, for messages: files and classes in other people's data have any names."""
    flat = "".join(c if c.isprintable() else "?" for c in " ".join(str(text).split()))
    return flat if len(flat) <= limit else flat[: limit - 3] + "..."
