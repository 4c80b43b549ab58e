"""The files that `new-method` writes keep the contract unchanged, for every slot."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness import conformance
from harness.catalog import load_catalog
from harness.cli import harness
from harness.conformance.subject import Subject
from harness.conformance.unlabelled import trains_with_unlabelled_images
from harness.contract import SLOTS


@pytest.mark.slow
@pytest.mark.parametrize("slot", ["engine", *SLOTS])
def test_a_new_file_keeps_the_contract(slot: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", "")
    name = f"written_for_{slot}"
    made = CliRunner().invoke(harness, ["new-method", name, "--slot", slot, "--dir", str(tmp_path)])
    assert made.exit_code == 0
    results = list(conformance.run_checks(Subject.from_catalog(load_catalog([tmp_path / f"{name}.py"]), name)))
    assert len(results) == len(conformance.CHECKS)
    assert [r for r in results if r.violation] == []
    # the weights of an init are found when a run is planned, so that there is no network of its own to check
    if slot != "init":
        assert [r.check for r in results if r.expected_failure] == [trains_with_unlabelled_images.__name__]
    assert sum(result.seconds for result in results) < 120
