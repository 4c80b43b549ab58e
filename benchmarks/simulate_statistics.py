"""Tests the leaderboard's statistics on methods whose true differences are known, and writes results/statistics.md.

python benchmarks/simulate_statistics.py                  1,000 families of eight methods a row, about half an hour
python benchmarks/simulate_statistics.py --families 100   a look
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "helpers"))

import simulate_folds  # noqa: E402
from simulated_scores import Simulation  # noqa: E402

from harness.fileio import write_text_atomic  # noqa: E402
from harness.monitoring.machine import git_commit, utc_now  # noqa: E402
from harness.results.comparisons import Comparisons  # noqa: E402
from harness.results.statistics import Difference, SeedScores  # noqa: E402

METHODS = 8
LOSS = 0.10
"""How much worse the one method is that should be found."""

Family = dict[str, SeedScores]
MakeFamily = Callable[[Simulation, np.random.Generator], Family]


@dataclass(frozen=True)
class Question:
    """One row of the page.

    Attributes:
        target: what the share of families should be, in words.
        family: makes the scores of one family.
        holds: whether what the row counts happened; given the differences from the baseline and from the best.
    """

    name: str
    target: str
    simulation: Simulation
    family: MakeFamily
    holds: Callable[[dict[str, Difference], dict[str, Difference]], bool]


def equal(simulation: Simulation, rng: np.random.Generator) -> Family:
    return simulation.family(rng, [0.0] * METHODS)


def one_worse(simulation: Simulation, rng: np.random.Generator) -> Family:
    return simulation.family(rng, [0.0] * (METHODS - 1) + [-LOSS])


def all_unequal(simulation: Simulation, rng: np.random.Generator) -> Family:
    return simulation.family(rng, [-0.05 * m for m in range(METHODS)])


def one_unstable(simulation: Simulation, rng: np.random.Generator) -> Family:
    unstable = replace(simulation, seed_sd=4 * simulation.seed_sd)
    return {**simulation.family(rng, [0.0] * (METHODS - 1)), "unstable": unstable.family(rng, [0.0])["m0"]}


def any_method_split(baseline: dict[str, Difference], best: dict[str, Difference]) -> bool:
    return any(d.different for d in (*baseline.values(), *best.values()))


def any_network_split(baseline: dict[str, Difference], best: dict[str, Difference]) -> bool:
    return any(d.told_apart for d in (*baseline.values(), *best.values()))


def worse_found(baseline: dict[str, Difference], best: dict[str, Difference]) -> bool:
    return worse_than_baseline(baseline, best) or _worse(best)


def worse_than_baseline(baseline: dict[str, Difference], best: dict[str, Difference]) -> bool:
    return _worse(baseline)


def _worse(found: dict[str, Difference]) -> bool:
    last = found.get(f"m{METHODS - 1}")
    return last is not None and last.different and last.mean < 0


USUAL = Simulation()
QUESTIONS = (
    Question("eight equal methods, any split", "at most 5 %", USUAL, equal, any_method_split),
    Question("the same, 15 images", "at most 5 %", replace(USUAL, images=15), equal, any_method_split),
    Question("the same, 5 seeds", "at most 5 %", replace(USUAL, seeds=5), equal, any_method_split),
    Question("the same, runs alike", "at most 5 %", replace(USUAL, seed_sd=0.0), equal, any_method_split),
    Question("one worse by 0.10, told worse", "at least 80 %", USUAL, one_worse, worse_found),
    Question("the same, than the baseline alone", "", USUAL, one_worse, worse_than_baseline),
    Question("the same, 15 images, told worse", "", replace(USUAL, images=15), one_worse, worse_found),
    Question("one seed, unequal methods, a method claimed", "never", replace(USUAL, seeds=1), all_unequal,
             any_method_split),
    Question("one seed, equal networks, any split of networks", "at most 5 %",
             replace(USUAL, seeds=1, seed_sd=0.0, images=15), equal, any_network_split),
    Question("eight equal methods, one varies four times as much, any split", "", USUAL, one_unstable,
             any_method_split),
)  # fmt: skip


def answers(simulation: Simulation, family: MakeFamily, families: int) -> list[float]:
    """The share of families in which what a row counts happened, for each question on this kind of family."""
    asked = [question for question in QUESTIONS if (question.simulation, question.family) == (simulation, family)]
    rng, counts = np.random.default_rng(0), np.zeros(len(asked))
    for _ in range(families):
        compared = Comparisons(family(simulation, rng), simulation.cell_types)
        told = compared.from_baseline("m0"), compared.from_best()
        counts += [question.holds(*told) for question in asked]
    return (counts / families).tolist()


def page(shares: Mapping[Question, float], families: int) -> str:
    lines = [
        "# The statistics on methods whose true differences are known",
        "",
        f"{families:,} simulated families of {METHODS} methods a row, made by "
        f"`python benchmarks/simulate_statistics.py` on {utc_now()[:10]}, commit {git_commit()[:12] or 'unknown'}. "
        "A family is *split* where any method is told "
        "apart from the baseline or from the best. What is compared with what, and how, is in "
        "[docs/statistics.md](../docs/statistics.md).",
        "",
        "| question | images | seeds | sd between runs | target | families | standard error |",
        "|---|---:|---:|---:|---|---:|---:|",
    ]
    for question, share in shares.items():
        s = question.simulation
        error = 100 * float(np.sqrt(share * (1 - share) / families))
        measured = (question.target or "none", f"{100 * share:.1f} %", f"{error:.1f}")
        lines.append(f"| {' | '.join(map(str, (question.name, s.images, s.seeds, s.seed_sd, *measured)))} |")
    s = USUAL
    return "\n".join([
        *lines,
        "",
        f"Other standard deviations, of IoU: {s.residual_sd} of one image in one run beside what its image and its run "
        f"explain, {s.interaction_sd} of a method on an image in all its runs, {s.image_sd} between images of one cell "
        f"type and {s.type_sd} between the {s.types} types. They are near those of the records in `copy-paste`.",
        "",
    ])  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "statistics.md")
    options = parser.parse_args()
    kinds = list(dict.fromkeys((question.simulation, question.family) for question in QUESTIONS))
    shares: dict[Question, float] = {}
    with ProcessPoolExecutor() as pool:
        running = [pool.submit(answers, *kind, options.families) for kind in kinds]
        for kind, found in zip(kinds, (one.result() for one in running), strict=True):
            asked = [question for question in QUESTIONS if (question.simulation, question.family) == kind]
            shares |= zip(asked, found, strict=True)
            print(*(f"{question.name}: {shares[question]:.1%}" for question in asked), sep="\n", flush=True)
    lines = simulate_folds.section(options.families)
    write_text_atomic(options.out, simulate_folds.with_section(page(shares, options.families), lines))


if __name__ == "__main__":
    main()
