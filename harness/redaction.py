"""Keeps private folders out of files that may be passed on."""

from __future__ import annotations

import re
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any


def redact_home(plain: Any) -> Any:
    """JSON values with the home folder's path replaced by `~` in every string."""
    home = _telling_home()
    return plain if home is None else _replaced(plain, _pattern(home))


def redact_home_in_json(text: str) -> str:
    """The same of values that are JSON text, whose letters are not escaped: far quicker where there are many."""
    home = _telling_home()
    return text if home is None else _pattern(home).sub("~", text)


def _telling_home() -> PurePath | None:
    """The home folder; None where it is one such as "/" or "/app", which reveals nothing and is part of many paths."""
    home = Path.home()
    return None if len(home.parts) < 3 and str(home) != "/root" else home


def _pattern(home: PurePath) -> re.Pattern[str]:
    """What the path looks like in text.

    On Windows: in any case, with slashes or backslashes, also doubled, and doubled again where the text is JSON.
    """
    if home.drive:
        parts = [re.escape(part.rstrip("\\/")) for part in home.parts]
        return re.compile(r"(?:\\{1,2}|\\{4}|/)".join(parts) + r"(?![\w.-])", re.IGNORECASE)
    return re.compile(re.escape(str(home)) + r"(?![\w.-])")


def _replaced(plain: Any, home: re.Pattern[str]) -> Any:
    if isinstance(plain, str):
        return home.sub("~", plain)
    if isinstance(plain, dict):
        return {_replaced(key, home): _replaced(value, home) for key, value in plain.items()}
    if isinstance(plain, list):
        return [_replaced(value, home) for value in plain]
    return plain


def is_absolute(text: str) -> bool:
    """Whether the text is a path from the root of a disk, on this system or another. "/" alone is none."""
    return len(text) > 1 and (PurePosixPath(text).is_absolute() or PureWindowsPath(text).is_absolute())


def public_path(text: str) -> str:
    """A path fit for records: an absolute or ~ path cut to its last two parts below a home folder, others as typed."""
    # records of another system are read too
    windows = PureWindowsPath(text)
    path: PurePath = windows if windows.drive and windows.root else Path(text)
    if path.is_absolute() and path.is_relative_to(Path.home()):
        below = path.relative_to(Path.home()).parts
    elif path.root:
        below = path.parts[3:] if path.parts[1:2] in (("home",), ("Users",)) else path.parts[1:]
    elif text.startswith("~"):
        below = path.parts[1:]
    else:
        return text
    return "/".join(("...", *below[-2:]))
