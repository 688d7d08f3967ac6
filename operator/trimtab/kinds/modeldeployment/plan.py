"""The decision about a ModelDeployment: resolve the target, decide who serves, build children, judge, report."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from trimtab.core import conditions
from trimtab.core.objects import Object, Ref, ref_of
from trimtab.core.plan import Plan
from trimtab.kinds.modeldeployment import children
from trimtab.kinds.modeldeployment.api import ModelDeployment
from trimtab.kinds.modeldeployment.appointment import requeue
from trimtab.kinds.modeldeployment.degrading import degrading
from trimtab.kinds.modeldeployment.episodes import drifting
from trimtab.kinds.modeldeployment.judge import judge
from trimtab.kinds.modeldeployment.observe import Observed
from trimtab.kinds.modeldeployment.report import report
from trimtab.kinds.modeldeployment.rollout import Rollout, belongs_to, rollout
from trimtab.kinds.modeldeployment.routing import splitters
from trimtab.kinds.modeldeployment.sizes import replicas, wanted_pods
from trimtab.kinds.modeldeployment.target import target
from trimtab.kinds.modeldeployment.template import Revision
from trimtab.kinds.modeldeployment.vitals import Vitals
from trimtab.traffic import router


def plan(mdep: ModelDeployment, seen: Observed, now: datetime) -> Plan:
    """Judge one ModelDeployment; the same input gives the same plan."""
    goal = target(mdep, seen.model)
    state = rollout(mdep, goal.bundle, seen, now)
    before = [c.dump() for c in mdep.status.conditions]
    healthy = vitals(mdep, seen, now)
    found = judge(mdep, seen, goal, state, healthy)
    merged = conditions.merge(before, found, mdep.metadata["generation"], now)
    return Plan(
        apply=tuple(_children(mdep, seen, state)),
        keep=_kept(mdep, seen, state),
        status=report(mdep, seen, state, merged, healthy, now),
        requeue_after=requeue(mdep, seen, state, now),
    )


def vitals(mdep: ModelDeployment, seen: Observed, now: datetime) -> Vitals:
    """How traffic and answers are, after what was found since the last pass."""
    status, found = mdep.status, seen.finding
    if mdep.spec.container is not None:
        return Vitals()
    if found is None:
        return Vitals(status.drift, status.quality)
    drift = drifting(status.drift, found, status.serving, now)
    return Vitals(drift, degrading(status.quality, found, status.serving, mdep.spec.monitoring.quality, now))


def _children(mdep: ModelDeployment, seen: Observed, state: Rollout) -> Iterable[Object]:
    """Policies first, so that no pod ever runs without them; the front Service last, when there is something behind."""
    if not state.serving:
        return
    yield children.network_policy(mdep, seen.platform)
    yield children.disruption_budget(mdep)
    for revision in state.wanted.values():
        if revision is not None:
            yield from _revision(mdep, seen, state, revision)
    if state.router is not None and state.course.routed:
        yield from splitters(mdep, state.course, seen.platform, state.router)
    yield children.front(mdep, state.serving, routed=state.routed)


def _revision(mdep: ModelDeployment, seen: Observed, state: Rollout, revision: Revision) -> Iterable[Object]:
    pods, at_least = _size(mdep, seen, state, revision.name)
    yield children.workload(mdep, revision, pods)
    yield children.headless(mdep, revision.name)
    scaler = children.autoscaler(mdep, revision.name, at_least)
    if scaler is not None:
        yield scaler


def _size(mdep: ModelDeployment, seen: Observed, state: Rollout, name: str) -> tuple[int, int]:
    """How many pods a revision has, and how many its autoscaler must leave it.

    A candidate is made large enough for its next share before it gets it, and as large as what it replaces before it
    gets all. What serves is not made smaller while a part of its traffic is elsewhere, and what served before is kept
    as large as what serves: either may have to take everything at once.
    """
    serving = seen.deployment(state.told)
    if name == state.told:
        return mdep.spec.replicas, replicas(serving) if state.record is not None and state.record.exposed else 0
    if state.moving or name == state.serving:
        pods = wanted_pods(mdep, serving, state.ahead)
        return pods, pods
    return mdep.spec.replicas, replicas(serving)


def _kept(mdep: ModelDeployment, seen: Observed, state: Rollout) -> frozenset[Ref]:
    """Who may still be asked: revisions on their way out, those that today's spec could no longer build, and routers
    that traffic has just left."""
    names = {*state.retiring, *(name for name, revision in state.wanted.items() if revision is None)}
    kept = {ref_of(child) for child in seen.children if belongs_to(mdep, child, frozenset(names))}
    if state.router is not None and (not state.course.routed or (state.course.gateway and state.draining)):
        own = router.router_name(mdep.metadata["name"])
        kept |= {ref_of(child) for child in seen.children if child["metadata"]["name"] == own}
    return frozenset(kept)
