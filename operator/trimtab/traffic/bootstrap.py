"""What an Envoy is started with: where to ask for its routes, where to listen, how much to take on. Pure.

It names no arm and no weight, so it changes with the operator's version alone, and no change of traffic restarts a
router. With `initial_fetch_timeout` 0 an Envoy opens no port before it has clusters and routes: one that starts while
nobody answers is not ready, and is given no traffic, until somebody does.
"""

from __future__ import annotations

from typing import Any

from trimtab.traffic.envoy import API, HTTP_OPTIONS, ROUTES_NAME

Json = dict[str, Any]

HTTP_PORT = 8080
ADMIN_PORT = 9901
REPORT_PORT = 9902
EPOCH = "@EPOCH@"
"""Stands for a random name that each start of the process puts in its place; see router.py."""
EPOCH_PREFIX = "epoch-"
XDS = "xds"
ADMIN = "admin"
READABLE = ("/ready", "/stats", "/stats/prometheus")

HOLD_SECONDS = 10
"""How long the operator holds a router's question while there is nothing new."""
ASK_SECONDS = HOLD_SECONDS + 2
PAUSE = "0.1s"

LATENCY_EDGES_MILLISECONDS = (
    *(1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80),
    *(100, 120, 150, 200, 250, 300, 400, 500, 600, 800),
    *(1_000, 1_500, 2_000, 3_000, 5_000, 10_000, 30_000, 60_000),
)
"""Envoy counts milliseconds begun: below an edge is what took less than it."""
CONNECTIONS = 10_000
HEADERS_KIB = 60
HEAP_BYTES = 384 << 20


def bootstrap(xds_address: str) -> Json:
    """The whole configuration file, as a JSON object. `xds_address` is host:port of the operator."""
    host, _, port = xds_address.rpartition(":")
    return {
        "admin": {"address": _address("127.0.0.1", ADMIN_PORT)},
        "dynamic_resources": {"cds_config": _asked()},
        "static_resources": {
            "clusters": [_static(XDS, host, int(port)), _static(ADMIN, "127.0.0.1", ADMIN_PORT)],
            "listeners": [
                _listener("http", HTTP_PORT, _traffic()),
                _listener("report", REPORT_PORT, _report()),
            ],
        },
        "stats_flush_interval": "1s",  # histograms are as old as the last flush
        "stats_config": {"histogram_bucket_settings": [_edges()]},
        "overload_manager": _overload(),
        "watchdogs": {"main_thread_watchdog": _watchdog(), "worker_watchdog": _watchdog()},
    }


def _asked() -> Json:
    """xDS over plain HTTP, held open by the operator until there is news; whatever was told last stays in force."""
    source = {
        "api_type": "REST",
        "transport_api_version": "V3",
        "cluster_names": [XDS],
        "refresh_delay": PAUSE,
        "request_timeout": f"{ASK_SECONDS}s",
    }
    return {"resource_api_version": "V3", "api_config_source": source, "initial_fetch_timeout": "0s"}


def _traffic() -> Json:
    """The listener that users reach. Headers by which a client could steer the router, or pass for it, are dropped
    before any route is looked at."""
    dropped = [{"remove_on_match": {"key_matcher": {"prefix": prefix}}} for prefix in ("x-trimtab-", "x-envoy-")]
    mutation = f"{API}.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"
    return {
        "stat_prefix": "router",
        "rds": {"route_config_name": ROUTES_NAME, "config_source": _asked()},
        "early_header_mutation_extensions": [
            {
                "name": "envoy.http.early_header_mutation.header_mutation",
                "typed_config": {"@type": mutation, "mutations": dropped},
            }
        ],
        "generate_request_id": False,
        "preserve_external_request_id": True,
        "skip_xff_append": True,
        "server_header_transformation": "PASS_THROUGH",
        "max_request_headers_kb": HEADERS_KIB,
        "request_headers_timeout": "10s",
        "common_http_protocol_options": {"idle_timeout": "300s"},
    }


def _report() -> Json:
    """Three pages of the admin interface, to be read only; the rest of it stays on the loopback."""
    readable = [
        {
            "match": {"path": path, "headers": [{"name": ":method", "string_match": {"exact": "GET"}}]},
            "route": {"cluster": ADMIN, "timeout": "5s"},
        }
        for path in READABLE
    ]
    rest = {"match": {"prefix": "/"}, "direct_response": {"status": 404}}
    host = {"name": "report", "domains": ["*"], "routes": [*readable, rest]}
    return {"stat_prefix": EPOCH_PREFIX + EPOCH, "route_config": {"name": "report", "virtual_hosts": [host]}}


def _listener(name: str, port: int, manager: Json) -> Json:
    router = {"@type": f"{API}.extensions.filters.http.router.v3.Router", "suppress_envoy_headers": True}
    typed = {
        "@type": f"{API}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        **manager,
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": typed}]
    return {"name": name, "address": _address("0.0.0.0", port), "filter_chains": [{"filters": filters}]}  # noqa: S104


def _static(name: str, host: str, port: int) -> Json:
    endpoint = {"endpoint": {"address": _address(host, port)}}
    return {
        "name": name,
        "type": "STRICT_DNS",
        "dns_lookup_family": "V4_PREFERRED",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": HTTP_OPTIONS,
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
    }


def _address(host: str, port: int) -> Json:
    return {"socket_address": {"address": host, "port_value": port}}


def _edges() -> Json:
    return {"match": {"suffix": "upstream_rq_time"}, "buckets": list(LATENCY_EDGES_MILLISECONDS)}


def _overload() -> Json:
    """Limits that turn new work away before the kernel would end the process: connections, and memory."""
    monitors = f"{API}.extensions.resource_monitors"
    downstream = "envoy.resource_monitors.global_downstream_max_connections"
    connections = {
        "@type": f"{monitors}.downstream_connections.v3.DownstreamConnectionsConfig",
        "max_active_downstream_connections": CONNECTIONS,
    }
    heap = {"@type": f"{monitors}.fixed_heap.v3.FixedHeapConfig", "max_heap_size_bytes": HEAP_BYTES}
    return {
        "refresh_interval": "0.25s",
        "resource_monitors": [
            {"name": downstream, "typed_config": connections},
            {"name": "envoy.resource_monitors.fixed_heap", "typed_config": heap},
        ],
        "actions": [
            _action("shrink_heap", 0.85),
            _action("disable_http_keepalive", 0.9),
            _action("stop_accepting_requests", 0.95),
        ],
    }


def _action(name: str, threshold: float) -> Json:
    trigger = {"name": "envoy.resource_monitors.fixed_heap", "threshold": {"value": threshold}}
    return {"name": f"envoy.overload_actions.{name}", "triggers": [trigger]}


def _watchdog() -> Json:
    """A thread that hangs ends the process, and the kubelet starts it anew: what a liveness probe would do, without
    restarting a router that waits for the operator."""
    return {"miss_timeout": "2s", "megamiss_timeout": "10s", "kill_timeout": "30s", "max_kill_timeout_jitter": "5s"}
