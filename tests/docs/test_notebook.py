"""The notebook runs from its first cell to its last, as it stands."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.ipynb"


def test_it_is_kept_without_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells if "outputs" in cell)


@pytest.mark.slow
@pytest.mark.nightly
def test_it_runs_and_shows_table_and_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat", reason="needs nbclient, of the extra `test`")
    nbclient = pytest.importorskip("nbclient", reason="needs nbclient, of the extra `test`")
    pytest.importorskip("ipykernel", reason="needs ipykernel, of the extra `test`")
    root = str(NOTEBOOK.parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")])))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    book = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(book, timeout=280, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output["data"] for cell in book.cells for output in cell.get("outputs", ()) if "data" in output]
    table, page = shown
    assert "| mask_rcnn" in table["text/markdown"]
    assert "| copy_paste" in table["text/markdown"]
    assert "&lt;title&gt;" in page["text/html"]
    assert (tmp_path / "notebook-run" / "report.html").is_file()
