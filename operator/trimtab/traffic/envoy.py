"""What Envoy is told of a RouterStatus: clusters and routes, in its v3 API. Needs Envoy 1.36 or later. Pure.

Identified users are hashed with the salt in front of their name, over weighted clusters whose weights always add up to
10,000 (see slots.py). Everybody else is given an arm at random and a cookie that names it. Both forms can only choose
among arms that hold slots, so an arm that is taken out of service has no user left from that moment on.
"""

from __future__ import annotations

import re
from typing import Any

from trimtab.traffic.slots import Interval, intervals
from trimtab.traffic.state import RouterArm, RouterStatus

Json = dict[str, Any]

API = "type.googleapis.com/envoy"
CLUSTER = f"{API}.config.cluster.v3.Cluster"
ROUTES = f"{API}.config.route.v3.RouteConfiguration"
HTTP_OPTIONS = f"{API}.extensions.upstreams.http.v3.HttpProtocolOptions"
PREVIOUS_HOSTS = f"{API}.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"

ROUTES_NAME = "router"
ARM, SHADOW = "arm_", "shadow_"
"""What the names of clusters begin with: no name of an arm has an underscore, so no two clusters can be confused."""

ARM_HEADER = "x-trimtab-arm"
REVISION_HEADER = "x-trimtab-arm-revision"
"""Not the model server's own `x-trimtab-revision`, which is the digest of its model and passes unchanged."""
ROUTED_HEADER = "x-trimtab-routed"
"""Of requests on their way to an arm: its model server then answers whatever the model is called in the path, because
arms are deployments of different names, and users cannot know whose they get."""
COOKIE_SECONDS = 7 * 86_400
REQUEST_SECONDS = 60
IDLE_SECONDS = 60
"""Less than the 120 s after which a model server closes an idle connection, so that the two never meet half-way."""
LARGEST = 10_000
ANY = {"prefix": "/"}


def clusters(status: RouterStatus) -> list[Json]:
    """One cluster an arm, and one for the shadow, so that copies are never counted with requests."""
    found = [_cluster(ARM + arm.name, arm) for arm in status.arms]
    if status.shadow is not None:
        found.append(_cluster(SHADOW + status.shadow.arm, status.arm(status.shadow.arm)))
    return found


def routes(status: RouterStatus) -> list[Json]:
    """The one route table."""
    host: Json = {
        "name": ROUTES_NAME,
        "domains": ["*"],
        "retry_policy": _retries(),
        "request_headers_to_add": [_header(ROUTED_HEADER, "1")],
        "routes": _routes(status),
    }
    return [{"@type": ROUTES, "name": ROUTES_NAME, "virtual_hosts": [host]}]


def cookie_name(status: RouterStatus) -> str:
    """The cookie that remembers an anonymous visitor's arm; a new salt makes all old ones meaningless."""
    return f"trimtab-{status.salt}"


def _routes(status: RouterStatus) -> list[Json]:
    holders = [status.arm(name) for name, weight in status.weights().items() if weight]
    found = [_identified(status)] if status.header else []
    if status.cookies and len(holders) > 1:
        found += [_remembered(status, arm) for arm in holders]
    return [*found, _anonymous(status, holders)]


def _identified(status: RouterStatus) -> Json:
    """An empty header is no name: without the second condition all who send one would share an arm."""
    name = status.header.lower()
    salted = {"pattern": {"regex": "^"}, "substitution": f"{status.salt}:"}
    weighted = {"use_hash_policy": True, "clusters": [_share(status, interval) for interval in intervals(status)]}
    named = [
        {"name": name, "present_match": True},
        {"name": name, "string_match": {"exact": ""}, "invert_match": True},
    ]
    action = {
        "weighted_clusters": weighted,
        "hash_policy": [{"header": {"header_name": name, "regex_rewrite": salted}}],
    }
    return {"match": {**ANY, "headers": named}, "route": {**action, **_common(status)}}


def _remembered(status: RouterStatus, arm: RouterArm) -> Json:
    crumb = f"(^|.*; ?){re.escape(cookie_name(status))}={re.escape(arm.name)}(;.*|$)"
    cookie = {"name": "cookie", "string_match": {"safe_regex": {"regex": crumb}}}
    return {
        "match": {**ANY, "headers": [cookie]},
        "route": {"cluster": ARM + arm.name, **_common(status)},
        "response_headers_to_add": _named(arm),
    }


def _anonymous(status: RouterStatus, holders: list[RouterArm]) -> Json:
    shares = [_share(status, Interval(arm.name, status.weights()[arm.name])) for arm in holders]
    if status.cookies and len(holders) > 1:
        for share, arm in zip(shares, holders, strict=True):
            share["response_headers_to_add"].append(_cookie(status, arm))
    return {"match": ANY, "route": {"weighted_clusters": {"clusters": shares}, **_common(status)}}


def _share(status: RouterStatus, interval: Interval) -> Json:
    named = _named(status.arm(interval.arm))
    return {"name": ARM + interval.arm, "weight": interval.slots, "response_headers_to_add": named}


def _named(arm: RouterArm) -> list[Json]:
    """Set over whatever the model server says, which cannot know its arm and is not asked for it."""
    given = {ARM_HEADER: arm.name, REVISION_HEADER: arm.revision}
    return [_header(key, value) for key, value in given.items() if value]


def _header(key: str, value: str) -> Json:
    return {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def _cookie(status: RouterStatus, arm: RouterArm) -> Json:
    crumb = f"{cookie_name(status)}={arm.name}; Path=/; Max-Age={COOKIE_SECONDS}; HttpOnly; SameSite=Lax"
    return {"header": {"key": "set-cookie", "value": crumb}, "append_action": "APPEND_IF_EXISTS_OR_ADD"}


def _common(status: RouterStatus) -> Json:
    common: Json = {"timeout": f"{REQUEST_SECONDS}s"}
    if status.shadow is not None:
        fraction = {"default_value": {"numerator": status.shadow.percent, "denominator": "HUNDRED"}}
        mirror = {"cluster": SHADOW + status.shadow.arm, "runtime_fraction": fraction, "trace_sampled": False}
        common["request_mirror_policies"] = [mirror]
    return common


def _retries() -> Json:
    """Only what a model server cannot have worked on yet is tried again, and on another pod.

    A request that kills the pod it reaches must not be sent on to the next one.
    """
    elsewhere = {"name": "envoy.retry_host_predicates.previous_hosts", "typed_config": {"@type": PREVIOUS_HOSTS}}
    return {
        "retry_on": "connect-failure,refused-stream,reset-before-request,retriable-status-codes",
        "retriable_status_codes": [503],
        "num_retries": 2,
        "retry_back_off": {"base_interval": "0.005s", "max_interval": "0.05s"},
        "retry_host_predicate": [elsewhere],
        "host_selection_retry_max_attempts": 3,
    }


def _cluster(name: str, arm: RouterArm) -> Json:
    """Its pods are found by the name of a headless Service, and asked for every two seconds: a pod that left has some
    seconds of grace, in which a connection that fails is tried on another."""
    address = {"socket_address": {"address": arm.host, "port_value": arm.port}}
    return {
        "@type": CLUSTER,
        "name": name,
        "type": "STRICT_DNS",
        "dns_lookup_family": "V4_PREFERRED",
        "dns_refresh_rate": "2s",
        "dns_failure_refresh_rate": {"base_interval": "0.5s", "max_interval": "2s"},
        "connect_timeout": "1s",
        "lb_policy": "LEAST_REQUEST",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        "outlier_detection": {
            "consecutive_5xx": 5,
            "interval": "5s",
            "base_ejection_time": "15s",
            "max_ejection_percent": 50,
        },
        "circuit_breakers": {"thresholds": [_limits()]},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": HTTP_OPTIONS,
                "common_http_protocol_options": {"idle_timeout": f"{IDLE_SECONDS}s"},
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
    }


def _limits() -> Json:
    """High enough never to bind before the router's own overload limits; retries stay a fifth of what is under way."""
    budget = {"budget_percent": {"value": 20}, "min_retry_concurrency": 10}
    return {
        "max_connections": LARGEST,
        "max_pending_requests": LARGEST,
        "max_requests": LARGEST,
        "retry_budget": budget,
    }
