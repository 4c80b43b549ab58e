"""Each write of a real trial fails once. Afterwards its folder is good and the trial can continue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_worker import FaultyOs
from storage_faults import chosen

from harness.config.trial_spec import TrialSpec
from harness.errors import StorageError
from harness.monitoring.progress import ProgressFile
from harness.orchestration.plan import Manifest
from harness.orchestration.trial.work import Trial
from harness.orchestration.trial_folder import prepare_folder
from harness.results.schema import RunRecord
from harness.results.status import status_from_exception

KEPT = ("curve.csv", "predictions.json.gz", "task.json", "weights.safetensors")


def worked_through(spec: TrialSpec, folder: Path) -> RunRecord:
    """As a worker does it."""
    prepare_folder(folder, spec)
    return Trial(spec, folder, ProgressFile()).run()


def left(folder: Path, record: RunRecord) -> Any:
    """What must not differ between an undisturbed trial and a disturbed one. Columns of times are left out."""
    lines = (folder / "curve.csv").read_text("utf-8").splitlines()
    curve = [line.split(",")[:1] + line.split(",")[3:] for line in lines]
    return curve, (folder / KEPT[1]).read_bytes(), (folder / KEPT[3]).read_bytes(), record.scores, record.final_losses


def test_faults_in_the_engines_writes(
    plan_of: Callable[..., Manifest], tmp_path: Path, figures: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (trial,) = plan_of(["none"]).trials
    counting = FaultyOs("none", 0, "none")
    with monkeypatch.context() as patch:
        counting.install(patch)
        quiet = left(tmp_path / "quiet", worked_through(trial.spec, tmp_path / "quiet"))
    assert counting.counts["replace"] >= 2 + len(KEPT)  # the specification and a state as well
    cases = [case for case in chosen(counting.counts) if case[2] != "kill"]
    lost = 0
    for operation, count, what in cases:
        folder = tmp_path / f"{operation}-{count}-{what}"
        with monkeypatch.context() as patch:
            FaultyOs(operation, count, what).install(patch)
            with pytest.raises(StorageError) as caught:
                worked_through(trial.spec, folder)
        assert status_from_exception(caught.value)[0] == "interrupted"
        again = left(folder, worked_through(trial.spec, folder))
        assert again == quiet
        lost += again != quiet
        assert not list(folder.glob(".*.tmp"))
    figures("faults in the engine's writes", rounds=len(cases), **Counter(what for *_, what in cases), lost=lost)
