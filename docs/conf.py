"""How Sphinx builds these pages: `tox -e docs`, or `sphinx-build -W docs build/docs`."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from sphinx.application import Sphinx

_PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]

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

PAGES = {"../CONTRIBUTING.md": "contributing.md", "../CHANGELOG.md": "changelog.md"}
"""Files beside docs/ that have a page here, which includes them."""


def point_into_these_pages(app: Sphinx, page: str, source: list[str]) -> None:
    """Links that lead out of docs/ on GitHub lead to the page that includes the file, or to the file itself."""

    def target(link: re.Match[str]) -> str:
        return f"]({PAGES[link[1]]}" if link[1] in PAGES else f"](path:{link[1]}"

    source[0] = re.sub(r"\]\((\.\./[\w./-]+\.md)(?=[#)])", target, source[0])


def setup(app: Sphinx) -> None:
    app.connect("source-read", point_into_these_pages)
