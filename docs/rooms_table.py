"""Writes the table of rooms in docs/architecture.md: run `python docs/rooms_table.py` after code has moved.

Rooms and what they may import come from [tool.importlinter] in pyproject.toml, sizes from the files.
"""

from __future__ import annotations

import ast
import io
import tokenize
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- rooms: begin -->", "<!-- rooms: end -->"
NO_CODE = {
    tokenize.COMMENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
    tokenize.INDENT,
    tokenize.NEWLINE,
    tokenize.NL,
}
HEADER = (
    "| layer | room | may import | files | lines | longest file | longest function |",
    "|---:|---|---|---:|---:|---:|---:|",
)


@dataclass(frozen=True)
class Size:
    """lines: all lines of a room's Python files. file, function: most lines of code in one of them.

    Code is what is left without blank lines, comments and docstrings.
    """

    files: int
    lines: int
    file: int
    function: int


def layers(package: str) -> list[list[str]]:
    """The rooms of a package, lowest layer first; rooms of one layer do not import each other."""
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    (contract,) = (
        c for c in tools["importlinter"]["contracts"] if c["type"] == "layers" and c["containers"] == [package]
    )
    return [[name.strip() for name in layer.split("|")] for layer in reversed(contract["layers"])]


def files_of(package: str, room: str) -> list[Path]:
    """The Python files of a room, which is a folder or a single module. Raises FileNotFoundError."""
    folder = ROOT / package / room
    if folder.is_dir():
        return sorted(folder.rglob("*.py"))
    if folder.with_suffix(".py").is_file():
        return [folder.with_suffix(".py")]
    raise FileNotFoundError(f"pyproject.toml names the room {package}.{room}, which is not there")


def code_lines(text: str, tree: ast.AST) -> set[int]:
    """Numbers of the lines that hold code."""
    found: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in NO_CODE:
            found.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            found.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return found


def size_of(paths: list[Path]) -> Size:
    lines, longest_file, longest_function = 0, 0, 0
    for path in paths:
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        code = code_lines(text, tree)
        lines += text.count("\n")
        longest_file = max(longest_file, len(code))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                inside = range(node.lineno, (node.end_lineno or node.lineno) + 1)
                longest_function = max(longest_function, len(code.intersection(inside)))
    return Size(len(paths), lines, longest_file, longest_function)


def rows() -> Iterator[str]:
    """A row for each room, lowest first, numbered by layer."""
    for package, letter in (("harness", ""), ("methods", "m")):
        for number, layer in enumerate(layers(package), start=1):
            for room in layer:
                size = size_of(files_of(package, room))
                path = f"{package}/{room}" + ("/" if (ROOT / package / room).is_dir() else ".py")
                numbers = f"{size.files} | {size.lines:,} | {size.file} | {size.function}"
                yield f"| {letter}{number} | `{path}` | {below(number, letter)} | {numbers} |"


def below(number: int, letter: str) -> str:
    """The layers below one, in words."""
    if number == 1:
        return "none"
    return f"{letter}1" if number == 2 else f"{letter}1 to {letter}{number - 1}"


def main() -> None:
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    table = "\n".join([*HEADER, *rows()])
    PAGE.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{after}", encoding="utf-8")
    print(f"wrote the table of rooms in {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
