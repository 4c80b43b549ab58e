"""How Sphinx builds these pages: `tox -e docs`, or `sphinx-build -W docs build/docs`."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]
_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = _PROJECT["name"]
author = _PROJECT["authors"][0]["name"]
project_copyright = author
version = release = _PROJECT["version"]

extensions = ["myst_parser"]
exclude_patterns: list[str] = []
nitpicky = True

# headings down to the third level can be linked to, as they can on GitHub: methods.md#deepmac
myst_heading_anchors = 3

html_theme = "furo"
html_title = project
html_show_sphinx = False
html_copy_source = False

BESIDE = {"contributing": "CONTRIBUTING.md", "changelog": "CHANGELOG.md"}
"""Page to the file beside docs/ that it shows."""

LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")


def point_into_these_pages(app: Sphinx, page: str, source: list[str]) -> None:
    """Links are written for GitHub. Here those that lead out of docs/ lead to a page that shows the file, or to it."""
    folder = ROOT if page in BESIDE else ROOT / "docs"
    if page in BESIDE:
        source[0] = (ROOT / BESIDE[page]).read_text(encoding="utf-8")

    def target(link: re.Match[str]) -> str:
        file = (folder / link[1]).resolve()
        if file.is_relative_to(ROOT / "docs"):
            return f"]({file.relative_to(ROOT / 'docs')}"
        shown = {ROOT / name: f"{page}.md" for page, name in BESIDE.items()}
        return f"]({shown[file]}" if file in shown else f"](path:../{file.relative_to(ROOT)}"

    source[0] = LINK.sub(target, source[0])


def setup(app: Sphinx) -> None:
    app.connect("source-read", point_into_these_pages)
