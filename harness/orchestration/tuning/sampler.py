"""Which setting to try next, and which settings mattered; by Optuna."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from harness.config.space import Parameter, SearchSpace
from harness.errors import HarnessError
from harness.orchestration.tuning.record import TriedTrial

if TYPE_CHECKING:
    import optuna

Sampler = Literal["random", "tpe"]

TPE_STARTS = 4
"""Trials before TPE proposes settings of its own, in place of Optuna's 10: a dozen trials is usual here."""
LEAST_FOR_IMPORTANCE = 8
"""With fewer scored trials, what mattered is left unsaid."""


def check_installed() -> None:
    """Raises HarnessError where Optuna is not there."""
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise HarnessError("tune needs Optuna; type: pip install 'optuna>=5.0'") from error


def suggest(
    space: SearchSpace, sampler: Sampler, seed: int, number: int, earlier: Sequence[TriedTrial]
) -> dict[str, Any]:
    """The values of trial `number`. They depend on the arguments alone, so that a search can be continued.

    Args:
        space: where to search.
        sampler: random, which gives every method the same settings; or the tree-structured Parzen estimator (Bergstra
            et al. 2011, NeurIPS, section 4), which learns from earlier trials.
        seed: of the search.
        number: of the trial, from 1.
        earlier: of the same method.
    """
    optuna = _optuna()
    chance = 1000 * seed + number
    if sampler == "random":
        made: Any = optuna.samplers.RandomSampler(seed=chance)
    else:
        made = optuna.samplers.TPESampler(seed=chance, n_startup_trials=TPE_STARTS)
    study = optuna.create_study(direction="maximize", sampler=made)
    for trial in earlier:
        # the preset's own setting may lie outside the space
        if space.contains(trial.values):
            study.add_trial(_frozen(space, trial))
    return dict(study.ask({name: _distribution(one) for name, one in space.parameters.items()}).params)


def importances(space: SearchSpace, trials: Sequence[TriedTrial]) -> dict[str, float]:
    """The share that each setting has in what good trials have in common; empty where too few trials say.

    PED-ANOVA (Watanabe et al. 2023, arXiv 2304.10255). A trial that was stopped early counts with its last look.
    """
    optuna = _optuna()
    study = optuna.create_study(direction="maximize")
    for trial in trials:
        if space.contains(trial.values) and trial.last_iou is not None:
            study.add_trial(_frozen(space, trial.model_copy(update={"iou": trial.last_iou})))
    if len(study.trials) < LEAST_FOR_IMPORTANCE:
        return {}
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.25)
    try:
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    except (ValueError, RuntimeError):  # all settings alike
        return {}
    return {name: float(share) for name, share in found.items()}


def _optuna() -> Any:
    check_installed()
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _distribution(parameter: Parameter) -> optuna.distributions.BaseDistribution:
    kinds = _optuna().distributions
    if parameter.choices:
        return kinds.CategoricalDistribution(parameter.choices)
    whole = isinstance(parameter.low, int) and isinstance(parameter.high, int)
    kind = kinds.IntDistribution if whole else kinds.FloatDistribution
    return kind(parameter.low, parameter.high, log=parameter.log)


def _frozen(space: SearchSpace, trial: TriedTrial) -> optuna.trial.FrozenTrial:
    """A trial as Optuna's: complete with its IoU, pruned with its looks, or failed."""
    optuna = _optuna()
    states = optuna.trial.TrialState
    state = states.COMPLETE if trial.iou is not None else states.PRUNED if trial.looks else states.FAIL
    return optuna.trial.create_trial(
        params={name: trial.values[name] for name in space.parameters},
        distributions={name: _distribution(one) for name, one in space.parameters.items()},
        value=trial.iou,
        intermediate_values=dict(enumerate(trial.looks, 1)),
        state=state,
    )
