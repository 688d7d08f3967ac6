"""Which revision has traffic, which one is on its way, which ones may go. The heart of a safe switch.

    target starts beside ──as large as what serves──► traffic moves at once ──RETIRE_AFTER──► the old one goes
           │ never gets ready
           ▼
    what serves keeps serving

The memory of the decision is `status.serving`; the front Service only follows it. The old pods are deleted
no sooner than RETIRE_AFTER after the move, when every node has learned of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from trimtab.core.conditions import parse_time
from trimtab.kinds.modeldeployment import children
from trimtab.kinds.modeldeployment.api import ModelDeployment
from trimtab.kinds.modeldeployment.observe import Observed
from trimtab.kinds.modeldeployment.template import Bundle, Revision, revision

RETIRE_AFTER = timedelta(seconds=10)


@dataclass(frozen=True)
class Rollout:
    """The state of one move from revision to revision.

    `told` is who serves as far as the status may claim. A switch that was just decided is claimed once the front is
    seen to follow: the write that moves it may be refused.
    """

    target: Revision | None
    serving: str
    told: str
    served: Revision | None
    switched_at: datetime | None
    retiring: frozenset[str]

    @property
    def moving(self) -> bool:
        """True while a newcomer waits to take over."""
        return self.target is not None and self.target.name != self.serving


def available(workload: Mapping[str, Any]) -> int:
    """Pods of a Deployment that are ready for traffic.

    True also before its controller has seen the latest spec: within a revision only the number of pods changes.
    """
    return int(workload.get("status", {}).get("availableReplicas", 0))


def replicas(workload: Mapping[str, Any]) -> int:
    """Pods of a Deployment that exist."""
    return int(workload.get("status", {}).get("replicas", 0))


def wanted_pods(mdep: ModelDeployment, serving: Mapping[str, Any]) -> int:
    """How many pods a revision needs before it counts as complete."""
    if mdep.spec.autoscaling is None:
        return mdep.spec.replicas
    return children.clamp(replicas(serving), mdep.spec.autoscaling)


def rollout(mdep: ModelDeployment, bundle: Bundle | None, seen: Observed, now: datetime) -> Rollout:
    """Decide who serves. Without a resolvable target, whoever serves goes on."""
    target = revision(mdep, bundle, seen.platform) if bundle else None
    serving, selected = _serving(mdep, seen, target.name if target else ""), seen.selected(mdep.metadata["name"])
    told, switched_at = serving, parse_time(mdep.status.switched_at) if mdep.status.switched_at else None
    if target and target.name != serving and _may_take_over(mdep, seen, target.name, serving):
        serving, switched_at = target.name, now
        told = serving if selected == serving else told
    elif selected != serving and selected in seen.deployments:
        switched_at = now  # a switch that was cut short, or an edit by hand: whoever has traffic now shall drain
    served = target if target and target.name == serving else _rebuilt(mdep, serving, seen)
    resting = set(seen.deployments) - {serving} - ({target.name} if target else set())
    retiring = frozenset(resting) if switched_at and now < switched_at + RETIRE_AFTER else frozenset()
    return Rollout(target, serving, told, served, switched_at, retiring)


def _serving(mdep: ModelDeployment, seen: Observed, target: str) -> str:
    """The revision with traffic; if all status was lost the Service still knows, and without it the pods do."""
    known = {*seen.deployments, *(r.name for r in mdep.status.revisions)}
    for name in (mdep.status.serving, seen.selected(mdep.metadata["name"])):
        if name in known:
            return name
    largest = max(seen.deployments, key=lambda name: (available(seen.deployment(name)), name), default="")
    return largest if available(seen.deployment(largest)) or not target else target


def _may_take_over(mdep: ModelDeployment, seen: Observed, newcomer: str, serving: str) -> bool:
    """True when the newcomer can carry what the present one carries; any pod is better than none."""
    old, new = seen.deployment(serving), seen.deployment(newcomer)
    needed = wanted_pods(mdep, old)
    if available(old) == 0:
        needed = min(1, needed)
    return bool(new) and available(new) >= needed


def _rebuilt(mdep: ModelDeployment, name: str, seen: Observed) -> Revision | None:
    """The serving revision as this spec would build it, if that is still the same one.

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
