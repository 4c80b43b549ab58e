"""Records on disk: written whole with a checksum; read with suspicion, since the folder may come from a stranger."""

from __future__ import annotations

import gc
import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from harness.config.trial_spec import TrialSpec
from harness.errors import HarnessError
from harness.fileio import write_text_atomic
from harness.platform.files import open_to_read
from harness.redaction import redact_home
from harness.results.migration import (
    OLD_TRIAL,
    OLD_TRIALS,
    SCHEMA_VERSION,
    upgrade_record,
    upgrade_trial_spec,
)
from harness.results.schema import RunRecord
from harness.results.status import printable

TRIALS = "trials"
RECORD = "record.json"
TRIAL = "trial.json"
TASK = "task.json"
"""The task, which is what the model knows of its data."""
WEIGHTS = "weights.safetensors"
"""The weights of a trial whose training has ended."""
SIZE_LIMIT = 64 * 2**20
"""Bytes. A record of 5,000 validation images has about 1 MB."""
_CHECKSUM, _RULE, _SEARCH = b'"checksum":', b'"rule":', b',"search":['
"""How lines of a record begin, and how the last field of its rule does. No text within quotation marks holds these."""
_LINE_LIMIT = 1000
"""Characters of a line that names a problem: names of folders and fields may be a stranger's."""


def write_record(path: Path, record: RunRecord) -> RunRecord:
    """Write a record with its checksum and without the home folder's path. Raises StorageError.

    Returns the record as written.
    """
    plain: dict[str, Any] = redact_home(json.loads(record.model_dump_json(exclude={"checksum"})))
    plain["checksum"] = checksum(plain)
    write_text_atomic(path, _lines(plain))
    return RunRecord.model_validate(plain)


def _lines(plain: dict[str, Any]) -> str:
    """A record as JSON, a line a field. Without its line breaks it is the text that the checksum is of."""
    fields = (f"{json.dumps(name)}:{_canonical(plain[name])}" for name in sorted(plain))
    return "{\n" + ",\n".join(fields) + "\n}\n"


def _canonical(value: Any) -> str:
    """As JSON, the same text for the same value. Raises ValueError where a number is not finite."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def checksum(plain: dict[str, Any]) -> str:
    """SHA-256, in hexadecimal, over all fields of a record but the checksum itself.

    Raises ValueError where one is not finite.
    """
    rest = {name: value for name, value in plain.items() if name != "checksum"}
    return hashlib.sha256(_canonical(rest).encode()).hexdigest()


def _intact_lines(text: bytes) -> list[bytes]:
    """The lines of a record as `_lines` has made it; none where it is not, or no longer, as it was made.

    They tell so in a fifth of the time that `checksum` takes.
    """
    lines = text.split(b"\n")
    right = hashlib.sha256(b"".join(line for line in lines if not line.startswith(_CHECKSUM))).hexdigest()
    return lines if b'%b"%b",' % (_CHECKSUM, right.encode()) in lines else []


def read_record(path: Path, search: bool = True) -> RunRecord:
    """The record in a file. Raises HarnessError where it is damaged, of another version, or not a plain file.

    search: with what was looked at to choose the rule, which is half of a record.
    """
    text = _text(path, SIZE_LIMIT)
    lines = _intact_lines(text)
    plain = _parsed(path, text if search or not lines else b"".join(map(_without_search, lines)))
    if not isinstance(plain, dict):
        raise HarnessError(f"{path}: not a record")
    if plain.get("schema_version") not in range(1, SCHEMA_VERSION + 1):
        version = printable(str(plain.get("schema_version")), 20)
        raise HarnessError(f"{path}: a record of version {version}; this harness reads versions 1 to {SCHEMA_VERSION}")
    if not lines:
        _check(path, plain)
    if not search and isinstance(plain.get("rule"), dict):
        plain["rule"]["search"] = []
    try:
        record = RunRecord.model_validate(upgrade_record(plain))
    except ValidationError as error:
        first = error.errors()[0]
        where = printable(".".join(str(step) for step in first["loc"]))
        raise HarnessError(f"{path}: {where}: {first['msg']}") from error
    log = PurePosixPath(record.log)
    if log.is_absolute() or ".." in log.parts:
        raise HarnessError(f"{path}: the log it names is outside the run's folder")
    return record


def _check(path: Path, plain: dict[str, Any]) -> None:
    """Raise HarnessError where the checksum is not that of the other fields."""
    try:
        right = checksum(plain)
    except (RecursionError, ValueError) as error:
        raise HarnessError(f"{path}: not a record") from error
    if plain.get("checksum") != right:
        raise HarnessError(f"{path}: its checksum is wrong: the record is damaged or was edited by hand")


def _without_search(line: bytes) -> bytes:
    """The line of the rule without its last field, which takes longer to parse than all the rest; others unchanged."""
    at = line.find(_SEARCH) if line.startswith(_RULE) else -1
    return line if at < 0 else line[:at] + (b"}," if line.endswith(b",") else b"}")


def read_records(run_dir: Path) -> tuple[list[RunRecord], list[str]]:
    """All good records of a run's folder, in the order of their folders' names, and a line for each that is not.

    Links that lead out of the folder are not followed, and of two records of the same work the first is taken. They are
    without the search of their rules, which no table shows.
    Raises HarnessError where there is no such folder.
    """
    if not run_dir.is_dir():
        raise HarnessError(f"no folder {run_dir}; give the folder of a run, as `run` printed it")
    with _without_collections():
        return _read_records(run_dir)


def _read_records(run_dir: Path) -> tuple[list[RunRecord], list[str]]:
    records: list[RunRecord] = []
    problems: list[str] = []
    by_key: dict[str, Path] = {}
    for path in record_paths(run_dir):
        try:
            _refuse_outside(path, run_dir)
            record = read_record(path, search=False)
        except HarnessError as error:
            problems.append(printable(f"left aside: {error}", _LINE_LIMIT))
            continue
        if record.key in by_key:
            problems.append(printable(f"left aside: {path}: the same work as {by_key[record.key]}", _LINE_LIMIT))
            continue
        by_key[record.key] = path
        records.append(_share(record, records[-1]) if records else record)
    return records, problems


@contextmanager
def _without_collections() -> Iterator[None]:
    """Python looks for circles among all objects again and again as their number grows, and records have none."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _share(record: RunRecord, before: RunRecord) -> RunRecord:
    """The record, holding what equals that of the record before in common with it: ten thousand fit into memory."""
    # not what holds options: True equals 1 there, and is something else
    names = ("data", "split", "machine", "versions")
    same = {name: there for name in names if (there := getattr(before, name)) == getattr(record, name)}
    scores, earlier = record.scores, before.scores
    if scores is not None and earlier is not None and scores.cell_types == earlier.cell_types:
        same["scores"] = scores.model_copy(update={"cell_types": earlier.cell_types})
    return record.model_copy(update=same)


def record_paths(run_dir: Path) -> Iterable[Path]:
    """Where records are: trials/*/record.json, and cells/*/record.json of runs of schema 1."""
    folders = [run_dir / name for name in (OLD_TRIALS, TRIALS) if (run_dir / name).is_dir()]
    paths = (trial / RECORD for folder in folders for trial in sorted(folder.iterdir()))
    return [path for path in paths if os.path.lexists(path)]


def read_trial_spec(folder: Path) -> TrialSpec:
    """The specification in a trial's folder. Raises HarnessError where it cannot be read."""
    path = folder / TRIAL
    if not path.exists() and (folder / OLD_TRIAL).exists():
        path = folder / OLD_TRIAL
    plain = read_json(path)
    try:
        return TrialSpec.model_validate(upgrade_trial_spec(plain) if isinstance(plain, dict) else plain)
    except ValidationError as error:
        first = error.errors()[0]
        raise HarnessError(f"{path}: {'.'.join(str(step) for step in first['loc'])}: {first['msg']}") from error


def read_json(path: Path, size_limit: int = SIZE_LIMIT) -> Any:
    """JSON from a plain file of bounded size, with finite numbers only. Raises HarnessError."""
    value = _parsed(path, _text(path, size_limit))
    try:
        json.dumps(value, allow_nan=False)
    except ValueError as error:
        raise HarnessError(f"{path}: not JSON: a number is too large") from error
    return value


def _text(path: Path, size_limit: int) -> bytes:
    """What a plain file of bounded size holds. Raises HarnessError."""
    try:
        with os.fdopen(open_to_read(path), "rb") as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise HarnessError(f"{path}: not a plain file")
            if facts.st_size > size_limit:
                raise HarnessError(f"{path}: {facts.st_size:,} bytes; more than {size_limit:,} are not read")
            return file.read(size_limit + 1)
    except OSError as error:
        raise HarnessError(f"{path}: cannot be read: {error.strerror or error}") from error


def _parsed(path: Path, text: bytes) -> Any:
    """JSON from the text of a file; numbers too large to be finite become infinite. Raises HarnessError."""
    try:
        # three times as fast as the json of the standard library, and it knows no infinite literals
        return from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise HarnessError(f"{path}: not JSON: {type(error).__name__}") from error


def _refuse_outside(path: Path, run_dir: Path) -> None:
    folder = path.parent
    if not folder.is_symlink() and not folder.parent.is_symlink():
        return
    try:
        inside = folder.resolve().is_relative_to(run_dir.resolve())
    except (OSError, RuntimeError):
        inside = False
    if not inside:
        raise HarnessError(f"{path}: leads out of the run's folder")
