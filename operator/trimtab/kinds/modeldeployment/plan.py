"""The decision about a ModelDeployment: resolve the target, decide who serves, build children, judge."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from trimtab.core import conditions
from trimtab.core.objects import Object, Ref, ref_of
from trimtab.core.plan import Plan
from trimtab.kinds.modeldeployment import children
from trimtab.kinds.modeldeployment.api import REVISION_ROWS, ModelDeployment, RevisionStatus, Status
from trimtab.kinds.modeldeployment.judge import judge
from trimtab.kinds.modeldeployment.observe import Observed
from trimtab.kinds.modeldeployment.rollout import (
    RETIRE_AFTER,
    Rollout,
    available,
    belongs_to,
    replicas,
    rollout,
)
from trimtab.kinds.modeldeployment.target import target
from trimtab.kinds.modeldeployment.template import Bundle, Revision, selector


def plan(mdep: ModelDeployment, seen: Observed, now: datetime) -> Plan:
    """Judge one ModelDeployment; the same input gives the same plan."""
    goal = target(mdep, seen.model)
    state = rollout(mdep, goal.bundle, seen, now)
    before = [c.dump() for c in mdep.status.conditions]
    merged = conditions.merge(before, judge(mdep, seen, goal, state), mdep.metadata["generation"], now)
    return Plan(
        apply=tuple(_children(mdep, seen, state)),
        keep=_kept(mdep, seen, state),
        status=_status(mdep, seen, state, merged),
        requeue_after=_requeue(state, now),
    )


def _children(mdep: ModelDeployment, seen: Observed, state: Rollout) -> Iterable[Object]:
    """Policies first, so that no pod ever runs without them; the front Service last, when there is something behind."""
    if not state.serving:
        return
    yield children.network_policy(mdep, seen.platform)
    yield children.disruption_budget(mdep)
    built = [r for r in (state.served, state.target if state.moving else None) if r is not None]
    for revision in built:
        yield from _revision(mdep, seen, state, revision)
    yield children.front(mdep, state.serving)


def _revision(mdep: ModelDeployment, seen: Observed, state: Rollout, revision: Revision) -> Iterable[Object]:
    yield children.workload(mdep, revision)
    yield children.headless(mdep, revision.name)
    at_least = replicas(seen.deployment(state.told)) if revision.name != state.told else 0
    scaler = children.autoscaler(mdep, revision.name, at_least)
    if scaler is not None:
        yield scaler


def _kept(mdep: ModelDeployment, seen: Observed, state: Rollout) -> frozenset[Ref]:
    """Revisions on their way out, and the serving one where today's spec could no longer build it."""
    names = set(state.retiring)
    if state.served is None and state.serving:
        names.add(state.serving)
    return frozenset(ref_of(child) for child in seen.children if belongs_to(mdep, child, frozenset(names)))


def _status(mdep: ModelDeployment, seen: Observed, state: Rollout, merged: list[Object]) -> Object:
    meta = mdep.metadata
    serving = seen.deployment(state.told)
    rows = list(_rows(mdep, seen, state))
    chosen = selector(meta["name"], state.told)
    return Status.model_validate(
        {
            "observed_generation": meta["generation"],
            "conditions": merged,
            "url": f"http://{meta['name']}.{meta['namespace']}.svc" if state.told else "",
            "replicas": replicas(serving),
            "available": available(serving),
            "selector": ",".join(f"{k}={v}" for k, v in sorted(chosen.items())) if state.told else "",
            "serving": state.told,
            "version": next((row.version for row in rows if row.name == state.told), ""),
            "switched_at": _switched_at(mdep, state),
            "revisions": rows,
        }
    ).dump()


def _switched_at(mdep: ModelDeployment, state: Rollout) -> str | None:
    if state.told != state.serving:
        return mdep.status.switched_at
    return conditions.timestamp(state.switched_at) if state.switched_at else None


def _rows(mdep: ModelDeployment, seen: Observed, state: Rollout) -> Iterable[RevisionStatus]:
    """A row per revision that has or will have pods, the serving one first."""
    known = {name: bundle for name, workload in seen.deployments.items() if (bundle := Bundle.of(workload))}
    known |= {r.name: Bundle(r.digest, r.version, r.runtime) for r in mdep.status.revisions}
    for revision in (state.target, state.served):
        if revision:
            known[revision.name] = revision.bundle
    names = [state.told, *([state.target.name] if state.target else []), *sorted(state.retiring)]
    for name in [name for name in dict.fromkeys(names) if name in known][:REVISION_ROWS]:
        yield _row(name, known[name], seen, state)


def _row(name: str, bundle: Bundle, seen: Observed, state: Rollout) -> RevisionStatus:
    workload = seen.deployment(name)
    return RevisionStatus.model_validate(
        {
            "name": name,
            "digest": bundle.digest,
            "version": bundle.version,
            "runtime": bundle.runtime,
            "weight": 100 if name == state.told else 0,
            "replicas": replicas(workload),
            "available": available(workload),
        }
    )


def _requeue(state: Rollout, now: datetime) -> timedelta | None:
    if state.switched_at is None or not state.retiring:
        return None
    return max(state.switched_at + RETIRE_AFTER - now, timedelta(milliseconds=100))
