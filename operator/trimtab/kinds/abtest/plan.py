"""The decision about an ABTest.

    arms ──► run ──► counts ──► verdict ──► shares ──► routers ──► what is counted next

Each pass does all of it, from what the status remembers and what was observed. An arm that harms has lost its users in
the very pass that finds it out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from trimtab.core import conditions
from trimtab.core.plan import Plan
from trimtab.evidence.ledger import Ledger
from trimtab.evidence.tally import Segment, totals
from trimtab.kinds.abtest import counts
from trimtab.kinds.abtest.api import ABTest
from trimtab.kinds.abtest.arms import Resolved, resolve
from trimtab.kinds.abtest.book import Book, taken, trusted, turned
from trimtab.kinds.abtest.children import children
from trimtab.kinds.abtest.findings import Findings, findings
from trimtab.kinds.abtest.judge import Standing, judge
from trimtab.kinds.abtest.observe import Observed
from trimtab.kinds.abtest.quiet import quiet
from trimtab.kinds.abtest.report import Pass, report, users
from trimtab.kinds.abtest.routing import drawn, wanted
from trimtab.kinds.abtest.run import archived, begun, followed, over
from trimtab.kinds.abtest.status import RunRow, RunStatus, Status, VerdictStatus
from trimtab.kinds.abtest.verdict import Wish, answered, next_verdict, wish
from trimtab.traffic.change import acks, advance

LOOK_AGAIN = timedelta(seconds=15)
WHILE_MOVING = timedelta(seconds=1)


@dataclass(frozen=True)
class Course:
    """The run that this pass goes on with, and what is known of it."""

    run: RunStatus
    verdict: VerdictStatus | None
    history: list[RunRow]
    ledger: Ledger
    """What was counted up to the last write; the ledger of another run is none."""


def plan(test: ABTest, seen: Observed, now: datetime) -> Plan:
    """Judge one ABTest; the same input gives the same plan."""
    status, written = trusted(test.status)
    test = test.model_copy(update={"status": status})
    arms = resolve(test, seen)
    why = over(test, arms)
    if why and any(arm.reason for arm in arms):
        return _waiting(test, seen, arms, why if test.status.run else "", now)
    course = _begun(test, arms, why, now) if why else _continued(test, arms, written)
    return _step(test, seen, arms, course, now)


def _waiting(test: ABTest, seen: Observed, arms: Sequence[Resolved], why: str, now: datetime) -> Plan:
    """No run can begin yet. Whatever runs goes on as it was told last, and nothing is counted or decided."""
    told = test.status.router
    live = acks(seen.routers, seen.router_reports)
    confirmed = told is not None and advance(told, told, live).settled
    at = Standing(arms, test.status.run, test.status.verdict, routers=len(live), confirmed=confirmed, waiting=why)
    run = test.status.run
    stopped = run.model_copy(update={"counted": []}) if run else None
    status = test.status.model_copy(update={"run": stopped, "observed_generation": test.metadata["generation"]})
    return Plan(
        apply=children(test, seen.platform, told) if told else (),
        status=_with_conditions(test, status, at, now).dump(),
        requeue_after=LOOK_AGAIN,
    )


def _begun(test: ABTest, arms: Sequence[Resolved], why: str, now: datetime) -> Course:
    return Course(begun(test, arms, now), None, archived(test, now, why), Ledger())


def _continued(test: ABTest, arms: Sequence[Resolved], written: Ledger) -> Course:
    run, verdict = test.status.run, test.status.verdict
    if run is None:
        raise AssertionError("a run that is not over exists")
    run = run.model_copy(update={"answered": answered(test, run)})
    final = verdict is not None and verdict.final
    return Course(followed(run, arms) if final else run, verdict, test.status.history, written)


def _step(test: ABTest, seen: Observed, arms: Sequence[Resolved], course: Course, now: datetime) -> Plan:
    readings = counts.readings(test.spec, seen, arms, course.run.started_at, course.ledger)
    book = taken(course.ledger, test.status, course.run, readings, now)
    counted = users(test, seen, course.run)
    segments = book.ledger.segments
    found = findings(test.spec, course.run, segments)
    asked = wish(test, course.run, arms)
    decisive = _decisive(test, seen, arms, course, found)
    verdict = next_verdict(test, asked, decisive, course.verdict, now)
    run = _onward(test, course.run, verdict, decisive, segments, now)
    live = acks(seen.routers, seen.router_reports)
    change = advance(test.status.router, wanted(test, run, verdict, arms), live)
    book = turned(Book(book.ledger, run), change, readings, over=verdict.final)
    done = Pass(test, seen, arms, book, change, verdict, course.history, counted, found, now)
    return _planned(done, asked, len(live))


def _planned(done: Pass, asked: Wish, routers: int) -> Plan:
    """What follows from a pass: children, status, and when to look again."""
    status = report(done)
    at = Standing(
        arms=done.arms,
        run=done.book.run,
        verdict=done.verdict,
        wish=asked,
        routers=routers,
        confirmed=done.change.settled,
        totals=totals(done.book.ledger.segments),
        power=status.power,
        queries=_failed_queries(done.seen),
    )
    whole = _with_conditions(done.test, status, at, done.now)
    return Plan(
        apply=children(done.test, done.seen.platform, done.change.status),
        status=quiet(done.test.status, whole, done.now).dump(),
        requeue_after=_requeue(done.verdict, settled=done.change.settled),
    )


def _failed_queries(seen: Observed) -> str:
    whose = {"the objective's query": seen.events_error, "the guardrail's query": seen.guarded_error}
    return "; ".join(f"{name} gives nothing: {error}" for name, error in whose.items() if error)


def _decisive(
    test: ABTest, seen: Observed, arms: Sequence[Resolved], course: Course, found: Findings | None
) -> Findings | None:
    """The findings, as far as anything may be decided by them.

    Outcomes of an arm that is away cannot be told, so its counts are no comparison; and nobody wins unguarded.
    """
    if found is None or test.spec.suspend or (course.verdict is not None and course.verdict.final):
        return None
    away = [arm.name for arm in arms if arm.reason and arm.name not in (*course.run.stopped, *found.harmed)]
    if away:
        return replace(found, held=f"nobody wins or loses while arm {', '.join(away)} is away")
    if seen.guarded_error and found.overall.decision == "Win":
        return replace(found, held="nobody wins while the guardrail's query fails")
    return found


def _onward(
    test: ABTest,
    run: RunStatus,
    verdict: VerdictStatus,
    found: Findings | None,
    segments: Sequence[Segment],
    now: datetime,
) -> RunStatus:
    """The run without the arms that harm, and with the shares of the next batch."""
    if found is None or (verdict.final and verdict.decision != "Win"):
        return run
    harmed = [name for name in found.harmed if name not in run.stopped]
    run = run.model_copy(update={"stopped": [*run.stopped, *harmed]}) if harmed else run
    return run if verdict.final or verdict.decision == "Paused" else drawn(test, run, segments, now)


def _with_conditions(test: ABTest, status: Status, at: Standing, now: datetime) -> Status:
    before = [c.dump() for c in test.status.conditions]
    merged = conditions.merge(before, judge(test, at), test.metadata["generation"], now)
    return Status.model_validate({**dict(status), "conditions": merged})


def _requeue(verdict: VerdictStatus, *, settled: bool) -> timedelta | None:
    """Routers are asked often while they change; what is decided and in effect needs no further look."""
    if not settled:
        return WHILE_MOVING
    return None if verdict.final else LOOK_AGAIN
