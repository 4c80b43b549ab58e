"""Writes a preset as a TOML file that `--preset` reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from harness.config.preset import Preset


def preset_text(preset: Preset, comment: str) -> str:
    """The preset in TOML, without its name, which is that of the file. comment: stands above it."""
    plain = preset.model_dump(mode="json", exclude={"name", "fit"})
    rows = plain.pop("rows")
    tables = {name: plain.pop(name) for name in ("training", "evaluation", "model")}
    lines = [*(f"# {line}" for line in comment.splitlines()), *_pairs(plain)]
    for name, table in tables.items():
        lines += ["", f"[{name}]", *_pairs(table)]
    for row in rows:
        lines += ["", "[[rows]]", *_pairs(row)]
    return "\n".join(lines) + "\n"


def _pairs(table: Mapping[str, Any]) -> list[str]:
    return [f"{_key(key)} = {_text(value)}" for key, value in table.items() if value is not None]


def _key(key: str) -> str:
    return key if key.isascii() and key.replace("_", "a").isalnum() else json.dumps(key)


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(_pairs(value)) + " }" if value else "{}"
    if isinstance(value, list):
        return "[" + ", ".join(_text(item) for item in value) + "]"
    # JSON writes text, numbers and truth values as TOML does; TOML knows no \/ but JSON writes none
    return json.dumps(value)
