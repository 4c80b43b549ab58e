"""The table in a few sentences: who is worse, who cannot be told apart, what that costs, and what is still open."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from harness.reporting.columns import interval, number
from harness.reporting.curves import iou_curve
from harness.reporting.leaderboard import Leaderboard
from harness.reporting.row import Row
from harness.results.statistics import LEVEL, Difference

SEEDS = 3
"""The least for a statement on methods."""

FINISHED = 0.01
"""A method has finished learning where the last quarter of its budget gained less IoU than this."""

MAX_NAMES = 6
"""A sentence names at most so many methods, and counts the others."""


def verdict(board: Leaderboard) -> list[str]:
    """Sentences from the most important on. They claim nothing of methods where one seed speaks of networks only."""
    ranked = board.ranked
    if not ranked:
        return ["No method has a score yet."]
    best = ranked[0]
    spread = f"95 % over images: {interval(best.quality.interval, 3)}"
    sentences = [f"{best.method} has the highest IoU, {number(best.quality.iou, 3)} ({spread})."]
    if len(ranked) > 1:
        sentences += [*_best_tier(board), *_against_baseline(board), *_open_question(board), *_unequal_seeds(board)]
    return [*sentences, *_tuning(ranked), *_learning(ranked)]


# ------------------------------------------------------------------------------------------------- who is better


def _against_baseline(board: Leaderboard) -> list[str]:
    """Which methods, and which trained networks, are worse or better than the baseline."""
    found = []
    for scope, subject in (("methods", ""), ("networks", "Of these trained networks, ")):
        known = [(row.method, d) for row in board.ranked if (d := row.quality.vs_baseline) and d.scope == scope]
        worse = [name for name, d in known if d.told_apart and d.mean < 0]
        better = [name for name, d in known if d.told_apart and d.mean > 0]
        said = [
            f"{join_names(names)} {'is' if len(names) == 1 else 'are'} {word} than {board.baseline}"
            for names, word in ((better, "better"), (worse, "worse"))
            if names
        ]
        if said:
            found.append(f"{subject}{'; '.join(said)}.")
        elif known:
            found.append(f"{subject or 'Of the methods, '}none can be told from {board.baseline}.")
    return found


def _best_tier(board: Leaderboard) -> list[str]:
    """Which methods cannot be told from the best, and which of them cost least."""
    best, *others = board.ranked
    tier = [best, *(row for row in others if not row.is_worse)]
    if len(tier) == 1:
        alone = all(row.quality.vs_best and row.quality.vs_best.different for row in others)
        return [f"{best.method} is told apart from every other {'method' if alone else 'trained network'}."]
    same = join_names([row.method for row in tier[1:]])
    costs = "; ".join(_cheapest(tier))
    return [f"{best.method} cannot be told from {same}.{f' Of these, cheapest {costs}.' if costs else ''}"]


def _cheapest(tier: Sequence[Row]) -> list[str]:
    """What each cost is lowest of, in words."""
    here = [row for row in tier if row.cost.same_machine]
    wanted: list[tuple[str, Callable[[Row], float | None], Callable[[float], str]]] = [
        ("to train", lambda row: row.cost.seconds_per_iteration, lambda v: f"{v:.3f} s/it"),
        ("to hold in memory", lambda row: row.cost.memory, lambda v: f"{v / 2**30:.2f} GiB"),
        ("to predict", lambda row: row.cost.inference_ms, lambda v: f"{v:.0f} ms/image"),
    ]
    found = []
    for what, cost_of, worded in wanted:
        known = [(cost, row.method) for row in here if (cost := cost_of(row)) is not None]
        if len(known) > 1:
            cost, method = min(known)
            found.append(f"{what}: {method} ({worded(cost)})")
    return found


# ------------------------------------------------------------------------------------------------ what is still open


def _open_question(board: Leaderboard) -> list[str]:
    """What one seed leaves open and the command that would settle it, or how small a difference could be told."""
    trained = [row for row in board.ranked if not row.is_outside]
    single = [row for row in trained if row.provenance.seeds < 2 and not row.in_folds]
    if single:
        who = "One seed each says" if len(single) == len(trained) else f"One seed of {_methods(single)} says"
        return [f"{who} nothing of other training runs, so whether the methods differ is open.{_remedy(board)}"]
    known = [d for row in board.ranked if (d := row.quality.vs_baseline) is not None]
    if not known or all(d.told_apart for d in known):
        return []
    seeds, images = min(row.provenance.seeds for row in board.ranked), known[0].images
    reach = fmean(_half_width(d) for d in known)
    runs = f"{known[0].units} folds" if known[0].units else f"{seeds} seeds"
    said = f"With {runs} and {images} images, differences below about {reach:.2f} IoU cannot be told from chance"
    return [f"{said}."]


def _unequal_seeds(board: Leaderboard) -> list[str]:
    """Whether the spread over seeds could not be pooled, which makes comparisons much less sure."""
    if board.equal_spread_p >= LEVEL:
        return []
    if any(row.in_folds for row in board.ranked):
        return [
            "Folds of some methods spread more than those of others, so each pair is judged by its own folds alone."
        ]
    return ["Seeds of some methods spread more than those of others, so each method is judged by its own seeds alone."]


def _half_width(difference: Difference) -> float:
    return (difference.interval.high - difference.interval.low) / 2


@dataclass(frozen=True)
class _Remedy:
    """The command that would add seeds. minutes: what it takes on the machine of the records."""

    command: str
    minutes: float


def _remedy(board: Leaderboard) -> str:
    found = more_seeds(board)
    if found is None:
        return f" Run with --seeds {SEEDS} to tell."
    return f" `{found.command}` would tell, in about {found.minutes:.0f} more minutes on the same machine."


def more_seeds(board: Leaderboard) -> _Remedy | None:
    """The command of the run with more seeds; None where the records have no command of their own, or several.

    A run that names its folder keeps the seeds it has, so that only the missing ones cost time.
    """
    trained = [row for row in board.ranked if not row.is_outside]
    commands = Counter(record.command for row in trained for record in row.good_records if record.command)
    if len(commands) != 1:
        return None
    words = shlex.split(next(iter(commands)))
    if "run" not in words:
        return None
    kept, skip = [], False
    for word in words:
        if not skip and word != "--seeds" and not word.startswith("--seeds="):
            kept.append(word)
        skip = word == "--seeds"
    goes_on = any(word == "--out" or word.startswith("--out=") for word in words)
    seconds = 0.0
    for row in trained:
        one = fmean(r.wall_seconds or r.cost.train_seconds or 0.0 for r in row.good_records)
        seconds += one * max(0, SEEDS - (row.provenance.seeds if goes_on else 0))
    return _Remedy(shlex.join([*kept, "--seeds", str(SEEDS)]), max(1.0, seconds / 60))


def _tuning(ranked: Sequence[Row]) -> list[str]:
    """Whether settings were searched alike for all methods; nothing where none were."""
    facts = {row.method: row.good_records[0].tuned for row in ranked}
    tuned = {name: fact for name, fact in facts.items() if fact is not None}
    if not tuned:
        return []
    without = [name for name in facts if name not in tuned]
    some = next(iter(tuned.values()))
    if without:
        were, not_were = ("was" if len(names) == 1 else "were" for names in (tuned, without))
        said = f"{join_names(list(tuned))} {were} tuned and {join_names(without)} {not_were} not"
        return [f"{said}, which favours the former."]
    if len({fact.search for fact in tuned.values()}) > 1:
        return ["Methods were tuned by different searches (space, trials or budget), so the comparison is uneven."]
    seconds = sum(fact.seconds for fact in tuned.values())
    return [f"All were tuned alike: {some.trials} settings of {some.budget} each, {seconds:.0f} s of training in all."]


def _learning(ranked: Iterable[Row]) -> list[str]:
    """Whether the methods had finished learning when their budget ended."""
    gains = {row.method: gain for row in ranked if (gain := last_quarter_gain(row)) is not None}
    if not gains:
        return []
    rising = {name: gain for name, gain in gains.items() if gain >= FINISHED}
    if not rising:
        return [f"All had nearly finished learning: the last quarter of the budget gained less than {FINISHED} IoU."]
    who = "No method" if len(rising) == len(gains) else f"{join_names(list(rising))}"
    least, most = min(rising.values()), max(rising.values())
    gained = f"{most:.2f}" if f"{least:.2f}" == f"{most:.2f}" else f"{least:.2f} to {most:.2f}"
    said = "had finished learning" if len(rising) == len(gains) else "had not finished learning"
    return [
        f"{who} {said}: the last quarter of the budget still gained {gained} IoU. A longer one may change the order."
    ]


def last_quarter_gain(row: Row) -> float | None:
    """IoU that the last quarter of the budget gained, by the learning curve; None without two points in it."""
    curve = iou_curve(row)
    if curve is None or len(curve.value) < 2 or not np.isfinite(curve.value).all():
        return None
    before = float(np.interp(0.75 * curve.seconds[-1], curve.seconds, curve.value))
    return float(curve.value[-1]) - before


# --------------------------------------------------------------------------------------------------------- words


def _methods(rows: Sequence[Row]) -> str:
    return join_names([row.method for row in rows])


def join_names(names: Sequence[str], most: int = MAX_NAMES) -> str:
    """a, b and c; the first of many, and how many more."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
