"""What is read before a ModelDeployment is judged: from memory its model, its children and the experiments on it; from
routers and pods, while a rollout needs them, what they counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from trimtab.core import metadata
from trimtab.core.objects import DEPLOYMENT, HTTP_ROUTE, SERVICE, Object, Ref
from trimtab.core.platform import Platform
from trimtab.core.view import View
from trimtab.evidence.drift.degradation import Limit
from trimtab.evidence.drift.finding import Finding
from trimtab.evidence.drift.judge import Policy
from trimtab.evidence.sources import ModelReport, RouterReport, SmokeReport, Sources
from trimtab.kinds.modeldeployment.api import ModelDeployment
from trimtab.kinds.modeldeployment.progress import RolloutStatus
from trimtab.traffic.change import live
from trimtab.traffic.router import router_name

FRESH_SECONDS = 0.4
"""Counts may be this old while a rollout is under way: less than the time between two passes."""
RESTING_SECONDS = 60.0
SMOKE_SECONDS = 600.0
"""One good answer is enough; one that failed is asked for again by the adapter."""
GOES_ON = ("Waiting", "Running", "Paused")
"""Decisions of an ABTest after which its arms must not change."""


@dataclass(frozen=True)
class Watch:
    """What is to be watched of a deployment, and how it is judged."""

    deployment: str
    """The uid of the ModelDeployment."""
    digest: str
    """The bundle that serves."""
    pods: Sequence[Object]
    """Those that are ready, of all revisions: labels may come to any of them."""
    period: int
    """Seconds; the length of a bucket."""
    policy: Policy
    limit: Limit | None = None


class Monitor(Protocol):
    """Where rows and labels are counted over time. A call never takes long: what is not there yet is told next time."""

    async def finding(self, watch: Watch) -> Finding | None:
        """What was found of the revision that serves at the end of the last bucket with rows; None: not watched."""


@dataclass(frozen=True)
class Observed:
    """All that a decision about a ModelDeployment depends on, beside the object itself."""

    platform: Platform
    model: Object | None = None
    children: Sequence[Object] = ()
    pods: Sequence[Object] = ()
    deployments: Mapping[str, Object] = field(default_factory=dict)
    """By revision, as their names tell it: labels can be edited by hand, names cannot."""

    route: Object | None = None
    """The HTTPRoute, where a Gateway splits the traffic."""
    routers: Sequence[Object] = ()
    """The routers' pods."""
    router_reports: Mapping[str, RouterReport] = field(default_factory=dict)
    """What they say, by pod uid."""
    model_reports: Mapping[str, ModelReport] = field(default_factory=dict)
    """What the pods of the candidate counted, by pod uid."""
    smoke_reports: Mapping[str, SmokeReport] = field(default_factory=dict)
    """What came of the candidate's own example, by pod uid."""
    finding: Finding | None = None
    """What is known of the traffic of the revision that serves; None when it is not watched."""
    held_by: str = ""
    """A running ABTest that compares this deployment with others."""

    def deployment(self, revision: str) -> Mapping[str, Any]:
        """The Deployment of a revision, or an empty mapping."""
        return self.deployments.get(revision, {})

    def selected(self, name: str) -> str:
        """The revision that the front Service sends traffic to, or an empty string."""
        return str(_front(self.children, name).get(metadata.REVISION, ""))

    def routed(self, name: str) -> bool:
        """Whether the front Service sends traffic to routers."""
        return metadata.ROUTER in _front(self.children, name)


def _front(children: Sequence[Object], name: str) -> Mapping[str, Any]:
    """The selector of the front Service."""
    for child in children:
        if child["kind"] == SERVICE.kind and child["metadata"]["name"] == name:
            return dict(child["spec"].get("selector", {}))
    return {}


def model_ref(obj: Object) -> Ref:
    """The MLModel a ModelDeployment (a raw object) refers to."""
    return Ref("MLModel", obj["metadata"]["namespace"], str(obj.get("spec", {}).get("model", {}).get("name", "")))


async def observe(mdep: ModelDeployment, view: View, platform: Platform, counts: Sources, monitor: Monitor) -> Observed:
    """Gather the model, the children, their pods, and whatever counts the present rollout goes by."""
    namespace, name = mdep.metadata["namespace"], mdep.metadata["name"]
    children = view.children(mdep.metadata["uid"])
    pods = view.pods(metadata.DEPLOYMENT, namespace, name)
    routers = view.pods(metadata.ROUTER, namespace, name) if mdep.spec.rollout.strategy == "Canary" else ()
    candidate = _candidate(mdep.status.rollout, pods)
    watch = _watch(mdep, pods)
    return Observed(
        platform=platform,
        model=view.get(Ref("MLModel", namespace, mdep.spec.model.name)) if mdep.spec.model else None,
        children=children,
        pods=pods,
        deployments={
            child["metadata"]["name"].removeprefix(f"{name}-"): child
            for child in children
            if child["kind"] == DEPLOYMENT.kind and child["metadata"]["name"] != router_name(name)
        },
        route=next((child for child in children if child["kind"] == HTTP_ROUTE.kind), None),
        routers=routers,
        router_reports=await counts.routers(routers, FRESH_SECONDS if _moves(mdep, children) else RESTING_SECONDS),
        model_reports=await counts.models(_counting(mdep, candidate, pods), FRESH_SECONDS),
        smoke_reports=await counts.smoke(candidate[:1], SMOKE_SECONDS) if _smokes(mdep) else {},
        finding=await monitor.finding(watch) if watch else None,
        held_by=held_by(view.referrers(Ref(mdep.kind, namespace, name), "ABTest")),
    )


def _watch(mdep: ModelDeployment, pods: Sequence[Object]) -> Watch | None:
    """What is to be watched: a model in our own server, as soon as it serves."""
    digest = next((row.digest for row in mdep.status.revisions if row.name == mdep.status.serving), "")
    if not digest or mdep.spec.model is None or mdep.spec.container is not None:
        return None
    drift, quality = mdep.spec.monitoring.drift, mdep.spec.monitoring.quality
    ready = [pod for pod in pods if live(pod)]
    return Watch(
        mdep.metadata["uid"], digest, ready, drift.period_seconds, drift.policy, quality.limit if quality else None
    )


def _candidate(record: RolloutStatus | None, pods: Sequence[Object]) -> Sequence[Object]:
    """The pods of the candidate that are ready."""
    name = record.revision if record is not None and record.under_way else ""
    return [pod for pod in pods if live(pod) and pod["metadata"]["labels"].get(metadata.REVISION) == name]


def _moves(mdep: ModelDeployment, children: Sequence[Object]) -> bool:
    """Whether routers have something to learn, or to tell."""
    told, record = mdep.status.router, mdep.status.rollout
    waits = metadata.ROUTER not in _front(children, mdep.metadata["name"])
    return waits or told is None or len(told.arms) > 1 or (record is not None and record.under_way)


def _counting(mdep: ModelDeployment, candidate: Sequence[Object], pods: Sequence[Object]) -> Sequence[Object]:
    """The pods that the candidate is judged by: where no routers count."""
    record, rollout = mdep.status.rollout, mdep.spec.rollout
    if record is None or not record.under_way:
        return ()
    if rollout.strategy == "BlueGreen":
        return candidate if record.stage == "Baking" else ()
    previous = [pod for pod in pods if pod["metadata"]["labels"].get(metadata.REVISION) == record.previous]
    return [*candidate, *previous] if rollout.gateway and record.stage != "Starting" else ()


def _smokes(mdep: ModelDeployment) -> bool:
    """Whether the candidate has to answer its own example now; only Trimtab's server knows of examples."""
    record, spec = mdep.status.rollout, mdep.spec
    waits = record is not None and record.stage == "Starting"
    return spec.rollout.strategy == "BlueGreen" and spec.container is None and waits


def held_by(tests: Sequence[Object]) -> str:
    """The first of these ABTests that runs, or an empty string."""
    for test in tests:
        spec, verdict = test.get("spec", {}), test.get("status", {}).get("verdict") or {}
        decision = verdict.get("decision", "Waiting")
        waits = decision == "Win" and spec.get("decision") == "Manual"
        if not spec.get("suspend") and (decision in GOES_ON or waits):
            return str(test["metadata"]["name"])
    return ""
