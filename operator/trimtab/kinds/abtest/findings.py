"""What the counts say, and how that is told.

The experiment as a whole is judged. If anything harms, each arm is judged against the control alone, at its part of
the significance: one that harms is stopped by itself, and the others are judged again without it, each at the part it
had before. So one look finds all that its counts tell, and another look at the same counts finds nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from trimtab.core.conditions import timestamp
from trimtab.evidence.arrivals import in_users
from trimtab.evidence.design import ArmEvidence, Design, Verdict
from trimtab.evidence.experiment import judge
from trimtab.evidence.power import days
from trimtab.evidence.tally import Segment, Tally
from trimtab.kinds.abtest.api import Spec
from trimtab.kinds.abtest.design import design, direction
from trimtab.kinds.abtest.status import (
    ArmEvidenceStatus,
    EvidenceStatus,
    PowerStatus,
    RunStatus,
    SampleRatioStatus,
)


@dataclass(frozen=True)
class Findings:
    """What the counts say of this run."""

    overall: Verdict
    """Of the arms that go on, if any does."""
    harmed: Mapping[str, str]
    """The arms that this look stops, with the reason."""
    ended: bool = False
    """No arm goes on."""
    held: str = ""
    """Why nobody wins or loses now, whatever the counts say."""


def findings(spec: Spec, run: RunStatus, segments: Sequence[Segment]) -> Findings | None:
    """The judgement of all segments; None before there is one, or when every candidate has been stopped."""
    going = [arm.name for arm in spec.arms if arm.name != spec.control and arm.name not in run.stopped]
    if not segments or not going:
        return None
    judged, error = in_users(segments)
    harmed: dict[str, str] = {}
    while True:
        overall = judge(design(spec, [*run.stopped, *harmed], error), judged)
        more = _harmful(spec, going, overall, judged, error) if overall.decision == "StopHarm" else {}
        harmed, going = harmed | more, [arm for arm in going if arm not in more]
        if not more or not going:
            return Findings(overall, harmed, ended=not going)


def _harmful(
    spec: Spec, going: Sequence[str], overall: Verdict, judged: Sequence[Segment], users_error: float
) -> dict[str, str]:
    """The arms that harm by themselves, with the reason."""
    alone = {arm: judge(_pair(spec, arm, users_error), judged) for arm in going} if len(going) > 1 else {}
    return {arm: v.reason for arm, v in (alone or {going[0]: overall}).items() if v.decision == "StopHarm"}


def evidence(spec: Spec, found: Findings, measured_at: datetime) -> EvidenceStatus:
    """What is told of the findings."""
    overall, srm = found.overall, found.overall.srm
    rows = {name: row for name, row in overall.arms.items() if name != spec.control}
    return EvidenceStatus(
        measured_at=timestamp(measured_at),
        summary=_summary(spec, rows),
        rule=overall.rule,
        reason=overall.reason[:2048],
        arms=[_row(name, row) for name, row in rows.items()],
        srm=SampleRatioStatus(
            e_value=_number(srm.e_value), mismatch=srm.mismatch, segment=srm.segment, arm=srm.arm[:32]
        ),
    )


def power_of(needed: int | None, units: float, seconds: float) -> PowerStatus | None:
    """Whether it can be found, by the users (or requests, where users are not counted) of so many seconds."""
    if needed is None:
        return None
    took = days(needed, units / seconds) if seconds > 0 else None
    return PowerStatus(needed_users=needed, days=_number(took) if took is not None else None)


def needed_before(spec: Spec, control: Tally) -> int | None:
    """The users a test needs, by what the control's pods have counted before it."""
    weights = {arm.name: float(arm.weight) for arm in spec.arms}
    return judge(design(spec), [Segment(0.0, weights, {spec.control: control})]).needed_users


def mean(spec: Spec, tally: Tally) -> str | None:
    """The objective's mean of one arm."""
    metric = spec.objective.metric
    rows = sum(bucket.rows for bucket in tally.buckets)
    events, units = {
        "Errors": (tally.errors, tally.requests),
        "Latency": (tally.latency_above, tally.requests),
        "Prometheus": (tally.outcomes, tally.requests),
    }.get(metric, (tally.outcome_sum, rows))
    return _number(events / units) if units else None


def _pair(spec: Spec, arm: str, users_error: float) -> Design:
    others = [other.name for other in spec.arms if other.name not in (arm, spec.control)]
    return design(spec, others, users_error)


def _summary(spec: Spec, rows: Mapping[str, ArmEvidence]) -> str:
    """The arm that looks best."""
    sign = 1 if direction(spec) == "Increase" else -1
    known = [(name, row) for name, row in rows.items() if row.lift is not None]
    if not known:
        return ""
    name, row = max(known, key=lambda item: sign * (item[1].lift or 0.0))
    low, high = ("unbounded" if bound is None else f"{100 * bound:+.3g}" for bound in (row.lower, row.upper))
    return f"{name} {100 * (row.lift or 0.0):+.3g} % ({low} to {high})"


def _row(name: str, row: ArmEvidence) -> ArmEvidenceStatus:
    lift, lower, upper = (_percent(value) for value in (row.lift, row.lower, row.upper))
    return ArmEvidenceStatus(name=name, lift=lift, lower=lower, upper=upper, e_value=_number(row.e_value))


def _percent(value: float | None) -> str | None:
    return None if value is None else _number(100 * value)


def _number(value: float) -> str:
    """Four digits: more of them would only make every pass look like news."""
    return f"{value:.4g}" if math.isfinite(value) else ("inf" if value > 0 else "-inf")
