"""The same RouterStatus for a Gateway API implementation: one HTTPRoute, in place of the operator's own routers. Pure.

What the standard cannot say is left out, and a user of this must know of it:
- there is no split by a hash of a header, so every user is remembered by the cookie alone, and nobody but the user's
  browser knows the arm: `slots.assign` does not tell it;
- weights that move do not move those who have a cookie, except from arms that hold nothing any more: among those who
  come back, shares are those of the day they came first;
- matching a cookie needs regular expressions on headers, which the standard leaves to the implementation;
- nobody acknowledges anything: a change is in effect when the implementation says `Accepted` and some time has passed;
- retries, ejection of bad pods and the counts of requests are the implementation's, so evidence comes from model pods
  alone, and a request that reached none of them is not seen.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from trimtab.core import metadata
from trimtab.core.objects import Object, Resource
from trimtab.traffic.envoy import ARM_HEADER, COOKIE_SECONDS, REVISION_HEADER, ROUTED_HEADER, cookie_name
from trimtab.traffic.state import RouterArm, RouterStatus

HTTP_ROUTE = Resource("gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes")
MOST_REMEMBERED = 15
"""An HTTPRoute has 16 rules at most, and one is for those without a cookie."""


def http_route(owner: Object, name: str, parent: Mapping[str, str], routed: RouterStatus) -> Object:
    """The HTTPRoute of a router. `parent` is the Gateway's `name`, and its `namespace` where that is another.

    ValueError where the standard cannot express the status: too many arms, or one that is not a Service of the owner's
    namespace.
    """
    holders = [routed.arm(arm) for arm, weight in routed.weights().items() if weight]
    remembered = holders if routed.cookies and len(holders) > 1 else []
    if len(remembered) > MOST_REMEMBERED:
        raise ValueError(f"an HTTPRoute remembers {MOST_REMEMBERED} arms at most, and these are {len(remembered)}")
    namespace = owner["metadata"]["namespace"]
    rules = [_remembered(routed, arm, namespace) for arm in remembered]
    spec = {"parentRefs": [dict(parent)], "rules": [*rules, _anonymous(routed, holders, namespace)]}
    labels = metadata.labels("route", name)
    return metadata.owned(HTTP_ROUTE.api_version, HTTP_ROUTE.kind, name, owner, labels, spec=spec)


def _remembered(routed: RouterStatus, arm: RouterArm, namespace: str) -> dict[str, Any]:
    crumb = f"(^|.*; ?){re.escape(cookie_name(routed))}={re.escape(arm.name)}(;.*|$)"
    cookie = {"type": "RegularExpression", "name": "Cookie", "value": crumb}
    return {
        "matches": [{"path": {"type": "PathPrefix", "value": "/"}, "headers": [cookie]}],
        **_mirror(routed, namespace),
        "backendRefs": [_backend(arm, namespace, 1, _named(arm))],
    }


def _anonymous(routed: RouterStatus, holders: list[RouterArm], namespace: str) -> dict[str, Any]:
    weights, backends = routed.weights(), []
    for arm in holders:
        headers = _named(arm)
        if routed.cookies and len(holders) > 1:
            crumb = f"{cookie_name(routed)}={arm.name}; Path=/; Max-Age={COOKIE_SECONDS}; HttpOnly; SameSite=Lax"
            headers["add"] = [{"name": "Set-Cookie", "value": crumb}]
        backends.append(_backend(arm, namespace, weights[arm.name], headers))
    matches = [{"path": {"type": "PathPrefix", "value": "/"}}]
    return {"matches": matches, **_mirror(routed, namespace), "backendRefs": backends}


def _mirror(routed: RouterStatus, namespace: str) -> dict[str, Any]:
    if routed.shadow is None:
        return {}
    backend = _service(routed.arm(routed.shadow.arm), namespace)
    mirror = {"backendRef": backend, "percent": routed.shadow.percent}
    return {"filters": [{"type": "RequestMirror", "requestMirror": mirror}]}


def _backend(arm: RouterArm, namespace: str, weight: int, headers: dict[str, Any]) -> dict[str, Any]:
    asked = {"set": [{"name": ROUTED_HEADER, "value": "1"}]}
    filters = [
        {"type": "ResponseHeaderModifier", "responseHeaderModifier": headers},
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
