"""The children of a ModelDeployment. Pure builders: what is not wanted is None, and pruned."""

from __future__ import annotations

from typing import Any

from trimtab.core import metadata
from trimtab.core.objects import (
    AUTOSCALER,
    DEPLOYMENT,
    DISRUPTION_BUDGET,
    NETWORK_POLICY,
    SERVICE,
    Object,
    Resource,
)
from trimtab.core.platform import Platform
from trimtab.kinds.modeldeployment.api import ModelDeployment
from trimtab.kinds.modeldeployment.scaling import Autoscaling, Metric
from trimtab.kinds.modeldeployment.template import Revision, ports, revision_labels, selector
from trimtab.traffic import router

SERVICE_PORT = 80
DNS_PORT = 53


def revision_name(mdep: ModelDeployment, revision: str) -> str:
    """The name of a revision's Deployment, headless Service and autoscaler."""
    return f"{mdep.metadata['name']}-{revision}"


def workload(mdep: ModelDeployment, revision: Revision, pods: int | None = None) -> Object:
    """The Deployment of one revision, of `pods` pods, or as many as the spec says.

    With autoscaling on, `replicas` is the autoscaler's and never written.
    """
    name = mdep.metadata["name"]
    spec: dict[str, Any] = {
        "selector": {"matchLabels": selector(name, revision.name)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"}},
        "revisionHistoryLimit": 2,
        "progressDeadlineSeconds": 600,
        "template": revision.template,
    }
    if mdep.spec.autoscaling is None:
        spec["replicas"] = mdep.spec.replicas if pods is None else pods
    child = _child(mdep, DEPLOYMENT, revision_name(mdep, revision.name), revision.name, spec=spec)
    child["metadata"]["annotations"].update(revision.bundle.annotations())
    return child


def headless(mdep: ModelDeployment, revision: str) -> Object:
    """A Service that names each pod of one revision, for whoever must reach all of them."""
    spec = {
        "clusterIP": "None",
        "selector": selector(mdep.metadata["name"], revision),
        "ports": [_port(name, number) for name, number in ports(mdep).items()],
    }
    return _child(mdep, SERVICE, revision_name(mdep, revision), revision, spec=spec)


def front(mdep: ModelDeployment, revision: str, *, routed: bool = False) -> Object:
    """The Service that users call. It leads to the routers, or to the pods of the revision.

    Without routers, moving traffic is changing its selector: one write, at once, for all.
    """
    name = mdep.metadata["name"]
    spec = {
        "type": "ClusterIP",
        "selector": router.selector(name) if routed else selector(name, revision),
        "ports": [_port(name, number) for name, number in {**ports(mdep), "http": SERVICE_PORT}.items()],
    }
    return _child(mdep, SERVICE, name, None, spec=spec)


def autoscaler(mdep: ModelDeployment, revision: str, at_least: int) -> Object | None:
    """The autoscaler of one revision, kept at `at_least` pods so that a newcomer is as large as what it replaces."""
    wanted = mdep.spec.autoscaling
    if wanted is None:
        return None
    name = revision_name(mdep, revision)
    spec: dict[str, Any] = {
        "scaleTargetRef": {"apiVersion": DEPLOYMENT.api_version, "kind": DEPLOYMENT.kind, "name": name},
        "minReplicas": clamp(at_least, wanted),
        "maxReplicas": wanted.max_replicas,
        "metrics": [_metric(metric) for metric in wanted.metrics],
    }
    if wanted.behavior is not None:
        spec["behavior"] = wanted.behavior.dump()
    return _child(mdep, AUTOSCALER, name, revision, spec=spec)


def clamp(replicas: int, autoscaling: Autoscaling) -> int:
    """A number of pods within what autoscaling allows."""
    return min(max(replicas, autoscaling.min_replicas), autoscaling.max_replicas)


def disruption_budget(mdep: ModelDeployment) -> Object:
    """Node drains take one pod at a time, and may always take pods that do not work anyway."""
    spec = {
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": {metadata.DEPLOYMENT: mdep.metadata["name"]}},
    }
    return _child(mdep, DISRUPTION_BUDGET, mdep.metadata["name"], None, spec=spec)


def network_policy(mdep: ModelDeployment, platform: Platform) -> Object:
    """In: the serving ports. Out: name resolution and the model store, which is all our own server ever calls.

    Ports go by name: while traffic moves between containers, those of both revisions must be open.
    """
    out: list[dict[str, Any]] = [{"ports": [{"port": DNS_PORT, "protocol": p} for p in ("UDP", "TCP")]}]
    store = platform.store_port()
    if store is not None:
        out.append({"ports": [{"port": store, "protocol": "TCP"}]})
    spec = {
        "podSelector": {"matchLabels": {metadata.DEPLOYMENT: mdep.metadata["name"]}},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"ports": [{"port": name, "protocol": "TCP"} for name in ports(mdep)]}],
        "egress": out,
    }
    return _child(mdep, NETWORK_POLICY, mdep.metadata["name"], None, spec=spec)


def _port(name: str, number: int) -> dict[str, Any]:
    return {"name": name, "port": number, "targetPort": name, "protocol": "TCP"}


def _child(mdep: ModelDeployment, resource: Resource, name: str, revision: str | None, **body: Any) -> Object:
    owner = {"kind": mdep.kind, "metadata": mdep.metadata}
    own_name = mdep.metadata["name"]
    labels = (
        revision_labels(own_name, revision)
        if revision
        else metadata.labels("server", own_name, **{metadata.DEPLOYMENT: own_name})
    )
    return metadata.owned(resource.api_version, resource.kind, name, owner, labels, **body)


def _metric(metric: Metric) -> dict[str, Any]:
    return {
        "type": "Resource",
        "resource": {
            "name": metric.type.lower(),
            "target": {"type": "Utilization", "averageUtilization": metric.target_percent},
        },
    }
