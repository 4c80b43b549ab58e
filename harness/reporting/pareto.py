"""Which methods no other beats."""

from __future__ import annotations

from collections.abc import Sequence

from harness.reporting.row import Row

SAME_COST = 0.02
"""Costs that differ by less than this fraction count as equal."""


def pareto(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Whether each (cost, gain) has no other that gains more at no more cost, or no less at less cost.

    Costs nearer than SAME_COST are the same: under a budget of time all train equally long, to a fraction of a step.
    """

    def beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
        (cost, gain), (others_cost, others_gain) = one, other
        no_dearer, cheaper = cost <= others_cost * (1 + SAME_COST), cost * (1 + SAME_COST) < others_cost
        return (no_dearer and gain > others_gain) or (cheaper and gain >= others_gain)

    return [not any(beats(other, point) for other in points) for point in points]


def worth_their_cost(rows: Sequence[Row]) -> set[str]:
    """Names of the methods that cannot be told from the best and that none of the others beats on cost.

    One beats another where it costs no more to train (s/it), to hold (memory) and to predict (ms/image), and less in
    one of the three. Times of another machine are not compared.
    """
    candidates = [row for row in rows if row.ranked and row.cost.same_machine and not row.is_worse]
    costs = [(row.cost.seconds_per_iteration, row.cost.memory, row.cost.inference_ms) for row in candidates]
    # a cost that is not known of all is known of none
    kept = [i for i in range(3) if all(cost[i] is not None for cost in costs)]
    known = [tuple(float(cost[i] or 0.0) for i in kept) for cost in costs]
    if not kept:
        return set()
    return {
        row.method
        for row, mine in zip(candidates, known, strict=True)
        if not any(_cheaper(other, mine) for other in known)
    }


def _cheaper(one: Sequence[float], other: Sequence[float]) -> bool:
    no_dearer = all(a <= b * (1 + SAME_COST) for a, b in zip(one, other, strict=True))
    return no_dearer and any(a * (1 + SAME_COST) < b for a, b in zip(one, other, strict=True))
