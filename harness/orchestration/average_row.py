"""The average of several seeds as a row of its run's table: what averaging buys, and what it costs.

Scored from stored predictions, so that nothing is predicted again. Models of one split have all not seen its validation
images. Of folds, every image was trained on by all models but one, so that their average has no score on these images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from harness.config.trial_spec import TrialSpec, trial_key
from harness.data.dataset import Dataset
from harness.evaluation.prediction_file import PREDICTIONS, write_predictions
from harness.evaluation.schema import PostprocessRule
from harness.evaluation.scorer import score
from harness.fileio import make_folder, write_json_atomic
from harness.orchestration.packaging import MethodTrials, unseen_predictions
from harness.orchestration.plan import safe_name
from harness.orchestration.prepared_data import LazyTruth
from harness.results.io import RECORD, TRIAL, TRIALS, write_record
from harness.results.schema import Cost, RunRecord


def write_average_row(run_dir: Path, found: MethodTrials, dataset: Dataset, rule: PostprocessRule) -> RunRecord:
    """Score the average of the trials of one split, and write it into the run's folder as a trial.

    Args:
        run_dir: folder of the run.
        found: several seeds of a method.
        dataset: of the run.
        rule: chosen for the average on the calibration images.
    """
    splits = {part: unseen_predictions(found.trials, part) for part in ("calibration", "validation")}
    spec = _spec(found)
    truth = LazyTruth(dataset, dataset.ids)
    record = RunRecord.from_spec(
        spec,
        "ok",
        data=found.records[0].data,
        rule=rule,
        scores=score(splits["validation"], truth, rule, dataset.classes, protocol=spec.protocol),
        cost=_summed_cost(found.records),
        machine=found.records[0].machine,
        members=[trial.folder.name for trial in found.trials],
    )
    folder = run_dir / TRIALS / safe_name(f"{found.spec.method}--average-of-{len(found.trials)}")
    make_folder(folder)
    write_predictions(folder / PREDICTIONS, splits, dataset.classes)
    write_json_atomic(folder / TRIAL, spec.model_dump(mode="json"))
    return write_record(folder / RECORD, record)


def _spec(found: MethodTrials) -> TrialSpec:
    """With a budget that says that it is another one than that of the members, so that the row is not ranked."""
    number = len(found.trials)
    own = {
        "key": trial_key(members=[record.key for record in found.records]),
        "method": f"{found.spec.method} (average of {number})",
        "budget": f"{number} x {found.spec.budget}",
    }
    return found.spec.model_copy(update=own)


def _summed_cost(records: Sequence[RunRecord]) -> Cost:
    """All members are trained, held and asked, one after the other."""
    costs = [record.cost for record in records]

    def total(of: Callable[[Cost], float | None]) -> float | None:
        values = [of(cost) for cost in costs]
        return None if None in values else sum(value for value in values if value is not None)

    parameters, iterations = total(lambda cost: cost.parameters), total(lambda cost: cost.iterations)
    return Cost(
        train_seconds=total(lambda cost: cost.train_seconds),
        iterations=None if iterations is None else round(iterations),
        inference_ms_per_image=total(lambda cost: cost.inference_ms_per_image),
        peak_host_rss=max((cost.peak_host_rss or 0 for cost in costs), default=0) or None,
        parameters=None if parameters is None else round(parameters),
        notes=[f"average of {len(costs)} models: times are sums, memory is the largest that one of them took"],
    )
