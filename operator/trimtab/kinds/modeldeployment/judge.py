"""The conditions of a ModelDeployment: what holds, and if not, the pods' own words for why."""

from __future__ import annotations

from collections.abc import Iterable

from trimtab.core import conditions, metadata, pods
from trimtab.core.conditions import Condition
from trimtab.core.objects import condition
from trimtab.core.pods import Trouble
from trimtab.kinds.modeldeployment.api import ModelDeployment
from trimtab.kinds.modeldeployment.observe import Observed
from trimtab.kinds.modeldeployment.rollout import Rollout, available, wanted_pods
from trimtab.kinds.modeldeployment.target import Target


def judge(mdep: ModelDeployment, seen: Observed, target: Target, state: Rollout) -> Iterable[Condition]:
    """All conditions but their times."""
    yield target.resolved
    yield _available(seen, state)
    serves = _serves(mdep, seen, state)
    if target.bundle is None:
        verdict = conditions.progressing if target.pending else conditions.failing
        yield from verdict(target.resolved.reason, target.resolved.message + serves)
    elif state.moving and state.target:
        yield from _newcomer(mdep, seen, state, serves)
    elif state.told != state.serving:
        yield from conditions.progressing("RolloutInProgress", f"traffic moves to revision {state.serving}")
    else:
        yield from _settled(mdep, seen, state)


def _available(seen: Observed, state: Rollout) -> Condition:
    count = available(seen.deployment(state.serving))
    if count:
        return Condition("Available", "True", "MinimumReplicasAvailable", "at least one pod answers requests")
    return Condition("Available", "False", "NoReplicasAvailable", "no pod answers requests")


def _newcomer(mdep: ModelDeployment, seen: Observed, state: Rollout, serves: str) -> Iterable[Condition]:
    name = state.target.name if state.target else ""
    found = _trouble(seen, name)
    if found:
        yield from conditions.failing(found.reason, f"the new revision {name} gets no traffic: {found.message}{serves}")
        return
    needed = wanted_pods(mdep, seen.deployment(state.serving))
    message = f"the new revision {name} has {available(seen.deployment(name))} of {needed} pods ready{serves}"
    yield from conditions.progressing("RolloutInProgress", message)


def _settled(mdep: ModelDeployment, seen: Observed, state: Rollout) -> Iterable[Condition]:
    workload = seen.deployment(state.serving)
    needed = mdep.spec.autoscaling.min_replicas if mdep.spec.autoscaling else mdep.spec.replicas
    count = available(workload)
    current = bool(workload) and workload.get("status", {}).get("observedGeneration", 0) >= 1
    if needed == 0 and current:
        yield from conditions.ready("ScaledToZero", "spec.replicas is 0: nothing answers requests, as asked")
    elif count >= needed and current:
        yield from conditions.ready("Reconciled", f"revision {state.serving} serves{_unused(mdep)}")
    elif found := _trouble(seen, state.serving):
        yield from conditions.failing(found.reason, found.message)
    else:
        yield from conditions.progressing("PodsStarting", f"waiting for all {needed} pods to be ready")


def _trouble(seen: Observed, revision: str) -> Trouble | None:
    # A pod that failed as a whole was evicted: another took its place, and its words are of yesterday.
    alive = (pod for pod in seen.pods if pod["status"].get("phase") not in ("Failed", "Succeeded"))
    own = [pod for pod in alive if pod["metadata"]["labels"].get(metadata.REVISION) == revision]
    workload = dict(seen.deployment(revision))
    found = [item for item in (pods.trouble(own), pods.refusal(workload)) if item]
    if found:
        return min(found, key=lambda item: item.rank)
    late = condition(workload, "Progressing")
    if late.get("reason") == "ProgressDeadlineExceeded":
        return Trouble(9, "ProgressDeadlineExceeded", late.get("message", "the pods were not ready in time"))
    return None


def _serves(mdep: ModelDeployment, seen: Observed, state: Rollout) -> str:
    entry = next((r for r in mdep.status.revisions if r.name == state.serving), None)
    if entry is None or not available(seen.deployment(state.serving)):
        return ""
    return f"; revision {state.serving} (version {entry.version}) keeps serving"


def _unused(mdep: ModelDeployment) -> str:
    """A field that does nothing is named, never silently ignored."""
    if mdep.spec.autoscaling and mdep.spec.replicas != 1:
        return "; spec.replicas is not used while spec.autoscaling is set"
    return ""
