"""The data of a run that has been made: loaded again, and held to be the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.config.trial_spec import TrialSpec
from harness.data.dataset import Dataset
from harness.errors import HarnessError
from harness.orchestration.prepared_data import LazyTruth, load_data
from harness.results.io import read_record, read_trial_spec, record_paths
from harness.results.schema import DataFacts


@dataclass(frozen=True)
class RunData:
    """A run's data. facts: as its records have them. spec: of one of its trials on these data."""

    dataset: Dataset
    facts: DataFacts
    spec: TrialSpec

    def truth(self) -> LazyTruth:
        """The annotations of all images, each read when it is asked for."""
        return LazyTruth(self.dataset, self.dataset.ids)


def load_run_data(run_dir: Path, source: str | None = None) -> RunData:
    """The data set that a run was made on.

    Args:
        run_dir: the folder of a run with at least one record.
        source: which one, where the run has several: its name, or the begin of it, as the table names it.

    Raises:
        HarnessError: no record names data, several data sets or splits are there, or the data have changed.
    """
    if not run_dir.is_dir():
        raise HarnessError(f"no folder {run_dir}; give the folder of a run, as `run` printed it")
    found: dict[tuple[str, str], tuple[DataFacts, Path]] = {}
    for path in record_paths(run_dir):
        try:
            record = read_record(path)
        except HarnessError:
            continue
        if record.data is not None and (source is None or record.data.source.startswith(source)):
            found.setdefault((record.data.fingerprint, record.data.split_fingerprint), (record.data, path.parent))
    if not found:
        of_source = f" of data {source!r}" if source else ""
        raise HarnessError(f"{run_dir} holds no record{of_source}; `run` makes them")
    sources = sorted({facts.source for facts, _ in found.values()})
    if len(sources) > 1:
        raise HarnessError(f"{run_dir} has several data sets; type --data and one of {', '.join(sources)}")
    if len(found) > 1:
        raise HarnessError(
            f"{run_dir} has {len(found)} splits of {sources[0]}; masks are added to a run with one split"
        )
    facts, folder = next(iter(found.values()))
    spec = read_trial_spec(folder)
    dataset = load_data(spec.source, spec.skip_bad, spec.split)
    if dataset.fingerprint != facts.fingerprint:
        raise HarnessError(
            f"{dataset.public_source} has changed since the run was made (its fingerprint is "
            f"{dataset.fingerprint[:12]}, the record's {facts.fingerprint[:12]}); bring the old data back, or run again"
        )
    return RunData(dataset, facts, spec)
