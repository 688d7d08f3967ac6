"""What is read before an ABTest is judged: its arms, its routers, and what both have counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from trimtab.core import metadata
from trimtab.core.objects import Object, Ref
from trimtab.core.platform import Platform
from trimtab.core.view import View
from trimtab.evidence.sources import ModelReport, RouterReport, Sources
from trimtab.kinds.abtest.api import ABTest

FRESH_SECONDS = 1.0
"""Counts may be this old: less than the time between two passes, so that a pass never judges by those of the last."""


class EventsError(Exception):
    """The events of an arm could not be read; the message is fit for a condition."""


class Events(Protocol):
    """The one question an ABTest asks beside pods: a number that only the user's own query can give."""

    async def count(self, query: str, max_age_seconds: float) -> float:
        """The query's one number; EventsError otherwise."""


@dataclass(frozen=True)
class Observed:
    """All that a decision about an ABTest depends on, beside the object itself."""

    platform: Platform
    deployments: Mapping[str, Object] = field(default_factory=dict)
    """The ModelDeployments of the arms, by name; those that do not exist are absent."""
    children: Sequence[Object] = ()
    routers: Sequence[Object] = ()
    """The routers' pods."""
    router_reports: Mapping[str, RouterReport] = field(default_factory=dict)
    """By pod uid."""
    pods: Mapping[str, Sequence[Object]] = field(default_factory=dict)
    """The pods of each arm's serving revision, by arm."""
    model_reports: Mapping[str, ModelReport] = field(default_factory=dict)
    """By pod uid."""
    events: Mapping[str, float] = field(default_factory=dict)
    """What the objective's query gave, by arm."""
    events_error: str = ""
    """Why it gave nothing, if it did not."""
    guarded: Mapping[str, float] = field(default_factory=dict)
    """What the query of a guardrail gave, by arm."""
    guarded_error: str = ""
    """Why that gave nothing."""


def deployment_refs(obj: Object) -> tuple[Ref, ...]:
    """The ModelDeployments an ABTest (a raw object) refers to."""
    namespace, arms = obj["metadata"]["namespace"], obj.get("spec", {}).get("arms", ())
    return tuple(Ref("ModelDeployment", namespace, str(arm.get("deployment", ""))) for arm in arms)


def serving(mdep: Mapping[str, Any]) -> str:
    """The revision of a ModelDeployment that has its traffic; empty while there is none."""
    return str(mdep.get("status", {}).get("serving", ""))


async def observe(test: ABTest, view: View, platform: Platform, sources: Sources, events: Events) -> Observed:
    """Gather arms, children and pods from memory, and counts from whoever counts."""
    namespace, name = test.metadata["namespace"], test.metadata["name"]
    found = {arm.deployment: view.get(Ref("ModelDeployment", namespace, arm.deployment)) for arm in test.spec.arms}
    deployments = {name: obj for name, obj in found.items() if obj is not None}
    routers = view.pods(metadata.ROUTER, namespace, name)
    pods = {arm.name: _pods(view, namespace, deployments.get(arm.deployment)) for arm in test.spec.arms}
    counted, error = await _events(test, test.spec.objective.query, events)
    guarded, unguarded = await _events(test, guarding(test), events)
    return Observed(
        platform=platform,
        deployments=deployments,
        children=view.children(test.metadata["uid"]),
        routers=routers,
        router_reports=await sources.routers(routers, FRESH_SECONDS),
        pods=pods,
        model_reports=await sources.models([pod for own in pods.values() for pod in own], FRESH_SECONDS),
        events=counted,
        events_error=error,
        guarded=guarded,
        guarded_error=unguarded,
    )


def guarding(test: ABTest) -> str | None:
    """The query of the guardrail that has one."""
    return next((guardrail.query for guardrail in test.spec.guardrails if guardrail.query), None)


def _pods(view: View, namespace: str, mdep: Object | None) -> Sequence[Object]:
    """The pods of the revision that serves."""
    if mdep is None:
        return ()
    own = view.pods(metadata.DEPLOYMENT, namespace, mdep["metadata"]["name"])
    return [pod for pod in own if pod["metadata"]["labels"].get(metadata.REVISION) == serving(mdep)]


async def _events(test: ABTest, query: str | None, events: Events) -> tuple[dict[str, float], str]:
    """The query's number of each arm, or why there is none: half an answer would be news of the wrong arm."""
    if query is None or test.status.router is None:
        return {}, ""
    counted = {}
    for arm in test.spec.arms:
        try:
            counted[arm.name] = await events.count(query.replace("$arm", arm.name), FRESH_SECONDS)
        except EventsError as error:
            return {}, f"{arm.name}: {error}"
    return counted, ""
