"""The report of a search for settings: a table, a figure, what mattered, and every trial."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.fileio import make_folder, write_bytes_atomic, write_text_atomic
from harness.orchestration.tuning.record import TriedTrial, TunedMethod, TuningRecord
from harness.orchestration.tuning.sampler import LEAST_FOR_IMPORTANCE, importances
from harness.reporting.columns import number
from harness.reporting.escape import for_markdown
from harness.reporting.page.charts import style
from harness.reporting.page.printed import render
from harness.reporting.page.tuning_figures import BestSoFar, tuning_chart

REPORT, FIGURE = "tuning.md", "tuning.png"

_HEADER = ("method", "own setting", "tuned", "gain", "chosen", "stopped early", "failed", "training s", "setting")


def write_report(folder: Path, record: TuningRecord) -> Path:
    """Write tuning.md and its figure into the folder of a search. Returns the path of the first."""
    make_folder(folder)
    curves = [BestSoFar(method.method, method.best_so_far) for method in record.methods if method.best_so_far]
    if curves:
        looks = {curve.method: style(at) for at, curve in enumerate(curves)}
        write_bytes_atomic(folder / FIGURE, render(tuning_chart(curves), looks, "png"))
    write_text_atomic(folder / REPORT, as_markdown(record, figure=bool(curves)))
    return folder / REPORT


def summary_rows(record: TuningRecord) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and a row a method: what its own setting and the chosen one reached on the calibration images."""
    return _HEADER, [_summary(record, method) for method in record.methods]


def as_markdown(record: TuningRecord, figure: bool = True) -> str:
    """The report."""
    header, rows = summary_rows(record)
    stopping = "successive halving at 25 % and 50 % of the budget" if record.early_stopping else "no early stopping"
    return "\n".join(
        [
            "# Tuning",
            "",
            f"Every method had {record.trials} trials of {record.budget} from the same space, the preset "
            f"`{record.preset.name}` itself first; sampler {record.sampler}, {stopping}. IoU on "
            f"{record.calibration_images} calibration images, on which thresholds were chosen too: it is higher than "
            "on new images. Validation images were not predicted.",
            "",
            *_table(header, rows),
            *(["", f"![IoU against trials]({FIGURE})"] if figure else []),
            "",
            "## What mattered",
            "",
            *_what_mattered(record),
            "",
            "## The space",
            "",
            *_table(("setting", "searched"), [(name, _range(one)) for name, one in _space(record)]),
            "",
            "## Every trial",
            "",
            *_table(
                ("method", "trial", "IoU", "looks", "status", *record.space.parameters),
                [_trial(method, trial) for method in record.methods for trial in method.trials],
            ),
            "",
            *(f"- {name}: {for_markdown(value)}" for name, value in _facts(record).items()),
            "",
        ]
    )


def _summary(record: TuningRecord, method: TunedMethod) -> tuple[str, ...]:
    own, chosen, facts = method.trials[0].iou, method.chosen, record.facts_of(method)
    best = None if chosen is None else chosen.iou
    gain = "" if own is None or best is None else f"{best - own:+.4f}"
    setting = "" if chosen is None else ", ".join(f"{_short(k)} {_value(v)}" for k, v in chosen.values.items())
    return (
        method.method,
        number(own, 4),
        number(best, 4),
        gain,
        "" if chosen is None else f"trial {chosen.number + 1}",
        str(facts.stopped_early),
        str(facts.failed),
        number(facts.seconds, 0),
        setting,
    )


def _what_mattered(record: TuningRecord) -> list[str]:
    found = {method.method: importances(record.space, method.trials) for method in record.methods}
    known = {name: shares for name, shares in found.items() if shares}
    if not known:
        return [f"Fewer than {LEAST_FOR_IMPORTANCE} scored trials of each method are too few to say."]
    names = list(record.space.parameters)
    rows = [(method, *(f"{shares.get(name, 0.0):.0%}" for name in names)) for method, shares in known.items()]
    return [
        "The share of each setting in what the better quarter of the trials has in common (PED-ANOVA, Watanabe et al. "
        "2023). With a dozen trials it is a hint, no more.",
        "",
        *_table(("method", *names), rows),
    ]


def _trial(method: TunedMethod, trial: TriedTrial) -> tuple[str, ...]:
    status = f"{trial.status}: {trial.reason}" if trial.reason else trial.status
    looks = ", ".join(f"{look:.3f}" for look in trial.looks)
    return (
        method.method, str(trial.number + 1), number(trial.iou, 4), looks, status, *map(_value, trial.values.values())
    )  # fmt: skip


def _facts(record: TuningRecord) -> dict[str, str]:
    return {
        "Command": record.command,
        "Data": f"{record.source}, fingerprint {record.data_fingerprint[:12]}, split {record.split_fingerprint[:12]}",
        "Finished": record.finished,
    }


def _space(record: TuningRecord) -> list[tuple[str, Any]]:
    return list(record.space.parameters.items())


def _range(parameter: Any) -> str:
    if parameter.choices:
        return "one of " + ", ".join(map(_value, parameter.choices))
    return f"{parameter.low:g} to {parameter.high:g}{', by orders of magnitude' if parameter.log else ''}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *([for_markdown(text) for text in row] for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]


def _short(name: str) -> str:
    return name.rpartition(".")[2]


def _value(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
