"""`python -m harness score`: scores stored predictions again, without model and torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import as_json, print_json, protocol_option
from harness.config.protocol import ScoringProtocol
from harness.errors import HarnessError, nearest
from harness.reporting.screen import print_table

if TYPE_CHECKING:
    from harness.config.trial_spec import TrialSpec
    from harness.evaluation.schema import Scores
    from harness.orchestration.prepared_data import LazyTruth
    from harness.results.schema import RunRecord

DEFAULT_METRICS = ("iou_map", "ap", "ap50", "boundary_ap", "f1_50", "panoptic_quality", "count_error")


@click.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--metric", "metrics", multiple=True, metavar="NAME", help="What to print; may be given again.")
@click.option("--threshold", type=click.FloatRange(0, 1), help="Fix the score threshold; only areas are searched then.")
@protocol_option
@as_json
def score(
    run_dir: Path, metrics: tuple[str, ...], threshold: float | None, protocol: ScoringProtocol, as_json: bool
) -> None:
    """Score the predictions stored in RUN_DIR again and rewrite its records.

    The rule is chosen again on the calibration images. All scores are computed and stored, whatever is printed.
    """
    names = _checked(metrics or (*DEFAULT_METRICS, *([protocol] if protocol else [])))
    if not run_dir.is_dir():
        raise HarnessError(f"no folder {run_dir}; give the folder of a run, as `run` printed it")
    rows: list[dict[str, Any]] = []
    failed: list[str] = []
    data = _Data()
    for before, again in _rescored(run_dir, data, _How(threshold, protocol), failed):
        assert again.scores is not None
        found = again.scores.model_dump(mode="json")
        rows.append(
            {
                "method": again.method,
                "seed": again.seed,
                "before": before,
                **{name: found[name] for name in names},
            }
        )
    if not rows and not failed:
        raise HarnessError(f"{run_dir} holds no record with scores; `run` makes them")
    if as_json:
        print_json({"records": rows, "failed": failed})
    else:
        columns = ["method", "seed", "before", *names]
        print_table(columns, [[_shown(row[column]) for column in columns] for row in rows])
    for line in failed:
        click.echo(f"not scored: {line}", err=True)
    if failed:
        raise click.exceptions.Exit(1)


def _rescored(run_dir: Path, data: _Data, how: _How, failed: list[str]) -> Iterator[tuple[float | None, RunRecord]]:
    """The IoU before, and each record as it is written; the folds of a method and seed together."""
    from harness.orchestration.folds import score_folds
    from harness.results.folds import are_complete, fold_groups
    from harness.results.io import RECORD, read_record, read_trial_spec, record_paths, write_record

    before: dict[str, Scores | None] = {}
    folds: dict[str, tuple[Path, RunRecord]] = {}
    for path in record_paths(run_dir):
        try:
            record = read_record(path)
            before[record.key] = record.scores
            if record.split.fold:
                folds[record.key] = (path.parent, record)
            elif record.scores is not None and not record.folds:
                protocol = how.protocol or record.scores.protocol
                again = rescore(path.parent, record, data, how.threshold, protocol)
                yield record.scores.iou_map, write_record(path.parent / RECORD, again)
        except HarnessError as error:
            failed.append(str(error))
    for group in fold_groups(record for _, record in folds.values()):
        if are_complete(group):
            try:
                folders = [folds[record.key][0] for record in group]
                assert group[0].data is not None
                truth = data.truth(read_trial_spec(folders[0]), group[0].data.fingerprint)
                earlier = before.get(group[0].folds_key)
                protocol = how.protocol or (earlier.protocol if earlier else "")
                again = score_folds(run_dir, [folder.name for folder in folders], truth, how.threshold, protocol)
            except HarnessError as error:
                failed.append(str(error))
                continue
            yield earlier.iou_map if earlier else None, again


def rescore(
    folder: Path, record: RunRecord, data: _Data, threshold: float | None, protocol: ScoringProtocol = ""
) -> RunRecord:
    """The record of a trial's folder with rule and scores computed from its stored predictions.

    A threshold the run was started with stays fixed, and its protocol is kept. Raises HarnessError where the data are
    not those of the record, or predictions are missing or damaged.
    """
    from harness.evaluation.calibration import choose_rule
    from harness.evaluation.prediction_file import PREDICTIONS, read_predictions
    from harness.evaluation.scorer import score as score_all
    from harness.results.io import read_trial_spec

    assert record.data is not None
    if record.outside:
        return _rescore_outside(folder, record, data, protocol)
    facts, stored = record.data, read_predictions(folder / PREDICTIONS)
    spec = read_trial_spec(folder)
    if list(stored.classes) != facts.classes:
        raise HarnessError(f"{folder / PREDICTIONS}: its classes are not those of the record beside it")
    for split in ("calibration", "validation"):
        if set(stored.splits.get(split, {})) != set(facts.splits[split]):
            raise HarnessError(f"{folder / PREDICTIONS}: its {split} images are not those of the record beside it")
    truth = data.truth(spec, facts.fingerprint)
    fixed = spec.threshold if threshold is None else threshold
    rule = choose_rule(stored.splits["calibration"], truth, facts.classes, threshold=fixed)
    scores: Scores = score_all(
        stored.splits["validation"], truth, rule, facts.classes, protocol=protocol or spec.protocol
    )
    return record.model_copy(
        update={"rule": rule, "scores": scores, "settings": {**record.settings, "threshold": fixed}}
    )


def _rescore_outside(folder: Path, record: RunRecord, data: _Data, protocol: ScoringProtocol) -> RunRecord:
    """As rescore, of masks that another tool has made."""
    from harness.evaluation.prediction_file import PREDICTIONS, read_predictions
    from harness.orchestration.add_row import score_outside
    from harness.results.io import read_trial_spec

    assert record.data is not None
    assert record.outside is not None
    stored = read_predictions(folder / PREDICTIONS)
    if set(stored.splits.get("validation", {})) != set(record.data.splits["validation"]):
        raise HarnessError(f"{folder / PREDICTIONS}: its validation images are not those of the record beside it")
    spec, outside = read_trial_spec(folder), record.outside
    truth = data.truth(spec, record.data.fingerprint)
    rule, scores = score_outside(
        stored.splits, truth, record.data.classes, outside.classed, outside.scored, protocol or spec.protocol
    )
    return record.model_copy(update={"rule": rule, "scores": scores})


@dataclass(frozen=True)
class _How:
    """threshold: fixed, or None to choose it. protocol: a published evaluation besides; empty for those there were."""

    threshold: float | None
    protocol: ScoringProtocol


class _Data:
    """Loads each source once."""

    def __init__(self) -> None:
        self._loaded: dict[tuple[str, bool, tuple[str, ...], tuple[str, ...]], Any] = {}

    def truth(self, spec: TrialSpec, fingerprint: str) -> LazyTruth:
        """Raises HarnessError where the source cannot be loaded or is not what it was."""
        from harness.orchestration.prepared_data import LazyTruth, load_data

        key = (spec.source, spec.skip_bad, spec.split.calibration, spec.split.validation)
        if key not in self._loaded:
            self._loaded[key] = load_data(spec.source, spec.skip_bad, spec.split)
        dataset = self._loaded[key]
        if dataset.fingerprint != fingerprint:
            raise HarnessError(
                f"{dataset.public_source} has changed since {spec.method} was run (its fingerprint is "
                f"{dataset.fingerprint[:12]}, the record's {fingerprint[:12]}); bring the old data back, or run again"
            )
        return LazyTruth(dataset, dataset.ids)


def _checked(metrics: tuple[str, ...]) -> tuple[str, ...]:
    from harness.evaluation.schema import Scores

    known = [name for name in Scores.model_fields if name not in ("scoring_version", "by_image", "cell_types")]
    for name in metrics:
        if name not in known:
            raise HarnessError(f"no metric {name!r}{nearest(name, known)}; there are: {', '.join(known)}")
    return metrics


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, dict):
        return " ".join(f"{name}={_shown(inner)}" for name, inner in value.items())
    return f"{value:.4f}" if isinstance(value, float) else str(value)
