"""The judgement: from the truth and two models' answers to the checks of a gate. No I/O and no clock."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd
from scipy.special import ndtr, ndtri

from trimtab_toolbox.evaluation.calibration import calibration
from trimtab_toolbox.evaluation.check import Check, decided, shown
from trimtab_toolbox.evaluation.estimate import Estimate, Pair, one, pair, passes, worst
from trimtab_toolbox.evaluation.gate import Gate
from trimtab_toolbox.evaluation.parts import class_floors, fairness, slices
from trimtab_toolbox.evaluation.truth import Answers, Truth

POWER = 0.8
LEAST_CHANCE = 1e-6


def judge(
    gate: Gate, table: pd.DataFrame, truth: Truth, champion: Answers | None, challenger: Answers
) -> tuple[list[Check], dict[str, Any]]:
    """All checks that answers decide, and the numbers of the comparison.

    `table` has the holdout's rows, for the columns that divide them. Raises ValueError when the whole holdout says
    nothing of the metric.
    """
    numbers: dict[str, Any] = {"metric": gate.metric}
    checks = []
    if champion is not None:
        found = pair(gate.metric, truth, champion, challenger)
        checks.append(_compared(gate, found, len(truth)))
        numbers |= _numbers(gate, found, len(truth))
    alone = one(gate.metric, truth, challenger)
    numbers |= {"challenger": shown(alone.point), "rows": len(truth)}
    if gate.floor is not None:
        checks.append(_floor(gate, gate.floor, alone))
    checks += _parts(gate, table, truth, champion, challenger)
    return checks, numbers


def _parts(
    gate: Gate, table: pd.DataFrame, truth: Truth, champion: Answers | None, challenger: Answers
) -> Iterator[Check]:
    if gate.slices and champion is not None:
        yield from slices(gate, table, truth, champion, challenger)
    if gate.class_floor is not None:
        yield from class_floors(gate, truth, challenger)
    if gate.max_calibration_error is not None:
        yield _calibrated(gate, gate.max_calibration_error, truth, challenger)
    if gate.max_gap is not None:
        yield fairness(gate, table, truth, challenger)


def _compared(gate: Gate, found: Pair, rows: int) -> Check:
    better, confidence = found.improvement, gate.confidence
    lower, upper = better.lower(confidence), better.upper(confidence)
    least = 0.0 if gate.superior else -gate.margin
    went = f"{gate.metric} went from {shown(found.champion)} to {shown(found.challenger)} on {rows} rows"
    sure = f"{100 * confidence:g} % confidence"
    if upper < 0:
        reason, why = "Worse", f"the challenger is worse by at least {shown(-upper)} with {sure}"
    elif gate.superior:
        reason, why = "NotSuperior", f"with {sure} it is better by {shown(lower)} or more, which is not above 0"
    else:
        reason = "Inconclusive"
        why = f"with {sure} it may be worse by {shown(-lower)}, and {shown(gate.margin)} is allowed"
    if reason != "Worse":
        why += _advice(gate, better, rows)
    name = "superior" if gate.superior else "nonInferior"
    return Check(name, lower > least, shown(lower), shown(least), reason, f"{went}: {why}")


def _advice(gate: Gate, better: Estimate, rows: int) -> str:
    needed = needed_rows(gate, better, rows)
    if not needed or needed <= rows:
        return ""
    what = "one that is better by the margin" if gate.superior else "an equal model"
    return f"; {what} passes {100 * POWER:g} % of the time on about {needed} rows like these"


def _numbers(gate: Gate, found: Pair, rows: int) -> dict[str, Any]:
    better, confidence = found.improvement, gate.confidence
    needed = needed_rows(gate, better, rows)
    return {
        "champion": shown(found.champion),
        "difference": shown(better.point),
        "lower": shown(better.lower(confidence)),
        "upper": shown(better.upper(confidence)),
        "chanceIfWorse": shown(chance_if_worse(gate, better)),
        **({"neededRows": needed} if needed else {}),
    }


def error_of(better: Estimate, confidence: float) -> float:
    """The standard error that the bounds of an estimate stand for."""
    return (better.upper(confidence) - better.lower(confidence)) / (2 * float(ndtri(confidence)))


def chance_if_worse(gate: Gate, better: Estimate) -> float:
    """The chance that this gate passes a model that is truly worse by the margin, on as many rows.

    Non-inferiority fixes it: 1 - confidence. Superiority leaves it to the rows: they have to show an advantage where
    there is a disadvantage of the margin.
    """
    if not gate.superior:
        return 1 - gate.confidence
    error = error_of(better, gate.confidence)
    reach = float(ndtri(gate.confidence))
    return max(float(ndtr(-reach - gate.margin / error)) if error > 0 else 0.0, LEAST_CHANCE)


def needed_rows(gate: Gate, better: Estimate, rows: int) -> int:
    """The rows with which an equal model (Superior: one better by the margin) passes with the chance POWER; 0: none."""
    error = error_of(better, gate.confidence)
    if not (gate.margin > 0 and math.isfinite(error)):
        return 0
    return math.ceil(rows * ((float(ndtri(gate.confidence)) + float(ndtri(POWER))) * error / gate.margin) ** 2)


def _floor(gate: Gate, floor: float, alone: Estimate) -> Check:
    bound = worst(gate.metric, alone, gate.confidence)
    message = (
        f"{gate.metric} of the challenger is {shown(alone.point)}, and with {100 * gate.confidence:g} % confidence "
        f"only {shown(bound)} or better is shown; the floor is {shown(floor)}"
    )
    return Check("floor", passes(gate.metric, bound, floor), shown(bound), shown(floor), "BelowFloor", message)


def _calibrated(gate: Gate, limit: float, truth: Truth, challenger: Answers) -> Check:
    if not len(challenger.scores):
        return Check("calibration", None, "no probabilities", shown(limit))
    found = calibration(truth, challenger)
    passed = decided(found.upper(gate.confidence) <= limit, found.point > limit)
    message = (
        f"the challenger's probabilities are off by {shown(found.point)} on average, and maxCalibrationError is "
        f"{shown(limit)}; calibrate it, for instance with CalibratedClassifierCV"
    )
    return Check("calibration", passed, shown(found.point), shown(limit), "Uncalibrated", message)
