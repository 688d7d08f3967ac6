"""Which revision has traffic, which one is on its way, which ones may go. The heart of a safe switch.

    target starts beside ──ready──► its course (`course`, `walk`) ──all traffic──► bakes ──► the old one goes
           │ never gets ready, or does harm
           ▼
    what serves keeps serving

The memory of the decision is `status.serving` and `status.rollout`; front Service and routers only follow. Pods that
may still be asked are deleted no sooner than RETIRE_AFTER after the front moved, when every node has learned of it, and
not before routers have forgotten them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from trimtab.core.conditions import parse_time
from trimtab.kinds.modeldeployment import children
from trimtab.kinds.modeldeployment.api import ModelDeployment
from trimtab.kinds.modeldeployment.course import RETIRE_AFTER, Course, course
from trimtab.kinds.modeldeployment.measure import Measured, kept, measure
from trimtab.kinds.modeldeployment.observe import Observed
from trimtab.kinds.modeldeployment.progress import RolloutStatus
from trimtab.kinds.modeldeployment.routing import Road, lead, serving_by
from trimtab.kinds.modeldeployment.sizes import available, wanted_pods
from trimtab.kinds.modeldeployment.standing import Standing, orders, standing
from trimtab.kinds.modeldeployment.template import Bundle, Revision, revision
from trimtab.kinds.modeldeployment.trouble import late, trouble
from trimtab.kinds.modeldeployment.walk import Facts, next_weight, walk
from trimtab.kinds.modeldeployment.words import waits
from trimtab.traffic.state import RouterStatus


@dataclass(frozen=True)
class Rollout:
    """The state of one move from revision to revision, after this pass.

    `told` is who serves as far as the status may claim. A switch that was just decided is claimed once the front is
    seen to follow: the write that moves it may be refused.
    """

    course: Course
    target: Revision | None
    record: RolloutStatus | None
    """The rollout that is under way, or the last one."""
    over: tuple[RolloutStatus, ...]
    """Rollouts that ended in this pass."""
    waiting: str
    """A revision that an experiment holds back."""
    serving: str
    """Whom the front selects where no routers are in the way."""
    told: str
    routed: bool
    """The front leads through routers."""
    router: RouterStatus | None
    """What routers are told; None when there are to be none."""
    wanted: Mapping[str, Revision | None]
    """The revisions that need pods, the serving one first; None for one that today's spec could no longer build."""
    switched_at: datetime | None
    draining: bool
    """Pods and routers that traffic has just left may still be asked."""
    retiring: frozenset[str]
    """Revisions that nobody needs, but that may still be asked."""
    ahead: int
    """The share that the candidate's pods are made ready for, in percent."""

    @property
    def under_way(self) -> bool:
        """True while a newcomer has not proven itself."""
        return self.record is not None and self.record.under_way

    @property
    def moving(self) -> bool:
        """True while a newcomer waits to take over."""
        return self.record is not None and self.record.under_way and self.record.revision != self.serving


def rollout(mdep: ModelDeployment, bundle: Bundle | None, seen: Observed, now: datetime) -> Rollout:
    """Decide who serves. Without a resolvable target, whoever serves goes on."""
    target = revision(mdep, bundle, seen.platform) if bundle else None
    way = course(mdep.spec.rollout, has_example=mdep.spec.container is None)
    stands = standing(mdep, way, target.name if target else "", seen, now)
    road = Road(mdep, seen, way)
    record = _walked(road, stands, now)
    serving = _serving(stands, record)
    router, routed = road.told(record, serving) if way.routed and serving else (None, False)
    chosen, told = lead(record, serving), _told(road, record, serving)
    switched_at = _switched_at(mdep, seen, chosen, told, routed, now)
    draining = switched_at is not None and now < switched_at + RETIRE_AFTER
    if not way.routed and draining:
        router = mdep.status.router  # the routers that are left behind may still be asked, too
    wanted = _wanted(mdep, seen, record, target, (chosen, told))
    return Rollout(
        course=way,
        target=target,
        record=record,
        over=_over(mdep, stands, record),
        waiting=stands.waiting,
        serving=chosen,
        told=told,
        routed=routed,
        router=router,
        wanted=wanted,
        switched_at=switched_at,
        draining=draining,
        retiring=_retiring(seen, draining, router, mdep.status.router) - set(wanted),
        ahead=_ahead(road, record),
    )


def _over(mdep: ModelDeployment, stands: Standing, record: RolloutStatus | None) -> tuple[RolloutStatus, ...]:
    """The rollouts that end with this pass."""
    closed = (stands.closed, record if record is not stands.closed else None)
    return tuple(r for r in closed if r is not None and not r.under_way and r != mdep.status.rollout)


def _retiring(seen: Observed, draining: bool, *told: RouterStatus | None) -> frozenset[str]:
    """The revisions that may still be asked: all while traffic moves, then those that routers know. Children are
    deleted before status is written, so routers know until then what the last status told them."""
    known = {arm.revision for routed in told if routed for arm in routed.arms}
    return frozenset(name for name in seen.deployments if draining or name in known)


def _walked(road: Road, stands: Standing, now: datetime) -> RolloutStatus | None:
    """The record after this pass: counts taken in, and as far along the course as the facts allow."""
    if stands.record is None or not stands.record.under_way:
        return stands.record
    measured = measure(road.course, stands.record, road.seen, now)
    wishes = orders(road.mdep, stands.record.revision, road.seen.held_by)
    after = walk(road.course, measured.record, facts(road, measured), wishes, now)
    if after.under_way:
        after = after.model_copy(update={"message": waits(road.course, after, measured.asked(after))})
    return kept(road.course, measured, after)


def _ahead(road: Road, record: RolloutStatus | None) -> int:
    if record is None or orders(road.mdep, record.revision, "").promote:
        return 100
    return next_weight(road.course, record)


def facts(road: Road, measured: Measured) -> Facts:
    """What was observed of the candidate and its surroundings."""
    mdep, seen, record = road.mdep, road.seen, measured.record
    workload, previous = seen.deployment(record.revision), seen.deployment(record.previous)
    answers = list(seen.smoke_reports.values())
    return Facts(
        present=bool(workload),
        ready=available(workload),
        previous_ready=available(previous),
        pods_for=lambda percent: wanted_pods(mdep, previous, percent),
        settled=road.settled,
        asked=measured.asked,
        in_place=road.in_place or not road.course.routed,
        trouble=trouble(seen, record.revision),
        late=late(seen, record.revision),
        smoke=next(("" if answer.ok else answer.error or "no reason given" for answer in answers), None),
        evidence=measured.verdict,
    )


def _serving(stands: Standing, record: RolloutStatus | None) -> str:
    """Who has the traffic that no candidate has, after this pass."""
    if record is None or stands.record is None or not stands.record.under_way:
        return stands.serving
    if record.under_way:
        return serving_by(record)
    return record.revision if record.outcome == "Promoted" else record.previous


def _told(road: Road, record: RolloutStatus | None, serving: str) -> str:
    """Who serves as far as the status may say: going back is claimed once the front follows, as going on is."""
    memory, selected = road.mdep.status.serving, road.seen.selected(road.mdep.metadata["name"])
    back = record is not None and record.outcome == "RolledBack" and record.revision == memory != serving
    return memory if back and not road.in_place and selected != serving else serving


def _switched_at(
    mdep: ModelDeployment, seen: Observed, chosen: str, told: str, routed: bool, now: datetime
) -> datetime | None:
    """When traffic last left anybody, who shall drain; also a switch that was cut short, or an edit by hand."""
    selected, before = seen.selected(mdep.metadata["name"]), mdep.status.serving
    left = selected in seen.deployments and selected != chosen
    if left or (before and told != before) or (seen.routed(mdep.metadata["name"]) and not routed):
        return now
    return parse_time(mdep.status.switched_at) if mdep.status.switched_at else None


def _wanted(
    mdep: ModelDeployment,
    seen: Observed,
    record: RolloutStatus | None,
    target: Revision | None,
    served: tuple[str, ...],
) -> dict[str, Revision | None]:
    """Who serves, who is to serve, and who can be gone back to."""
    names = [*served, *((record.revision, record.previous) if record and record.under_way else ())]
    return {
        name: target if target and target.name == name else _rebuilt(mdep, name, seen)
        for name in dict.fromkeys(names)
        if name
    }


def _rebuilt(mdep: ModelDeployment, name: str, seen: Observed) -> Revision | None:
    """A revision as this spec would build it, if that is still the same one.

    It is not after an edit of the pod's part of the spec; then its children are left as they are until it retires.
    """
    entry = next((r for r in mdep.status.revisions if r.name == name), None)
    workload = seen.deployments.get(name)
    if entry is not None:
        bundle: Bundle | None = Bundle(entry.digest, entry.version, entry.runtime)
    else:
        bundle = Bundle.of(dict(workload)) if workload else None
    if bundle is None:
        return None
    rebuilt = revision(mdep, bundle, seen.platform)
    return rebuilt if rebuilt.name == name else None


def belongs_to(mdep: ModelDeployment, child: Mapping[str, Any], revisions: frozenset[str]) -> bool:
    """True for the children of one of these revisions. Their names tell: a label can be edited, a name cannot."""
    return child["metadata"]["name"] in {children.revision_name(mdep, name) for name in revisions}
