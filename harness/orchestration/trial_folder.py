"""The folder of one trial: the worker's input, and what is removed before the worker starts."""

from __future__ import annotations

import contextlib
from pathlib import Path

from harness.config.trial_spec import TrialSpec
from harness.errors import HarnessError, storage_error
from harness.fileio import make_folder, remove_temporaries, write_json_atomic
from harness.monitoring.progress import remove_progress
from harness.platform.files import remove, replace
from harness.results.io import RECORD, TRIAL, read_record, read_trial_spec
from harness.results.schema import RunRecord
from harness.training.checkpoint_files import remove_blobs

LOG = "log.txt"
PREVIOUS_LOG = "log.previous.txt"


def existing_record(folder: Path, key: str, search: bool = True) -> RunRecord | None:
    """The record in a trial's folder, if it can be read and is of the work with this key. search: of `read_record`."""
    try:
        record = read_record(folder / RECORD, search)
    except HarnessError:
        return None
    return record if record.key == key else None


def prepare_folder(folder: Path, spec: TrialSpec) -> None:
    """Make the folder ready for an attempt. The caller holds its lock.

    An earlier record is removed, so that it is never taken for the new one. Checkpoints stay where they are of the
    same work, split into the same micro-batches.

    Raises:
        StorageError: the disk does not allow it.
    """
    make_folder(folder)
    remove_temporaries(folder)
    try:
        before: TrialSpec | None = read_trial_spec(folder)
    except HarnessError:
        before = None
    if before is None or (before.key, before.micro_batches) != (spec.key, spec.micro_batches):
        remove_blobs(folder)
    try:
        remove(folder / RECORD)
    except OSError as error:
        raise storage_error(folder / RECORD, error) from error
    remove_progress(folder)
    if (folder / LOG).exists():
        with contextlib.suppress(OSError):
            replace(folder / LOG, folder / PREVIOUS_LOG)
    write_json_atomic(folder / TRIAL, spec.model_dump(mode="json"))
