"""The status, as far as it tells people how the experiment stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from trimtab.core.conditions import parse_time, timestamp
from trimtab.core.objects import Object, condition
from trimtab.evidence.tally import Tally, totals
from trimtab.kinds.abtest import counts
from trimtab.kinds.abtest.api import ABTest, Arm
from trimtab.kinds.abtest.arms import Resolved
from trimtab.kinds.abtest.book import Book
from trimtab.kinds.abtest.design import slow_seconds
from trimtab.kinds.abtest.findings import Findings, evidence, mean, needed_before, power_of
from trimtab.kinds.abtest.layout import percents
from trimtab.kinds.abtest.observe import Observed
from trimtab.kinds.abtest.status import (
    ArmStatus,
    EvidenceStatus,
    PowerStatus,
    RunRow,
    RunStatus,
    SegmentStatus,
    Share,
    Status,
    VerdictStatus,
)
from trimtab.traffic.change import Change

ENOUGH_SECONDS = 300
"""How long users must have been counted before anybody is told how long the experiment takes."""


@dataclass(frozen=True)
class Pass:
    """What one pass has come to."""

    test: ABTest
    seen: Observed
    arms: Sequence[Resolved]
    book: Book
    change: Change
    verdict: VerdictStatus
    history: list[RunRow]
    users: Mapping[str, int]
    found: Findings | None
    now: datetime


def report(done: Pass) -> Status:
    """The status after this pass, but for its conditions."""
    test, run = done.test, done.book.run
    meta, before = test.metadata, test.status
    shares = percents(done.change.status)
    same = before.run is not None and before.run.id == run.id
    return Status(
        observed_generation=meta["generation"],
        url=f"http://{meta['name']}.{meta['namespace']}.svc",
        weights="/".join(str(shares.get(arm.name, 0)) for arm in test.spec.arms),
        users=sum(done.users.values()),
        run=run,
        arms=_arms(done, shares),
        verdict=done.verdict,
        evidence=_evidence(done),
        power=_power(done) or (before.power if same else None),
        segments=_segments(done),
        router=done.change.status,
        ledger=done.book.ledger.status(),
        history=done.history,
    )


def users(test: ABTest, seen: Observed, run: RunStatus) -> dict[str, int]:
    """The users of each arm. A pod that goes takes its sketch with it, and what was told before stays told."""
    before = {}
    if test.status.run is not None and test.status.run.id == run.id:
        before = {arm.name: arm.users for arm in test.status.arms}
    return {arm.name: max(counts.users(seen, arm.name), before.get(arm.name, 0)) for arm in test.spec.arms}


def _arms(done: Pass, shares: Mapping[str, int]) -> list[ArmStatus]:
    found = {arm.name: arm for arm in done.arms}
    whole = totals(done.book.ledger.segments)
    rows = (_arm(done, arm, found[arm.name], whole.get(arm.name, Tally())) for arm in done.test.spec.arms)
    applied = shares if done.change.settled else {}
    return [
        row.model_copy(update={"weight": shares.get(row.name, 0), "applied": applied.get(row.name)}) for row in rows
    ]


def _arm(done: Pass, arm: Arm, found: Resolved, tally: Tally) -> ArmStatus:
    return ArmStatus(
        name=arm.name,
        deployment=arm.deployment,
        revision=found.revision,
        available=found.available,
        users=done.users[arm.name],
        requests=round(tally.requests),
        errors=round(tally.errors),
        outcomes=round(tally.reported),
        mean=mean(done.test.spec, tally),
    )


def _evidence(done: Pass) -> EvidenceStatus:
    """What the counts say; where nothing more is counted, what they said last."""
    if done.found is None:
        before = done.test.status.evidence if done.verdict.final else None
        return (before or EvidenceStatus(measured_at="")).model_copy(update={"measured_at": timestamp(done.now)})
    return evidence(done.test.spec, done.found, done.now)


def _segments(done: Pass) -> list[SegmentStatus]:
    return [
        SegmentStatus(
            number=number,
            weights=[Share(name=name, percent=round(weight)) for name, weight in sorted(segment.weights.items())],
            seconds=round(segment.seconds),
        )
        for number, segment in enumerate(done.book.ledger.segments)
    ]


def _power(done: Pass) -> PowerStatus | None:
    """By the experiment's own traffic once there is enough of it, before that by what its arms have seen until now."""
    counted = sum(segment.seconds for segment in done.book.ledger.segments)
    needed = done.found.overall.needed_users if done.found is not None else None
    whole = totals(done.book.ledger.segments)
    if counted >= ENOUGH_SECONDS and needed is not None:
        requests = sum(tally.requests for tally in whole.values())
        return power_of(needed, sum(done.users.values()) or requests, counted)
    return _admission(done) if done.test.status.power is None else None


def _admission(done: Pass) -> PowerStatus | None:
    """What the arms' own pods have counted since they are ready tells what the experiment will see."""
    spec, seen = done.test.spec, done.seen
    if spec.objective.query is not None:
        return None
    pods = [pod for own in seen.pods.values() for pod in own]
    control = counts.before(seen, spec.control, slow_seconds(spec))
    ages = [_age(pod, done.now) for pod in pods]
    everybody = sum(counts.users(seen, arm.name) for arm in spec.arms)
    requests = sum(report.requests for report in seen.model_reports.values())
    return power_of(needed_before(spec, control), everybody or requests, max(ages, default=0.0))


def _age(pod: Object, now: datetime) -> float:
    """How long a pod has been ready, in seconds."""
    ready = condition(pod, "Ready")
    since = ready.get("lastTransitionTime") if ready.get("status") == "True" else None
    return (now - parse_time(since)).total_seconds() if since else 0.0
