"""How many pods revisions have, and how many they need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trimtab.kinds.modeldeployment import children
from trimtab.kinds.modeldeployment.api import ModelDeployment


def available(workload: Mapping[str, Any]) -> int:
    """Pods of a Deployment that are ready for traffic.

    True also before its controller has seen the latest spec: within a revision only the number of pods changes.
    """
    return int(workload.get("status", {}).get("availableReplicas", 0))


def replicas(workload: Mapping[str, Any]) -> int:
    """Pods of a Deployment that exist."""
    return int(workload.get("status", {}).get("replicas", 0))


def wanted_pods(mdep: ModelDeployment, serving: Mapping[str, Any], percent: int = 100) -> int:
    """How many pods a revision needs to carry a share of what `serving` carries; at least one of any."""
    if mdep.spec.autoscaling is None:
        full = mdep.spec.replicas
    else:
        full = children.clamp(replicas(serving), mdep.spec.autoscaling)
    return min(full, max(1, -(-full * percent // 100)))
