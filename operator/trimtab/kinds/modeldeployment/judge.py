"""The conditions of a ModelDeployment: what holds, and if not, the pods' own words for why."""

from __future__ import annotations

from collections.abc import Iterable

from trimtab.core import conditions, metadata
from trimtab.core.conditions import Condition
from trimtab.kinds.modeldeployment.alarms import alarms
from trimtab.kinds.modeldeployment.api import ModelDeployment
from trimtab.kinds.modeldeployment.observe import Observed
from trimtab.kinds.modeldeployment.progress import RolloutStatus
from trimtab.kinds.modeldeployment.rollout import Rollout
from trimtab.kinds.modeldeployment.routing import unrouted
from trimtab.kinds.modeldeployment.sizes import available, wanted_pods
from trimtab.kinds.modeldeployment.target import Target
from trimtab.kinds.modeldeployment.trouble import trouble
from trimtab.kinds.modeldeployment.vitals import Vitals


def judge(mdep: ModelDeployment, seen: Observed, target: Target, state: Rollout, vitals: Vitals) -> Iterable[Condition]:
    """All conditions but their times."""
    yield target.resolved
    yield from alarms(mdep.metadata["name"], vitals, held_to=mdep.spec.monitoring.quality is not None)
    yield _available(seen, state)
    serves = _serves(mdep, seen, state)
    if target.bundle is None:
        verdict = conditions.progressing if target.pending else conditions.failing
        yield from verdict(target.resolved.reason, target.resolved.message + serves)
    elif state.record is not None and (state.moving or (state.under_way and state.course.judged)):
        yield from _newcomer(mdep, seen, state, state.record, serves)
    elif state.told != state.serving:
        yield from conditions.progressing("RolloutInProgress", f"traffic moves to revision {state.serving}")
    elif state.waiting:
        yield from _held(seen, state)
    elif state.target is not None and state.target.name != state.serving:
        yield from conditions.failing("RolledBack", _sent_back(state, state.target.name) + serves)
    else:
        yield from _settled(mdep, seen, state)


def _held(seen: Observed, state: Rollout) -> Iterable[Condition]:
    """All is as it has to be for now, so that whoever waits for Ready does not wait for the end of an experiment."""
    message = f"revision {state.serving} serves; revision {state.waiting} waits until ABTest {seen.held_by} has ended"
    yield from conditions.ready("RolloutHeld", message)


def _sent_back(state: Rollout, name: str) -> str:
    record = state.record
    if record is None or record.revision != name or record.outcome != "RolledBack":
        return f"revision {name} is not tried, because the annotation {metadata.ABORT} names it"
    again = f"; annotate {metadata.PROMOTE}={name} to give it all traffic nevertheless"
    return f"revision {name} was rolled back ({record.reason}): {record.message}{again}"


def _available(seen: Observed, state: Rollout) -> Condition:
    count = available(seen.deployment(state.serving))
    if count:
        return Condition("Available", "True", "MinimumReplicasAvailable", "at least one pod answers requests")
    return Condition("Available", "False", "NoReplicasAvailable", "no pod answers requests")


def _newcomer(
    mdep: ModelDeployment, seen: Observed, state: Rollout, record: RolloutStatus, serves: str
) -> Iterable[Condition]:
    name, found = record.revision, trouble(seen, record.revision)
    if record.paused_at:
        yield from _paused(seen, record, serves)
        return
    if record.stage != "Starting":
        step = f", step {record.step} of {record.steps}" if record.stage == "Stepping" else ""
        yield from conditions.progressing(
            "RolloutInProgress", f"the new revision {name}{step}: {record.message}{serves}"
        )
        return
    if found:
        yield from conditions.failing(found.reason, f"the new revision {name} gets no traffic: {found.message}{serves}")
        return
    needed, ready = wanted_pods(mdep, seen.deployment(state.told), state.ahead), available(seen.deployment(name))
    message = f"the new revision {name} has {ready} of {needed} pods ready"
    if ready >= needed:
        message += _then(state, seen)
    yield from conditions.progressing("RolloutInProgress", message + serves)


def _paused(seen: Observed, record: RolloutStatus, serves: str) -> Iterable[Condition]:
    if seen.held_by:
        message = f"the new revision {record.revision} waits until ABTest {seen.held_by} has ended{serves}"
        return conditions.progressing("RolloutHeld", message)
    stays = f"the new revision {record.revision} stays at {record.weight} % of the traffic"
    message = f"{stays} while the annotation {metadata.ROLLOUT_PAUSED} is true{serves}"
    return conditions.progressing("RolloutPaused", message)


def _then(state: Rollout, seen: Observed) -> str:
    """What a candidate whose pods are ready still waits for."""
    failed = [answer.error for answer in seen.smoke_reports.values() if not answer.ok]
    if failed:
        return f", but does not answer its own example: {failed[0]}"
    if state.course.smoke:
        return " and is asked for its own example"
    if state.course.gateway and (why := unrouted(seen)):
        return f" and waits: {why}"
    return " and waits for the routers" if state.course.routed and not state.routed else ""


def _settled(mdep: ModelDeployment, seen: Observed, state: Rollout) -> Iterable[Condition]:
    workload = seen.deployment(state.serving)
    needed = mdep.spec.autoscaling.min_replicas if mdep.spec.autoscaling else mdep.spec.replicas
    count = available(workload)
    current = bool(workload) and workload.get("status", {}).get("observedGeneration", 0) >= 1
    if needed == 0 and current:
        yield from conditions.ready("ScaledToZero", "spec.replicas is 0: nothing answers requests, as asked")
    elif count >= needed and current and state.course.gateway and (why := unrouted(seen)):
        reason = "GatewayNotReady" if seen.platform.gateway_api else "GatewayMissing"
        yield from conditions.failing(reason, f"revision {state.serving} serves by the Service alone: {why}")
    elif count >= needed and current:
        yield from conditions.ready("Reconciled", f"revision {state.serving} serves{_unused(mdep)}")
    elif found := trouble(seen, state.serving):
        yield from conditions.failing(found.reason, found.message)
    else:
        yield from conditions.progressing("PodsStarting", f"waiting for all {needed} pods to be ready")


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
