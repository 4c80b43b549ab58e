"""`python -m harness report`, and the page as text."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from fake_run import HOSTILE, with_records

from harness.cli import harness
from harness.evaluation.prediction_file import PREDICTIONS
from harness.reporting.leaderboard import leaderboard_of_runs
from harness.reporting.page.page import provenance, script_json, with_code
from harness.reporting.page.ranking import ranking


@pytest.fixture
def call() -> Callable[..., Result]:
    def run(*typed: object) -> Result:
        return CliRunner().invoke(harness, ["report", *map(str, typed)])

    return run


def test_the_page_is_one_file_that_names_no_other(report: Path) -> None:
    text = _without_scripts(report)
    assert not re.findall(r"(?:src|href|srcset|action)\s*=\s*[\"']?(?!#|data:)[^\s>\"']+", text)
    assert "@import" not in text
    assert "url(" not in text


def test_the_page_says_what_ran_and_what_failed(report: Path) -> None:
    text = _without_scripts(report)
    for said in (
        " has the highest IoU",
        "out of memory: 8.0 of 8.0 GiB in use at step 12",
        "python -m harness run --methods all --seeds 3",
        "not ranked",
        "Fingerprint of the data",
        "torch ",
        "Post-processing rule",
    ):
        assert said in text, said


def test_no_hostile_text_is_markup(report: Path) -> None:
    text = report.read_text(encoding="utf-8")
    assert HOSTILE not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert text.count("<script") - _library_mentions(text) == 5, "the data, plotly and our three"


def test_what_stands_between_backticks_is_code_and_everything_is_escaped() -> None:
    assert with_code("type `a <b>` or `c`.") == "type <code>a &lt;b&gt;</code> or <code>c</code>."
    assert with_code("one ` alone <i>") == "one ` alone &lt;i&gt;"


def test_json_in_a_script_element_cannot_end_it() -> None:
    value = {"</script><!--": "&<>\u2028"}
    text = str(script_json(value))
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == value


def test_best_values_are_bold_and_footnotes_raised(run_dir: Path) -> None:
    board = leaderboard_of_runs([run_dir])
    table = ranking(board)
    texts = {row.method: {cell.head.name: cell for cell in cells} for row, cells in table.lines}
    assert "<strong>" in texts["pointsup"]["memory"].text
    assert texts["torchvision_starter"]["method"].text == "torchvision_starter<sup>(1)</sup>"
    assert texts["torchvision_starter"]["method"].sort == "torchvision_starter"
    assert float(texts["deepmac"]["memory"].sort) == pytest.approx(4.2, abs=0.01)
    assert texts["mask_rcnn_x101"]["IoU"].sort == ""
    assert texts[HOSTILE]["method"].text == "&lt;script&gt;alert(1)&lt;/script&gt;"


def test_json_tells_what_was_written(run_dir: Path, tmp_path: Path, call: Callable[..., Result]) -> None:
    result = call(run_dir, "--out", tmp_path / "new" / "page.html", "--png", tmp_path / "png", "--no-gallery", "--json")
    told = json.loads(result.stdout)
    assert Path(told["page"]).is_file()
    assert told["images"] == 0
    assert "--no-gallery" in told["no_gallery"]
    assert sorted(Path(path).stem for path in told["png"]) == sorted(told["figures"])
    assert all(Path(path).read_bytes().startswith(b"\x89PNG") for path in told["png"])
    assert "pdf" not in told


def test_records_alone_make_a_page_that_says_what_is_missing(own_run: Path, call: Callable[..., Result]) -> None:
    for path in [*own_run.glob("trials/*/curve.csv"), *own_run.glob(f"trials/*/{PREDICTIONS}")]:
        path.unlink()
    result = call(own_run)
    assert result.exit_code == 0, result.output
    assert "no gallery: " in result.stderr
    text = (own_run / "report.html").read_text(encoding="utf-8")
    assert "No gallery: " in text
    assert "only records" in text


@pytest.mark.parametrize("typed", ["nowhere", "empty"])
def test_no_run_is_one_line(tmp_path: Path, typed: str, call: Callable[..., Result]) -> None:
    (tmp_path / "empty").mkdir()
    result = call(tmp_path / typed)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.splitlines()) == 1


def test_no_torch_is_loaded(own_run: Path) -> None:
    code = (
        "import sys; from harness.cli import harness; "
        f"harness(['report', {str(own_run)!r}, '--png', {str(own_run / 'png')!r}], standalone_mode=False); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def _without_scripts(page: Path) -> str:
    return re.sub(r"<script\b.*?</script>", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def _library_mentions(text: str) -> int:
    from plotly.offline import get_plotlyjs

    return get_plotlyjs().count("<script")


def test_versions_are_one_list(run_dir: Path) -> None:
    board = leaderboard_of_runs([run_dir])
    first = board.records[0]
    changed = first.model_copy(update={"versions": {**first.versions, "numpy": "0.0.1"}})
    row = with_records(board.rows[0], (first, changed))
    [said] = dict(provenance(replace(board, rows=(row,))))["Versions"]
    assert said.count("torch ") == 1
    assert f"numpy {first.versions['numpy']} or 0.0.1" in said
