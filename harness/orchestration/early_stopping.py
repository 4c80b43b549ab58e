"""Early stopping of trials of `tune` by successive halving, the same for every method."""

from __future__ import annotations

from collections.abc import Sequence

FRACTIONS = (0.25, 0.5)
"""Fractions of the budget at which a trial of `tune` is looked at."""
KEPT = 2
"""One trial in so many goes on at each look, and takes so many times the budget of the look before."""


def falls_behind(earlier: Sequence[Sequence[float]], looks: Sequence[float]) -> bool:
    """Whether a trial is not in the better half, at its newest look, of the trials that came as far.

    Asynchronous successive halving (Li et al. 2018, arXiv 1810.05934, section 3), as Optuna implements it: of the
    trials at a look the best one in KEPT go on, and the best one always does.

    Args:
        earlier: IoU at each look, of each earlier trial of the method, in the order of the trials.
        looks: IoU at each look of this trial so far.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=KEPT)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    pruned = False
    for values in (*earlier, looks):
        trial = study.ask()
        for at, value in enumerate(values, 1):
            trial.report(value, at)
            # the pruner notes down at each look how far the trial came
            pruned = trial.should_prune()
    return pruned
