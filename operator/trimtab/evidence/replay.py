"""A recorded experiment, judged again: the form of `kubectl trimtab replay`, read strictly and answered in full.

    {"spec": <ABTest spec>, "segments": [{"seconds", "weights": {arm: percent}, "counts": {arm: {...}}}]}

Counts are cumulative within each segment. The answer has one object for each segment, judged on all segments up to it,
by the function the operator itself decides with.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, cast, get_args

from trimtab.evidence.design import Design, Direction, Guardrail, Metric, Objective, Verdict
from trimtab.evidence.experiment import verdicts
from trimtab.evidence.tally import Segment, Tally

COUNTS = {
    "users": "users",
    "requests": "requests",
    "errors": "errors",
    "outcomes": "outcomes",
    "outcomeSum": "outcome_sum",
    "outcomeSumSquares": "outcome_squares",
    "latencyAbove": "latency_above",
    "guardedEvents": "guarded",
}
SIGNED = "outcomeSum"
Guarded = Literal["Errors", "Latency", "Prometheus"]
METRICS = cast("tuple[Metric, ...]", get_args(Metric))
GUARDED: tuple[Guarded, ...] = ("Errors", "Latency", "Prometheus")
DIRECTIONS = cast("tuple[Direction, ...]", get_args(Direction))
T = TypeVar("T", bound=str)


def replay(document: Any) -> list[dict[str, Any]]:
    """One result for each segment of a recorded experiment; ValueError names the field that is wrong."""
    whole = _object(document, "the experiment")
    design = read_design(whole.get("spec"))
    given = _list(whole.get("segments"), "segments")
    segments = [_segment(item, f"segments[{i}]", design.arms) for i, item in enumerate(given)]
    return [shown(verdict) for verdict in verdicts(design, segments)]


def shown(verdict: Verdict) -> dict[str, Any]:
    """A verdict as JSON. Lifts are fractions (0.05 is 5 %), null where nothing is known or a bound is infinite."""
    return {
        "decision": verdict.decision,
        "winner": verdict.winner,
        "arms": {
            name: {"lift": arm.lift, "lower": arm.lower, "upper": arm.upper, "eValue": arm.e_value}
            for name, arm in verdict.arms.items()
        },
        "srm": {"eValue": verdict.srm.e_value, "mismatch": verdict.srm.mismatch},
        "neededUsers": verdict.needed_users,
        "reason": verdict.reason,
    }


def read_design(document: Any) -> Design:
    """The design in an ABTest's spec, with the defaults of its schema; ValueError names the field that is wrong."""
    spec = _object(document, "spec")
    names = [
        _text(_object(arm, f"spec.arms[{i}]").get("name"), f"spec.arms[{i}].name")
        for i, arm in enumerate(_list(spec.get("arms"), "spec.arms"))
    ]
    aim = _object(spec.get("objective", {}), "spec.objective")
    guardrails = tuple(
        _guardrail(_object(item, f"spec.guardrails[{i}]"), f"spec.guardrails[{i}]")
        for i, item in enumerate(_list(spec.get("guardrails") or [], "spec.guardrails"))
    )
    fallback = "control" if "control" in names else "".join(names[:1])
    try:
        return Design(
            arms=tuple(names),
            control=_text(spec.get("control", fallback), "spec.control"),
            objective=_objective(aim),
            guardrails=guardrails,
            min_seconds=_number(spec, "minSeconds", "spec", 86_400),
            max_seconds=_number(spec, "maxSeconds", "spec", 2_419_200),
        )
    except ValueError as error:
        raise ValueError(_rooted(str(error))) from None


def _objective(aim: Mapping[str, Any]) -> Objective:
    return Objective(
        metric=_choice(aim.get("metric", "Outcome"), METRICS, "spec.objective.metric"),
        direction=_choice(aim.get("direction") or _usual(aim), DIRECTIONS, "spec.objective.direction"),
        minimum_effect=_number(aim, "minimumEffectPercent", "spec.objective", 5) / 100,
        alpha=_number(aim, "alpha", "spec.objective", 0.05),
        power=_number(aim, "power", "spec.objective", 0.8),
    )


def _usual(aim: Mapping[str, Any]) -> Direction:
    return "Decrease" if aim.get("metric") in ("Errors", "Latency") else "Increase"


def _guardrail(item: Mapping[str, Any], at: str) -> Guardrail:
    metric = _choice(item.get("metric"), GUARDED, f"{at}.metric")
    return Guardrail(metric, _number(item, "maxIncreasePercent", at, 50) / 100)


def _rooted(message: str) -> str:
    return message if message.startswith("spec") else f"spec.{message}"


def _segment(document: Any, at: str, arms: Sequence[str]) -> Segment:
    item = _object(document, at)
    weights = _object(item.get("weights"), f"{at}.weights")
    counts = _object(item.get("counts", {}), f"{at}.counts")
    for field, given in (("weights", weights), ("counts", counts)):
        for name in given:
            if name not in arms:
                raise ValueError(f"{at}.{field}.{name}: spec.arms has no arm of that name, only {', '.join(arms)}")
    shares = {name: _number(weights, name, f"{at}.weights", 0) for name in weights}
    if not sum(shares.values()):
        raise ValueError(f"{at}.weights: at least one arm must have a weight above 0")
    tallies = {
        name: _tally(_object(tally, f"{at}.counts.{name}"), f"{at}.counts.{name}") for name, tally in counts.items()
    }
    return Segment(_number(item, "seconds", at, 0), shares, tallies)


def _tally(item: Mapping[str, Any], at: str) -> Tally:
    values = {own: _number(item, name, at, 0, signed=name == SIGNED) for name, own in COUNTS.items()}
    return Tally(**values)  # type: ignore[arg-type]


def _number(item: Mapping[str, Any], name: str, at: str, default: float, *, signed: bool = False) -> float:
    """A finite number, or a decimal string of one."""
    given = item.get(name)
    if given is None:
        return default
    try:
        value = math.nan if isinstance(given, bool) else float(given)
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not math.isfinite(value) or (value < 0 and not signed):
        raise ValueError(f"{at}.{name}: {given!r} is not a number{'' if signed else ' of at least 0'}")
    return value


def _object(item: Any, at: str) -> Mapping[str, Any]:
    if not isinstance(item, Mapping):
        raise ValueError(f"{at}: an object is needed, not {_called(item)}")
    return item


def _list(item: Any, at: str) -> Sequence[Any]:
    if not isinstance(item, list):
        raise ValueError(f"{at}: a list is needed, not {_called(item)}")
    return item


def _text(item: Any, at: str) -> str:
    if not isinstance(item, str) or not item:
        raise ValueError(f"{at}: a name is needed, not {_called(item)}")
    return item


def _choice(item: Any, allowed: Sequence[T], at: str) -> T:
    for one in allowed:
        if item == one:
            return one
    raise ValueError(f"{at}: {item!r} is none of {', '.join(allowed)}")


def _called(item: Any) -> str:
    return "nothing" if item is None else type(item).__name__
