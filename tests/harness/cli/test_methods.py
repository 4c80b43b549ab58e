"""`methods`, `doctor` and `new-method`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness import catalog
from harness.cli import harness
from harness.cli.doctor import doctor


def call(*arguments: str) -> Result:
    return CliRunner().invoke(harness, list(arguments))


def test_the_list_has_what_one_chooses_by() -> None:
    lines = call("methods").output.splitlines()
    (copy_paste,) = [line for line in lines if line.split()[:1] == ["copy_paste"]]
    assert "augment" in copy_paste
    assert "CVPR 2021" in copy_paste
    assert "full masks" in copy_paste
    assert "detectron2" in copy_paste
    plain = json.loads(call("methods", "--json").output)
    assert {"mask_rcnn", "copy_paste"} <= {method["name"] for method in plain["methods"]}
    assert plain["broken"] == []


def test_a_card_tells_paper_departures_and_published_numbers() -> None:
    text = call("methods", "mask_rcnn").output
    for said in (
        "He, Gkioxari",
        "ICCV 2017",
        "published",
        "departs",
        "options of augment, as in mask_rcnn(",
    ):
        assert said in text
    assert json.loads(call("methods", "mask_rcnn", "--json").output)["year"] == 2017


@pytest.mark.parametrize(("method", "seconds"), [("mask_rcnn", "79.2"), ("pointsup", "16")])
def test_a_card_says_what_its_labels_take(method: str, seconds: str) -> None:
    assert f"({seconds} s a cell)" in call("methods", method).output


def test_a_card_has_a_table_of_options_with_default_range_and_help() -> None:
    text = call("methods", "deepmac").output
    (title,) = [line for line in text.splitlines() if line.startswith("options of mask_head")]
    assert title.rstrip() == "options of mask_head, as in deepmac(NAME=VALUE)"
    (depth,) = [line for line in text.splitlines() if line.strip().startswith("depth ")]
    assert depth.split()[:3] == ["depth", "52", "10"]
    assert "one of 4, 8, 10, 12, 16, 20, 32, 52, 100" in depth
    assert "hourglass 10, 20, 32, 52 or 100" in depth
    plain = json.loads(call("methods", "deepmac", "--json").output)["options"]["mask_head"]
    assert {option["name"] for option in plain} >= {"depth", "jitter"}
    assert all(option["help"] and option["range"] for option in plain)


@pytest.mark.parametrize(("method", "only"), [("mask_rcnn", "compile"), ("torchvision_starter", None)])
def test_an_engine_has_a_table_of_its_settings(method: str, only: str | None) -> None:
    text = call("methods", method).output
    assert "settings of the engine, in the table [model] of a preset" in text
    settings = json.loads(call("methods", method, "--json").output)["settings"]["engine"]
    names = {setting["name"] for setting in settings}
    assert names >= {"width", "anchor_scale", "proposals"}
    assert only is None or only in names


def test_measured_parameters_stand_beside_published_ones() -> None:
    measured = json.loads(call("methods", "mask_rcnn", "--measure", "--preset", "smoke", "--json").output)["measured"]
    operations = measured.pop("operations of one image of 256x256 (untrained, preset smoke)")
    assert float(operations.removesuffix(" GFLOP")) > 0.5
    counts = {name: int(text.replace(",", "")) for name, text in measured.items()}
    whole = counts.pop("parameters (80 classes, preset smoke)")
    assert whole == sum(counts.values()) > 1_000_000


def test_a_broken_file_is_reported_beside_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    found = catalog.load_catalog()
    found.broken.append(catalog.Broken("methods.bad", "methods/bad.py", "SyntaxError: x"))
    monkeypatch.setattr("harness.cli.methods.load_catalog", lambda adapters: found)
    result = call("methods")
    assert "methods/bad.py: SyntaxError: x" in result.stderr
    assert "mask_rcnn" in result.stdout


def test_doctor_finds_this_machine_well() -> None:
    result = call("doctor", "--json")
    report = json.loads(result.output)
    assert result.exit_code == 0, [check for check in report["checks"] if check["state"] == "missing"]
    whats = {check["what"] for check in report["checks"]}
    assert {"Python", "torch", "torchvision operators", "CPU", "disk"} <= whats


def test_doctor_prints_the_line_that_installs_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = catalog.load_catalog()
    found.requirements["a_missing_package"] = "python -m pip install a-missing-package"
    monkeypatch.setattr("harness.cli.doctor.load_catalog", lambda adapters: found)
    monkeypatch.setattr(
        "harness.cli.doctor.metadata.requires",
        lambda name: ["numpy>=999", "nothing-of-that-name>=1", "x; extra == 'y'"],
    )
    result = CliRunner().invoke(doctor, [])
    assert result.exit_code == 1
    for line in ("pip install a-missing-package", 'pip install "numpy>=999"', 'pip install "nothing-of-that-name>=1"'):
        assert line in result.output
    assert '"x' not in result.output


def test_doctor_knows_a_torchvision_that_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision.ops

    def fails(*_: object) -> None:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(torchvision.ops, "nms", fails)
    result = call("doctor")
    assert result.exit_code == 1
    assert "nms does not exist" in result.output
    assert "torchvision>=" in result.output


SLOTS = ["engine", "init", "backbone", "mask_head", "supervision", "augment"]


@pytest.mark.parametrize("slot", SLOTS)
def test_a_new_file_is_found_and_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slot: str) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", "")
    name = f"fresh_{slot}"
    made = call("new-method", name, "--slot", slot, "--dir", str(tmp_path))
    assert made.exit_code == 0
    assert f"--adapter {tmp_path / name}.py" in made.output
    plain = json.loads(call("methods", name, "--adapter", str(tmp_path / f"{name}.py"), "--json").output)
    assert plain["slots"] == [slot]
    planned = call(
        "run", "--methods", name, "--adapter", str(tmp_path / f"{name}.py"), "--preset", "smoke", "--dry-run"
    )
    assert planned.exit_code == 0, planned.output
    assert name in planned.output
    again = call("new-method", name, "--slot", slot, "--dir", str(tmp_path))
    assert again.exit_code == 2
    assert "not overwritten" in again.stderr


@pytest.mark.parametrize(
    ("name", "said"), [("mask_rcnn", "already"), ("Not-a-name", "cannot name"), ("class", "cannot name")]
)
def test_a_taken_or_impossible_name_is_refused(tmp_path: Path, name: str, said: str) -> None:
    result = call("new-method", name, "--slot", "augment", "--dir", str(tmp_path))
    assert result.exit_code == 2
    assert said in result.stderr
    assert not list(tmp_path.iterdir())


# -------------------------------------------------------------------------- packages that only one method needs

COMMAND = 'python -m pip install -e ".[absent]"'
NEEDY = f"""
from harness.contract import Card, Method, Part

METHOD = Method(
    "needy",
    Card("A title", "A paper", 2021, "A venue", "changes a thing"),
    {{"engine": Part("none", f"{{__name__}}:build")}},
    needs={{"absent_package": {COMMAND!r}}},
)


def build(recipe, task):
    raise AssertionError("never built")
"""


@pytest.fixture
def needy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    """The option that names the file of a method whose package is not installed."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", "")
    path = tmp_path / "needy_file.py"
    path.write_text(NEEDY)
    yield "--adapter", str(path)
    sys.modules.pop("needy_file", None)


def test_a_method_without_its_package_is_listed_under_the_line_to_type(needy: tuple[str, str]) -> None:
    lines = call("methods", *needy).output.splitlines()
    heading = next(i for i, line in enumerate(lines) if line.strip() == f"needs {COMMAND}")
    row = next(i for i, line in enumerate(lines) if line.split()[:1] == ["needy"])
    baseline = next(i for i, line in enumerate(lines) if line.split()[:1] == ["mask_rcnn"])
    assert baseline < heading < row
    plain = json.loads(call("methods", "needy", *needy, "--json").output)
    assert plain["missing"] == plain["needs"] == {"absent_package": COMMAND}


def test_all_leaves_out_what_needs_a_package_and_says_so(needy: tuple[str, str]) -> None:
    planned = call("run", "--methods", "all", *needy, "--preset", "smoke", "--dry-run")
    assert planned.exit_code == 0, planned.output
    assert "needy" not in planned.stdout
    assert f"all leaves needy out: it needs the package absent_package, which is not installed; type: {COMMAND}" in (
        planned.stderr
    )


@pytest.mark.parametrize("verb", [("run", "--preset", "smoke", "--methods"), ("check-method",)])
def test_a_named_method_without_its_package_is_one_line_before_any_work(
    needy: tuple[str, str], verb: tuple[str, ...]
) -> None:
    result = call(*verb, "needy", *needy)
    assert result.exit_code == 2
    assert "needs the package absent_package, which is not installed" in result.stderr
    assert COMMAND in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_doctor_prints_the_line_for_an_optional_package_and_misses_nothing(needy: tuple[str, str]) -> None:
    result = call("doctor", *needy)
    assert result.exit_code == 0
    assert "method needy: does not run here: the package absent_package is not installed" in result.output
    assert COMMAND in result.output
