"""What the counts of routers and pods prove about a candidate. Pure: from reports to a verdict, through the ledger.

A segment of the ledger is a share that all routers have confirmed. What is counted while a change is on its way to them
belongs to no share: it goes to a segment without weights, which is never judged.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from trimtab.core.conditions import parse_time, timestamp
from trimtab.core.metadata import REVISION
from trimtab.evidence.canary import CanaryVerdict, Compared, Gates, judge_canary
from trimtab.evidence.ledger import Ledger, Reading, restore
from trimtab.evidence.sources import ArmCounts, Cells, ModelReport
from trimtab.evidence.tally import Segment, Tally
from trimtab.kinds.modeldeployment.course import Course
from trimtab.kinds.modeldeployment.observe import Observed
from trimtab.kinds.modeldeployment.progress import Comparison, RolloutStatus
from trimtab.kinds.modeldeployment.routing import arm_name
from trimtab.kinds.modeldeployment.walk import seconds_since

GAP_SECONDS = 60.0
"""A longer pause between requests is time without traffic."""
SHADOW = "-shadow"
"""What the ledger calls the copies that an arm got: they are counted apart from its requests."""


@dataclass(frozen=True)
class Measured:
    """A record with all that was counted until now, and what that proves."""

    record: RolloutStatus
    ledger: Ledger
    readings: tuple[Reading, ...]
    verdict: CanaryVerdict | None

    def asked(self, record: RolloutStatus) -> float:
        """The requests that the candidate answered at the share of a record; none at a share that is not yet theirs."""
        if share(record) != share(self.record) or not self.ledger.segments:
            return 0.0
        return _of(self.ledger.segments[-1], arm_name(record.revision)).requests


def measure(course: Course, record: RolloutStatus, seen: Observed, now: datetime) -> Measured:
    """Take in what was reported since the last pass, and judge."""
    before = restore(record.evidence)
    if course.gates is None or not _counted(record):
        return Measured(record, before, (), None)
    readings = tuple(_readings(course, record, seen))
    ledger = _read(before, readings, record, now)
    verdict = judge(course.gates, record, ledger)
    return Measured(_noted(record, before, ledger, verdict, now), ledger, readings, verdict)


def judge(gates: Gates, record: RolloutStatus, ledger: Ledger) -> CanaryVerdict:
    """The verdict on every share so far that was confirmed."""
    candidate, current = arm_name(record.revision), arm_name(record.previous)
    confirmed = [_plain(segment, candidate) for segment in ledger.segments if segment.weights]
    return judge_canary(gates, confirmed, candidate=candidate, current=current)


def kept(course: Course, measured: Measured, after: RolloutStatus) -> RolloutStatus:
    """The record after a pass, with the ledger it goes on with: another share is another segment."""
    if not after.under_way or course.gates is None:
        return after
    ledger = measured.ledger
    if share(after) != share(measured.record) and (_counted(after) or ledger.segments):
        ledger = ledger.begin(_weights(course, after), measured.readings)
    return after.model_copy(update={"evidence": ledger.status() if ledger.segments else None})


def answered(ledger: Ledger, record: RolloutStatus, revision: str) -> Tally:
    """All that a revision of this rollout has answered at confirmed shares, copies included."""
    candidate, total = arm_name(record.revision), Tally()
    for segment in (_plain(s, candidate) for s in ledger.segments if s.weights):
        total += segment.tally(arm_name(revision))
    return total


def share(record: RolloutStatus) -> tuple[str, int, bool]:
    """What tells one share from the next: where the record is, and whether all routers know."""
    return record.stage, record.step, record.clock_at is not None


def _counted(record: RolloutStatus) -> bool:
    return record.stage in ("Shadowing", "Stepping", "Promoting", "Baking")


def _weights(course: Course, record: RolloutStatus) -> dict[str, float]:
    """The shares of both arms, in percent; empty while no share holds everywhere."""
    candidate, current = arm_name(record.revision), arm_name(record.previous)
    if record.clock_at is None:
        return {}
    if record.stage == "Shadowing":
        return {current: 100.0, candidate + SHADOW: float(course.shadow_percent)}
    own = 100.0 if record.stage == "Baking" else float(record.weight)
    return {current: 100.0 - own, candidate: own} if own < 100.0 else {candidate: own}


def _plain(segment: Segment, candidate: str) -> Segment:
    """A segment in which copies count for the candidate: both revisions then answered the same requests."""
    if candidate + SHADOW not in segment.weights:
        return segment
    weights = {_own(arm): weight for arm, weight in segment.weights.items()}
    tallies = {arm: tally for arm, tally in segment.tallies.items() if arm != candidate}
    return Segment(segment.seconds, weights, {_own(arm): tally for arm, tally in tallies.items()})


def _own(arm: str) -> str:
    return arm.removesuffix(SHADOW)


def _of(segment: Segment, candidate: str) -> Tally:
    return _plain(segment, candidate).tally(candidate)


def _read(ledger: Ledger, readings: Iterable[Reading], record: RolloutStatus, now: datetime) -> Ledger:
    """The ledger with what has grown; the same one when nothing has, so that an idle rollout writes nothing."""
    if not ledger.segments:
        return ledger
    found = list(readings)
    if ledger.read(found, 0.0) == ledger:
        return ledger
    return ledger.read(found, max(seconds_since(record.clock_at, now) - ledger.segments[-1].seconds, 0.0))


def _noted(
    record: RolloutStatus, before: Ledger, after: Ledger, verdict: CanaryVerdict, now: datetime
) -> RolloutStatus:
    """The record with the numbers for people, and with the time that had traffic."""
    measures = [_comparison("Errors", verdict.errors)]
    if verdict.latency is not None:
        measures.append(_comparison("Latency", verdict.latency))
    noted = {"compared": measures}
    arm = arm_name(record.revision)
    if sum(_of(s, arm).requests for s in after.segments) <= sum(_of(s, arm).requests for s in before.segments):
        return record.model_copy(update=noted)
    # What was asked before the last whole second was noted, and is not counted twice.
    passed = min((now - parse_time(record.asked_at)).total_seconds(), GAP_SECONDS) if record.asked_at else 0.0
    active = record.active_seconds + int(max(passed, 0.0))
    return record.model_copy(update={**noted, "asked_at": timestamp(now), "active_seconds": active})


def _comparison(metric: Literal["Errors", "Latency"], found: Compared) -> Comparison:
    return Comparison(
        metric=metric,
        candidate=int(found.candidate),
        candidate_requests=int(found.candidate_requests),
        current=int(found.current),
        current_requests=int(found.current_requests),
        e_value=f"{found.e_value:.4g}",
        limit_e_value=f"{found.limit_e_value:.4g}",
    )


def _readings(course: Course, record: RolloutStatus, seen: Observed) -> Iterable[Reading]:
    limit = course.gates.max_latency_milliseconds if course.gates else None
    if not course.routed or course.gateway:
        yield from _of_pods(record, seen, limit)
        return
    candidate = arm_name(record.revision)
    wanted = (arm_name(record.previous), candidate)
    for report in seen.router_reports.values():
        arms = {arm: _tally(counts, limit) for arm, counts in report.arms.items() if arm in wanted}
        if candidate in report.shadows:
            arms[candidate + SHADOW] = _tally(report.shadows[candidate], limit)
        yield Reading(f"router/{report.pod}", report.epoch, arms, baseline=True)


def _of_pods(record: RolloutStatus, seen: Observed, limit: float | None) -> Iterable[Reading]:
    """Where no routers of ours count, what the pods of both revisions did."""
    for pod in seen.pods:
        found, revision = seen.model_reports.get(pod["metadata"]["uid"]), pod["metadata"]["labels"].get(REVISION, "")
        if found is not None and revision in (record.revision, record.previous):
            yield _of_pod(found, arm_name(revision), limit)


def _of_pod(report: ModelReport, arm: str, limit: float | None) -> Reading:
    tally = Tally(requests=report.requests, errors=report.errors, latency_above=_above(report.latency, limit))
    return Reading(f"pod/{report.pod}", report.epoch, {arm: tally}, baseline=True)


def _tally(counts: ArmCounts, limit: float | None) -> Tally:
    return Tally(requests=counts.requests, errors=counts.errors, latency_above=_above(counts.latency, limit))


def _above(cells: Cells, limit_milliseconds: float | None) -> float:
    return float(cells.above(limit_milliseconds / 1_000)) if limit_milliseconds is not None else 0.0
