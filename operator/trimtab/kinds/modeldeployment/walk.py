"""Lead a candidate along its course: wait, go on, or send it back. Pure, and the same for every strategy.

Nothing here is decided by an event. Each pass starts at the record that was written last, looks at the facts, and goes
as far as they allow; so a pass that was cut short is simply made again. Going back comes before going on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from trimtab.core.conditions import parse_time, timestamp
from trimtab.core.pods import Trouble
from trimtab.evidence.canary import CanaryVerdict
from trimtab.kinds.modeldeployment.course import Course
from trimtab.kinds.modeldeployment.progress import Outcome, RolloutStatus, Stage

PATIENCE = timedelta(seconds=60)
"""How long pods may fail to start, or an example may fail, before a candidate without traffic is given up."""


class Cause(NamedTuple):
    """Why a candidate goes back."""

    reason: str
    message: str


@dataclass(frozen=True)
class Orders:
    """What people, and experiments, ask of this candidate."""

    abort: bool = False
    promote: bool = False
    paused: bool = False
    """Going back is still allowed, going on is not."""


@dataclass(frozen=True)
class Facts:
    """What was observed of the candidate and its surroundings."""

    present: bool
    """Its Deployment exists."""
    ready: int
    """Its pods that are ready for traffic."""
    previous_ready: int
    """The ready pods of the revision it is to replace."""
    pods_for: Callable[[int], int]
    """The pods it needs to carry so many percent."""
    settled: Callable[[RolloutStatus], bool]
    """Whether all traffic goes as this record says."""
    asked: Callable[[RolloutStatus], float]
    """Requests it has answered at the share of this record."""
    in_place: bool = True
    """What splits the traffic works and is in its way."""
    trouble: Trouble | None = None
    """What keeps its pods from running."""
    late: bool = False
    """Its Deployment gave up waiting for them."""
    smoke: str | None = ""
    """What is wrong with its answer to its own example; None when it was not asked."""
    evidence: CanaryVerdict | None = None
    """What the counts prove."""

    @property
    def lost(self) -> bool:
        """No pod is left, though some should be."""
        return self.ready == 0 and self.pods_for(100) > 0


def walk(course: Course, begun: RolloutStatus, facts: Facts, orders: Orders, now: datetime) -> RolloutStatus:
    """The record after this pass: as far along the course as the facts allow."""
    record = _troubled(_paused(begun, orders, now), facts, now)
    record = record.model_copy(update={"steps": len(course.steps)})
    while record.under_way:
        following = _back(course, record, facts, orders, now) or NEXT[record.stage](course, record, facts, orders, now)
        if following == record:
            break
        record = following
    return record


def seconds_since(moment: str | None, now: datetime) -> float:
    """The age of a timestamp of the record; 0 where there is none."""
    return (now - parse_time(moment)).total_seconds() if moment else 0.0


def ended(record: RolloutStatus, outcome: Outcome, reason: str, message: str) -> RolloutStatus:
    """The record of a rollout that is over; with what was counted, but no longer where each source was read."""
    over = {"stage": "Ended", "outcome": outcome, "reason": reason, "message": message[:2_048], "evidence": None}
    rest = {"weight": 100 if outcome == "Promoted" else 0, "troubled_at": None, "paused_at": None}
    return record.model_copy(update={**over, **rest})


def _paused(record: RolloutStatus, orders: Orders, now: datetime) -> RolloutStatus:
    """Stop the clocks while the rollout is paused, and set them on by as much afterwards."""
    if orders.paused and record.paused_at is None:
        return record.model_copy(update={"paused_at": timestamp(now)})
    if orders.paused or record.paused_at is None:
        return record
    away = max(now - parse_time(record.paused_at), timedelta())
    clocks = {name: getattr(record, name) for name in ("clock_at", "troubled_at")}
    later = {name: timestamp(parse_time(at) + away) for name, at in clocks.items() if at}
    return record.model_copy(update={"paused_at": None, **later})


def _troubled(record: RolloutStatus, facts: Facts, now: datetime) -> RolloutStatus:
    """Note since when the candidate fails to start."""
    if record.stage == "Starting" and _unfit(facts):
        return record if record.troubled_at else record.model_copy(update={"troubled_at": timestamp(now)})
    return record.model_copy(update={"troubled_at": None})


def _unfit(facts: Facts) -> Cause | None:
    """What makes a candidate unfit for traffic: its pods end, or it fails its own example."""
    if facts.trouble and facts.trouble.crashed:
        return Cause(facts.trouble.reason, facts.trouble.message)
    if facts.smoke:
        return Cause("SmokeTestFailed", f"it does not answer its own example: {facts.smoke}")
    return None


def _back(course: Course, record: RolloutStatus, facts: Facts, orders: Orders, now: datetime) -> RolloutStatus | None:
    """The record of a rollback, if there is a reason for one and somewhere to go back to."""
    if record.stage == "Baking" and facts.previous_ready == 0:
        return None
    if orders.abort:
        return ended(record, "RolledBack", "Aborted", "the annotation trimtab.dev/abort names it")
    if orders.promote or not course.judged:
        return None
    cause = _hopeless(record, facts, now) if record.stage == "Starting" else _harm(course, record, facts, orders)
    return ended(record, "RolledBack", *cause) if cause else None


def _hopeless(record: RolloutStatus, facts: Facts, now: datetime) -> Cause | None:
    """Why a candidate without traffic is not worth waiting for."""
    unfit = _unfit(facts)
    if unfit and seconds_since(record.troubled_at, now) >= PATIENCE.total_seconds() and not record.paused_at:
        return unfit
    if facts.late and facts.trouble:
        return Cause(facts.trouble.reason, facts.trouble.message)
    return None


def _harm(course: Course, record: RolloutStatus, facts: Facts, orders: Orders) -> Cause | None:
    """Why a candidate with traffic, or with copies of it, must not go on."""
    if facts.trouble and facts.trouble.crashed:
        return Cause(facts.trouble.reason, facts.trouble.message)
    if facts.evidence and facts.evidence.decision == "StopHarm":
        return Cause("HarmProven", facts.evidence.reason)
    if record.stage == "Baking":
        return Cause("NoReplicasAvailable", "none of its pods answers any more") if facts.lost else None
    overdue = course.max_seconds is not None and record.active_seconds >= course.max_seconds
    if overdue and not orders.paused and record.stage != "Promoting":
        text = (
            f"no verdict after {record.active_seconds} s with traffic, of which maxSeconds allows {course.max_seconds}"
        )
        return Cause("Inconclusive", text)
    return None


def _start(course: Course, record: RolloutStatus, facts: Facts, orders: Orders, now: datetime) -> RolloutStatus:
    full = facts.pods_for(100)
    if orders.paused or not facts.present or facts.ready < min(1, full):
        return record
    # Any pod is better than none, and a deployment of no pods has nobody to harm.
    if full == 0 or facts.previous_ready == 0:
        return _at(record, "Promoting", weight=100)
    if orders.promote:
        return _at(record, "Promoting", weight=100) if facts.ready >= full else record
    first = course.steps[0].weight if course.steps else 100
    fit = not course.smoke or facts.smoke == ""
    if facts.ready < facts.pods_for(first) or not fit or not facts.in_place:
        return record
    return _at(record, "Shadowing") if course.shadow_percent else _raised(course, record)


def _expose(course: Course, record: RolloutStatus, facts: Facts, orders: Orders, now: datetime) -> RolloutStatus:
    if facts.lost:
        return _at(record, "Starting")
    if record.clock_at is None:
        return record.model_copy(update={"clock_at": timestamp(now)}) if facts.settled(record) else record
    if orders.paused:
        return record
    if orders.promote:
        return _at(record, "Promoting", weight=100) if facts.ready >= facts.pods_for(100) else record
    if not passed(course, record, facts, now) or facts.ready < facts.pods_for(next_weight(course, record)):
        return record
    return _raised(course, record)


def passed(course: Course, record: RolloutStatus, facts: Facts, now: datetime) -> bool:
    """Whether time and requests at the present share are enough to go on."""
    needed, seconds = demands(course, record)
    return seconds_since(record.clock_at, now) >= seconds and facts.asked(record) >= needed


def demands(course: Course, record: RolloutStatus) -> tuple[int, int]:
    """The requests and the seconds that the present share asks for. A shadow needs proof of life only."""
    requests = course.gates.min_requests if course.gates else 0
    if record.stage == "Shadowing":
        return min(1, requests), course.shadow_seconds
    return requests, course.steps[min(record.step, len(course.steps)) - 1].seconds if course.steps else 0


def next_weight(course: Course, record: RolloutStatus) -> int:
    """The share that comes after the present one, in percent; what the candidate's pods are made ready for."""
    if record.stage in ("Starting", "Shadowing", "Stepping") and record.step < len(course.steps):
        return course.steps[record.step].weight
    return 100


def _raised(course: Course, record: RolloutStatus) -> RolloutStatus:
    if record.step < len(course.steps):
        return _at(record, "Stepping", step=record.step + 1, weight=course.steps[record.step].weight)
    return _at(record, "Promoting", step=record.step, weight=100)


def _promote(course: Course, record: RolloutStatus, facts: Facts, orders: Orders, now: datetime) -> RolloutStatus:
    if facts.lost:
        return _at(record, "Starting")
    if not facts.settled(record):
        return record
    return record.model_copy(update={"stage": "Baking", "clock_at": timestamp(now)})


def _bake(course: Course, record: RolloutStatus, facts: Facts, orders: Orders, now: datetime) -> RolloutStatus:
    if orders.paused or seconds_since(record.clock_at, now) < course.bake.total_seconds():
        return record
    why = "the annotation trimtab.dev/promote names it" if orders.promote else "all traffic goes to it, without harm"
    return ended(record, "Promoted", "Promoted", why)


def _at(record: RolloutStatus, stage: Stage, step: int = 0, weight: int = 0) -> RolloutStatus:
    return record.model_copy(update={"stage": stage, "step": step, "weight": weight, "clock_at": None})


NEXT: dict[Stage, Callable[[Course, RolloutStatus, Facts, Orders, datetime], RolloutStatus]] = {
    "Starting": _start,
    "Shadowing": _expose,
    "Stepping": _expose,
    "Promoting": _promote,
    "Baking": _bake,
}
