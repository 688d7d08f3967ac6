"""The experiment of a spec, in the terms of the statistics."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from trimtab.evidence.design import Design, Guardrail, Objective
from trimtab.kinds.abtest.api import Spec

FEWER_IS_BETTER = frozenset({"Errors", "Latency"})


def design(spec: Spec, without: Collection[str] = (), users_error: float = 0.0) -> Design:
    """The experiment without some of its arms, each of the others at the significance it began with.

    `users_error` is how far counts of users may be off, as a fraction.
    """
    arms = tuple(arm.name for arm in spec.arms if arm.name not in without)
    objective = spec.objective
    kept = (len(arms) - 1) / (len(spec.arms) - 1)
    return Design(
        arms=arms,
        control=spec.control,
        objective=Objective(
            metric=objective.metric,
            direction=direction(spec),
            minimum_effect=float(objective.minimum_effect_percent) / 100,
            alpha=float(objective.alpha) * kept,
            power=float(objective.power),
        ),
        guardrails=tuple(Guardrail(g.metric, float(g.max_increase_percent) / 100) for g in spec.guardrails),
        min_seconds=spec.min_seconds,
        max_seconds=spec.max_seconds,
        users_error=users_error,
    )


def direction(spec: Spec) -> Literal["Increase", "Decrease"]:
    """What is better."""
    if spec.objective.direction is not None:
        return spec.objective.direction
    return "Decrease" if spec.objective.metric in FEWER_IS_BETTER else "Increase"


def slow_seconds(spec: Spec) -> float | None:
    """Above how many seconds an answer counts as slow, if anybody asks."""
    edges = (spec.objective.above_milliseconds, *(g.above_milliseconds for g in spec.guardrails))
    return next((edge / 1_000 for edge in edges if edge is not None), None)
