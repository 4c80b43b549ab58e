"""Tests comparisons over folds on methods whose true differences are known: the second part of results/statistics.md.

python benchmarks/simulate_folds.py                  1,000 families of eight methods a row, about five minutes
python benchmarks/simulate_folds.py --families 100   a look

One split and folds have the same labelled images and the same number of trainings. What differs is how many images are
scored, and whether a training set is one or many.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "helpers"))

from simulated_folds import FoldSimulation  # noqa: E402

from harness.fileio import write_text_atomic  # noqa: E402
from harness.monitoring.machine import git_commit, utc_now  # noqa: E402
from harness.results.comparisons import Comparisons  # noqa: E402
from harness.results.fold_comparisons import FoldComparisons  # noqa: E402

METHODS = 8
HEADING = "## One split, folds and repeated folds"
FOLDS = FoldSimulation()
ONE_SPLIT = replace(FOLDS, folds=0, seeds=5)
LAYOUTS = {
    "one split, 5 seeds": ONE_SPLIT,
    "5 folds, 1 seed": FOLDS,
    "one split, 15 seeds": replace(ONE_SPLIT, seeds=15),
    "5 folds, 3 seeds": replace(FOLDS, seeds=3),
}
TRAIN_SD = (0.0, 0.02, 0.04)
"""How much the training set moves a method. The middle one is as large as most of what seeds move."""
LOSSES = (0.05, 0.10)
"""How much worse the one method is that should be found."""


def share(simulation: FoldSimulation, loss: float, families: int) -> float:
    """The share of families that were split; with a loss, of those in which the worse method is told worse."""
    rng, count = np.random.default_rng(0), 0
    last = f"m{METHODS - 1}"
    for _ in range(families):
        scores, folds = simulation.family(rng, [0.0] * (METHODS - 1) + [-loss])
        if simulation.folds:
            compared: Comparisons = FoldComparisons(scores, dict.fromkeys(scores, folds))
        else:
            compared = Comparisons(scores, simulation.cell_types)
        baseline, best = compared.from_baseline("m0"), compared.from_best()
        if loss:
            told = [found[last] for found in (baseline, best) if last in found]
            count += any(d.different and d.mean < 0 for d in told)
        else:
            count += any(d.different for d in (*baseline.values(), *best.values()))
    return count / families


def section(families: int) -> list[str]:
    """The lines of the second part of results/statistics.md."""
    asked = [
        *((replace(layout, train_sd=sd), 0.0) for layout in LAYOUTS.values() for sd in TRAIN_SD),
        *((layout, loss) for layout in LAYOUTS.values() for loss in LOSSES),
    ]
    with ProcessPoolExecutor() as pool:
        found = list(pool.map(share, *zip(*asked, strict=True), [families] * len(asked)))
    equal, power = found[: len(LAYOUTS) * len(TRAIN_SD)], found[len(LAYOUTS) * len(TRAIN_SD) :]
    rows = [
        [name, layout.trainings, *equal[i * len(TRAIN_SD) :][: len(TRAIN_SD)], *power[i * len(LOSSES) :][: len(LOSSES)]]
        for i, (name, layout) in enumerate(LAYOUTS.items())
    ]
    s = FOLDS
    return [
        HEADING,
        "",
        f"{families:,} simulated families of {METHODS} methods an entry, made by `python benchmarks/simulate_folds.py` "
        f"on {utc_now()[:10]}, commit {git_commit()[:12] or 'unknown'}. There are {s.images} labelled images: folds "
        f"score all of them, one split scores {s.images // 5}. *Trainings* are of each method. Of equal methods, at "
        "most 5 % of families should be split. The training set moves a method by 0, 0.02 or 0.04 IoU "
        f"(standard deviation between training sets that have no image in common); a seed moves it by {s.run_sd}.",
        "",
        "| layout | trainings | equal, split: 0 | equal, split: 0.02 | equal, split: 0.04 "
        "| one worse by 0.05, found | one worse by 0.10, found |",
        "|---|---:|---:|---:|---:|---:|---:|",
        *(f"| {name} | {number} | {_percents(rest)} |" for name, number, *rest in rows),
        "",
        "Found: where the training set moves a method by 0.02. Trainings on one split share their training set. "
        "However many there are, they say nothing of another one: what the training set does is taken for a "
        "difference of the methods. Folds see a part of it. What one split finds beyond folds is bought with that: it "
        "splits equal methods as readily. Standard errors are at most "
        f"{100 * 0.5 / np.sqrt(families):.1f}.",
        "",
    ]


def _percents(shares: Sequence[float]) -> str:
    return " | ".join(f"{100 * value:.1f} %" for value in shares)


def with_section(page: str, lines: Iterable[str]) -> str:
    """The page with this part in the place of the earlier one."""
    return page.partition(HEADING)[0].rstrip() + "\n\n" + "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "statistics.md")
    options = parser.parse_args()
    page = options.out.read_text(encoding="utf-8") if options.out.is_file() else ""
    write_text_atomic(options.out, with_section(page, section(options.families)))


if __name__ == "__main__":
    main()
