"""The printed forms of the table."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.config.preset import Preset
from harness.reporting.escape import for_csv, for_latex, for_markdown
from harness.reporting.leaderboard import Leaderboard, leaderboard, leaderboard_of_runs
from harness.reporting.published import compare_with_published
from harness.reporting.table import as_csv, as_json, as_latex, as_markdown, show
from harness.results.schema import RunRecord

Make = Callable[..., RunRecord]
NASTY = "=HYPERLINK(1)|<script>alert(1)</script>`x`\n*b* & 100% \\ $"


@pytest.fixture
def board(make: Make) -> Leaderboard:
    return leaderboard([make(m, s, q) for m, q in (("mask_rcnn", 0.4), ("better", 0.6)) for s in range(3)])


def cells(markdown: str) -> list[list[str]]:
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_markdown_says_what_its_numbers_are(board: Leaderboard) -> None:
    text = as_markdown(board)
    header, _, first, second = cells(text)
    assert dict(zip(header, first, strict=True))["method"] == "better"
    assert dict(zip(header, first, strict=True))["IoU"].startswith("**0.")
    assert not dict(zip(header, second, strict=True))["IoU"].startswith("**")
    assert dict(zip(header, first, strict=True))["p"] != ""
    assert dict(zip(header, first, strict=True))["vs baseline"] == "better"
    assert dict(zip(header, second, strict=True))["vs baseline"] == "baseline"
    told = ("IoU: mean over", "95 % over images:", "Post-processing", "Command: python -m harness run")
    facts = ("Machine: A CPU", "Finished: 2021-12-01", "Data: synthetic, 60 images")
    assert all(said in text for said in told + facts)


def test_bold_is_only_what_is_best_and_told_apart(make: Make) -> None:
    text = as_markdown(leaderboard([make("a", 0, 0.5), make("b", 0, 0.6)]))
    assert "**" not in text, "one seed says nothing of methods, and their costs are the same"
    cheap = [make("a", seconds_per_iteration=0.7), make("b", seconds_per_iteration=0.69)]
    assert "**" not in as_markdown(leaderboard(cheap)), "costs within 2 % are the same"
    cheap = [make("a", seconds_per_iteration=0.7), make("b", seconds_per_iteration=0.6)]
    assert "**0.600**" in as_markdown(leaderboard(cheap))


def test_steps_and_arithmetic_stand_in_every_form(make: Make) -> None:
    machine = {"cpu": "A CPU", "cores_usable": 2, "gpus": [], "arithmetic": "bfloat16"}
    board = leaderboard([make("mask_rcnn", machine=machine, f1_50=0.81, count_error=0.07), make("b", machine=machine)])
    header, _, *rows = cells(as_markdown(board))
    first = next(row for row in (dict(zip(header, row, strict=True)) for row in rows) if row["method"] == "mask_rcnn")
    assert (first["steps"], first["arithmetic"], first["F1"], first["count error"]) == (
        "100",
        "bfloat16",
        "0.810",
        "7 %",
    )
    line = next(csv.DictReader(io.StringIO(as_csv(board))))
    assert (float(line["steps"]), line["arithmetic"]) == (100.0, "bfloat16")
    assert "bfloat16" in as_latex(board)


def test_footnotes_and_failures_are_printed(make: Make) -> None:
    failed = {"status": "crash", "reason": "ValueError: x", "scores": None, "rule": None}
    text = as_markdown(leaderboard([make(seed=0), make(seed=1), make("late", budget="10m"), make("bad", **failed)]))
    assert "late (1)" in text
    assert "(1) not ranked" in text
    assert "budget: 10m" in text
    assert "crash: ValueError: x" in text


def test_what_is_noted_of_the_conditions_is_marked_at_the_times(make: Make) -> None:
    noted = {
        "notes": ["the GPU was *hot* during training"],
        "seconds_per_iteration_iqr": 0.01,
        "data_wait_seconds": 7.5,
    }
    board = leaderboard(
        [make("mask_rcnn", seconds_per_iteration=0.7, **noted), make("slow", seconds_per_iteration=0.9)]
    )
    text = as_markdown(board)
    header, _, *rows = cells(text)
    by_method = {row["method"]: row for row in (dict(zip(header, row, strict=True)) for row in rows)}
    first, second = by_method["mask_rcnn"], by_method["slow"]
    assert (first["train s"], first["s/it"], first["s/it IQR"], first["data wait"]) == (
        "75 (1)", "**0.700** (1)", "0.010", "10 %",
    )  # fmt: skip
    assert (second["train s"], second["s/it"], second["s/it IQR"], second["data wait"]) == ("75", "0.900", "", "")
    assert r"- (1) the GPU was \*hot\* during training" in text
    notes = {row["method"]: row["notes"] for row in csv.DictReader(io.StringIO(as_csv(board)))}
    assert notes == {"mask_rcnn": "the GPU was *hot* during training", "slow": ""}
    assert "the GPU was *hot* during training" in json.loads(as_json(board))["footnotes"]
    assert r"0.700}\textsuperscript{1}" in as_latex(board)


def test_energy_is_a_column_where_it_was_measured(make: Make) -> None:
    assert "energy" not in as_markdown(leaderboard([make()])).lower()
    gpu, both = {"energy_of": "GPU"}, {"energy_of": "GPU and CPU packages"}
    board = leaderboard([make("a", energy_joules=1_234_560.0, **gpu), make("b", energy_joules=2e6, **gpu), make("c")])
    header, _, *rows = cells(as_markdown(board))
    assert {row[header.index("method")]: row[header.index("energy, kJ")] for row in rows} == {
        "a": "**1234.56**", "b": "2000.00", "c": "",
    }  # fmt: skip
    assert "Energy: used while the training clock ran by GPU, the whole of it" in as_markdown(board)
    assert {row["energy"] for row in csv.DictReader(io.StringIO(as_csv(board)))} == {"1234560.0", "2000000.0", ""}

    mixed = leaderboard([make("a", energy_joules=1000.0, **gpu), make("b", energy_joules=2000.0, **both)])
    header, _, *rows = cells(as_markdown(mixed))
    assert {row[header.index("energy, kJ")] for row in rows} == {"1.00 (GPU)", "2.00 (GPU and CPU packages)"}


def test_nothing_from_data_can_break_the_table(make: Make) -> None:
    board = leaderboard([make("mask_rcnn"), make(NASTY, labels=NASTY, slots_changed=[NASTY], command=NASTY)])
    text = as_markdown(board)
    assert "<script>" not in text
    header, _, *rows = [line.replace(r"\|", "") for line in text.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {header.count("|")}
    for line in csv.reader(io.StringIO(as_csv(board))):
        for cell in line:
            number = cell.replace(".", "").replace("-", "").replace("e", "").isdigit()
            assert number or not cell.startswith(("=", "+", "-", "@"))
    assert json.loads(as_json(board))["rows"][0]["method"] in (NASTY, "mask_rcnn")
    latex = as_latex(board)
    assert r"\$" in latex
    assert latex.count(r"\begin{tabular}") == 1
    assert "100% " not in latex


@given(st.text())
def test_a_spreadsheet_never_sees_a_formula(text: str) -> None:
    shown = for_csv(text)
    assert not shown.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert shown.removeprefix("'") == text.removeprefix("'")


@given(st.text())
def test_a_markdown_cell_holds_no_tag_and_no_column(text: str) -> None:
    shown = for_markdown(text)
    assert "<" not in shown
    assert "\n" not in shown
    assert "|" not in shown.replace(r"\|", "")


def test_latex_signs() -> None:
    assert for_latex("a_b & 5% {x} \\ ~") == r"a\_b \& 5\% \{x\} \textbackslash{} \textasciitilde{}"


def test_csv_holds_numbers_unrounded(board: Leaderboard) -> None:
    first = next(csv.DictReader(io.StringIO(as_csv(board))))
    assert float(first["iou"]) == board.rows[0].quality.iou
    assert float(first["difference_low"]) == board.rows[0].quality.vs_baseline.interval.low
    assert first["different"] == "True"
    assert float(first["iou_cort"]) == board.rows[0].quality.by_type["cort"]


def test_latex_is_a_booktabs_table(board: Leaderboard) -> None:
    text = as_latex(board)
    assert text.index(r"\toprule") < text.index(r"\midrule") < text.index(r"\bottomrule")
    assert r"\textbf{0." in text
    assert r"mask\_rcnn" in text
    assert r"\hline" not in text


@pytest.mark.parametrize("form", ["screen", "md", "csv", "latex", "json"])
def test_every_form_prints(
    make: Make, run_of: Callable[..., Path], capsys: pytest.CaptureFixture[str], form: str
) -> None:
    show(leaderboard_of_runs([run_of([make(), make("other"), make("late", budget="1it")])]), form)
    said = capsys.readouterr().out
    assert "late" in said
    assert "other" in said


def test_an_empty_run_prints_an_empty_table() -> None:
    empty = leaderboard([])
    assert as_csv(empty) == "method\n"
    assert "# Leaderboard" in as_markdown(empty)
    assert as_latex(empty)
    assert json.loads(as_json(empty))["rows"] == []


def test_measured_beside_published(make: Make) -> None:
    row = {"method": "mask_rcnn", "budget": "1000it"}
    rows = [
        {**row, "name": "first", "published": {"IoU": "0.085", "train time": "0:02:55", "GPU": "16 GB"}},
        {**row, "name": "second", "published": {"IoU": "0.271"}},
    ]
    training = {"crop": 64, "batch": 1, "learning_rate": 0.1}
    preset = Preset.model_validate(
        {"name": "paper", "description": "", "size": "full", "budget": "1it", "training": training, "rows": rows}
    )
    board = leaderboard([make("first", preset="paper", train_seconds=175.0), make("second", preset="quick")])
    header, body = compare_with_published(board, preset)
    first, second = (dict(zip(header, cells, strict=True)) for cells in body)
    assert first["IoU, published"] == "0.085"
    [measured] = [row for row in board.rows if row.method == "first"]
    assert first["IoU, measured"] == f"{measured.quality.iou:.4f}"
    assert first["train time, measured"] == "0:02:55"
    assert first["GPU"] == "16 GB"
    assert (second["IoU, measured"], second["status"]) == ("", "no record")
