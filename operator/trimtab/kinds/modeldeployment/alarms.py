"""The conditions about traffic and answers: what, how much, since when, and what to do. They never touch Ready."""

from __future__ import annotations

from collections.abc import Iterator

from trimtab.core.conditions import Condition
from trimtab.evidence.drift.quality import BROKEN
from trimtab.kinds.modeldeployment.vitals import DriftStatus, QualityStatus, Vitals

MOST_TOLD = 3


def alarms(name: str, vitals: Vitals, *, held_to: bool) -> Iterator[Condition]:
    """DriftDetected and DataQuality where traffic is watched; QualityDegraded where a limit is set (`held_to`)."""
    drift, quality = vitals
    if drift is not None:
        yield _drift(name, drift)
        yield _data(drift)
    if quality is not None and held_to:
        yield _quality(quality)


def _drift(name: str, drift: DriftStatus) -> Condition:
    if drift.level != "OK":
        begun = drift.episode.begun_at
        todo = f"see kubectl trimtab drift mdep/{name}; retrain, or go back to an older revision"
        message = f"since {begun}: {drift.message}; {todo}"
        if drift.state == "OK":
            message = f"since {begun}; the last look found none, and after three such it is over: {drift.message}"
        reason = "Critical" if drift.level == "Critical" else "Warning"
        return Condition("DriftDetected", "True", reason, message)
    if drift.state in ("ReferenceMissing", "InsufficientData"):
        return Condition("DriftDetected", "Unknown", _reason(drift), drift.message)
    if drift.state != "OK":
        message = (
            f"drift was seen in {drift.episode.warned} of the three looks in a row that make it one: {drift.message}"
        )
        return Condition("DriftDetected", "False", "NotConfirmed", message)
    pair = drift.pair
    if pair is not None:
        changed = f"{' and '.join(pair.features)} correlate by {pair.after} and did by {pair.before}"
        return Condition("DriftDetected", "False", "CorrelationChanged", f"{drift.message}, but {changed}")
    return Condition("DriftDetected", "False", "NoDrift", drift.message)


def _reason(drift: DriftStatus) -> str:
    return "ReferenceMissing" if drift.state == "ReferenceMissing" else "InsufficientData"


def _data(drift: DriftStatus) -> Condition:
    found = drift.problems
    if found:
        told = "; ".join(problem.message for problem in found[:MOST_TOLD])
        more = f"; and {len(found) - MOST_TOLD} more" if len(found) > MOST_TOLD else ""
        if not any(problem.problem in BROKEN for problem in found):
            todo = "If the source is right, the world has changed, and the model does not know it: retrain"
            return Condition("DataQuality", "False", "NewValues", f"{told}{more}. {todo}")
        return Condition(
            "DataQuality", "False", "ProblemsFound", f"{told}{more}. Mend the source; do not retrain on it"
        )
    if drift.state in ("ReferenceMissing", "InsufficientData"):
        return Condition("DataQuality", "Unknown", _reason(drift), drift.message)
    return Condition("DataQuality", "True", "Sound", f"nothing is wrong with {drift.rows} rows")


def _quality(quality: QualityStatus) -> Condition:
    if quality.state == "Degraded":
        message = f"{quality.message}; retrain, or go back to an older revision"
        return Condition("QualityDegraded", "True", "LimitBroken", message)
    if quality.state == "InsufficientData":
        return Condition("QualityDegraded", "Unknown", "InsufficientData", quality.message)
    return Condition("QualityDegraded", "False", "LimitKept", quality.message)
