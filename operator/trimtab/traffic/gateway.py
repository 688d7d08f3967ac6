"""The same RouterStatus for a Gateway API implementation: one HTTPRoute, in place of the operator's own routers. Pure.

What the standard can say everywhere is how requests are split by weight. The rest is left out, and whoever uses this
has to know of it: there is no split by a hash of a header, so nobody keeps his arm while the shares move; retries,
ejection of bad pods and the counts of requests are the implementation's, so evidence comes from model pods alone, and a
request that reached none of them is not seen.

A change is acknowledged by the route's status: every parent says of its present generation that it is accepted and that
its backends were found. What was told with that generation is written on the route itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trimtab.core import metadata
from trimtab.core.objects import HTTP_ROUTE, Object
from trimtab.traffic.change import Ack
from trimtab.traffic.envoy import ARM_HEADER, REVISION_HEADER, ROUTED_HEADER
from trimtab.traffic.state import RouterArm, RouterStatus

DEMANDED = ("Accepted", "ResolvedRefs")


def http_route(
    owner: Object, name: str, parents: Sequence[Mapping[str, Any]], hostnames: Sequence[str], routed: RouterStatus
) -> Object:
    """The HTTPRoute of a router, at these Gateways and for these host names; all of a Gateway's without any.

    ValueError where an arm is not a Service of the owner's namespace.
    """
    namespace, weights = owner["metadata"]["namespace"], routed.weights()
    backends = [_backend(arm, namespace, weights[arm.name]) for arm in routed.arms if weights[arm.name]]
    rule = {"matches": [{"path": {"type": "PathPrefix", "value": "/"}}], "backendRefs": backends}
    spec: dict[str, Any] = {"parentRefs": [dict(parent) for parent in parents], "rules": [rule]}
    if hostnames:
        spec["hostnames"] = list(hostnames)
    labels = metadata.labels("route", name)
    route = metadata.owned(HTTP_ROUTE.api_version, HTTP_ROUTE.kind, name, owner, labels, spec=spec)
    route["metadata"]["annotations"] |= {
        metadata.ROUTED_CLUSTERS: routed.clusters_version,
        metadata.ROUTED_ROUTES: routed.routes_version,
    }
    return route


def acks(route: Object | None, endpoints: Mapping[str, int]) -> list[Ack]:
    """What the route's implementation does, as one router's word. `endpoints` are the ready pods of each arm, which the
    implementation finds by itself."""
    if route is None or refusal(route):
        return [Ack("")]
    meta = route["metadata"]
    notes = meta.get("annotations", {})
    return [Ack(meta["uid"], notes.get(metadata.ROUTED_CLUSTERS, ""), notes.get(metadata.ROUTED_ROUTES, ""), endpoints)]


def refusal(route: Object | None) -> str:
    """What keeps the route from being in effect, in a sentence; empty when nothing does."""
    if route is None:
        return "its HTTPRoute is not there yet"
    return next(_refusals(route), "")


def _refusals(route: Object) -> Iterator[str]:
    meta = route["metadata"]
    told = {_key(item.get("parentRef", {}), meta): item for item in route.get("status", {}).get("parents", ())}
    for parent in route["spec"].get("parentRefs", ()):
        said = {item["type"]: item for item in told.get(_key(parent, meta), {}).get("conditions", ())}
        for type_ in DEMANDED:
            found = said.get(type_, {})
            current = found.get("observedGeneration", 0) == meta.get("generation")
            if not current or found.get("status") != "True":
                why = f": {found.get('reason')}: {found.get('message', '')}" if current else ""
                yield f"Gateway {parent['name']} does not say {type_} of its HTTPRoute{why}"[:1024]


def _key(parent: Mapping[str, Any], route: Mapping[str, Any]) -> tuple[Any, ...]:
    """What tells one parent from another."""
    return parent.get("namespace") or route["namespace"], parent.get("name"), parent.get("sectionName", "")


def _backend(arm: RouterArm, namespace: str, weight: int) -> dict[str, Any]:
    asked = {"set": [{"name": ROUTED_HEADER, "value": "1"}]}
    filters = [
        {"type": "ResponseHeaderModifier", "responseHeaderModifier": _named(arm)},
        {"type": "RequestHeaderModifier", "requestHeaderModifier": asked},
    ]
    return {**_service(arm, namespace), "weight": weight, "filters": filters}


def _service(arm: RouterArm, namespace: str) -> dict[str, Any]:
    """A backend is named by its Service, so the host must be that of one."""
    service, _, rest = arm.host.partition(".")
    if rest.split(".")[:2] != [namespace, "svc"]:
        raise ValueError(f"arm {arm.name!r} leads to {arm.host}, which is not a Service of namespace {namespace}")
    return {"name": service, "port": arm.port}


def _named(arm: RouterArm) -> dict[str, Any]:
    given = {ARM_HEADER: arm.name, REVISION_HEADER: arm.revision}
    return {"set": [{"name": name, "value": value} for name, value in given.items() if value]}
