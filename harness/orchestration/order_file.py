"""All that a trial of another machine needs, in its folder: what is planned, its data, the options of the run.

The plan of a run is no help there: with thousands of trials it takes seconds to read, and its paths have `~` for the
home folder of the one who planned it.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.errors import HarnessError
from harness.fileio import make_folder, write_json_atomic
from harness.orchestration.bring_to_record import TrialOrder
from harness.orchestration.plan import PlannedTrial, safe_name
from harness.orchestration.process.launchers import SubprocessLauncher
from harness.orchestration.run_options import RunOptions
from harness.results.io import TRIALS, read_json
from harness.results.schema import DataFacts

ORDER = "order.json"


def write_order(order: TrialOrder) -> None:
    """Write it into the trial's folder. Raises StorageError."""
    options = {field.name: getattr(order.options, field.name) for field in fields(RunOptions)}
    launcher = options.pop("launcher")
    plain = {
        "trial": order.trial.model_dump(mode="json"),
        "data": order.data.model_dump(mode="json"),
        "options": options,
        "worker": launcher.words if isinstance(launcher, SubprocessLauncher) else SubprocessLauncher().words,
    }
    make_folder(order.folder)
    write_json_atomic(order.folder / ORDER, plain)


def read_order(run_dir: Path, name: str) -> TrialOrder:
    """The order in a trial's folder. Raises HarnessError where there is none or it is damaged."""
    if name != safe_name(name):
        raise HarnessError(f"{name!r} is not the name of a trial's folder")
    path = run_dir / TRIALS / name / ORDER
    plain: Any = read_json(path)
    try:
        trial = PlannedTrial.model_validate(plain["trial"])
        data = DataFacts.model_validate(plain["data"])
        launcher = SubprocessLauncher(tuple(map(str, plain["worker"])))
        order = TrialOrder(trial, run_dir, data, RunOptions(**plain["options"], launcher=launcher))
    except (ValidationError, KeyError, TypeError) as error:
        raise HarnessError(f"{path}: not the order of a trial; type the command of the run again") from error
    if trial.name != name:
        raise HarnessError(f"{path}: the order of another trial, {trial.name}")
    return order
