"""The children that make a router: two Envoys, spread and protected, told what to do over xDS. Pure.

The pods hold nothing: what they are started with is in their environment, what they do comes from the operator. Each
start of the process draws a random epoch and puts it into the name of a counter, so that whoever reads the counters can
tell a restart from a router that lost count.
"""

from __future__ import annotations

import json
from typing import Any

from trimtab.core import metadata
from trimtab.core.objects import DEPLOYMENT, DISRUPTION_BUDGET, NETWORK_POLICY, Object, Resource
from trimtab.core.platform import CONTAINER_SECURITY, POD_SECURITY, Platform
from trimtab.traffic.bootstrap import ADMIN_PORT, EPOCH, HEAP_BYTES, HTTP_PORT, REPORT_PORT, bootstrap
from trimtab.traffic.state import RouterStatus

REPLICAS = 2
WORKERS = 2
DRAIN_SECONDS = 10
DNS_PORT = 53
MIB = 1 << 20
START = (
    "read -r epoch </proc/sys/kernel/random/uuid && "
    f'exec envoy --config-yaml "${{BOOTSTRAP//{EPOCH}/$epoch}}" '
    '--service-node "$POD_NAME" --service-cluster "$ROUTER" '
    f"--concurrency {WORKERS} --disable-hot-restart --log-level warning "
    f"--drain-time-s {DRAIN_SECONDS} --drain-strategy immediate"
)
"""Needs bash and envoy on the PATH, and nothing that could be written to."""
STOP = (
    f"exec 3<>/dev/tcp/127.0.0.1/{ADMIN_PORT} && "
    r"printf 'POST /drain_listeners?graceful&skip_exit HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n' >&3 && "
    f"read -r -t 2 answer <&3; sleep {DRAIN_SECONDS}"
)
"""From here on each answer closes its connection, while Services stop sending new ones; SIGTERM then ends the process
at once, which by itself would cut off whatever is under way."""


def router_name(name: str) -> str:
    """The name of all children of the router of the resource `name`."""
    return f"{name}-router"


def selector(name: str) -> dict[str, str]:
    """The labels of a router's pods, for the Service in front of it; the port to send to is named `http`."""
    return {metadata.ROUTER: name}


def node_cluster(owner: Object) -> str:
    """How a router tells the operator whose it is: plural, namespace and name."""
    return f"{owner['kind'].lower()}s/{owner['metadata']['namespace']}/{owner['metadata']['name']}"


def children(owner: Object, name: str, platform: Platform, routed: RouterStatus) -> list[Object]:
    """Deployment, disruption budget and network policy of a router. `owner` needs kind and metadata only."""
    return [
        _deployment(owner, name, platform),
        _disruption_budget(owner, name),
        _network_policy(owner, name, platform, routed),
    ]


def _deployment(owner: Object, name: str, platform: Platform) -> Object:
    pod = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": POD_SECURITY,
        "terminationGracePeriodSeconds": DRAIN_SECONDS + 15,
        "topologySpreadConstraints": [_spread(name)],
        "containers": [_envoy(owner, platform)],
    }
    spec = {
        "replicas": REPLICAS,
        "selector": {"matchLabels": selector(name)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "revisionHistoryLimit": 2,
        "progressDeadlineSeconds": 600,
        "template": {"metadata": {"labels": _labels(name)}, "spec": pod},
    }
    return _child(owner, DEPLOYMENT, name, spec)


def _envoy(owner: Object, platform: Platform) -> dict[str, Any]:
    """No liveness probe: Envoy's own watchdogs end a process that hangs, and one that waits for its first routes must
    not be restarted for it."""
    told = json.dumps(bootstrap(platform.xds_address), sort_keys=True, separators=(",", ":"))
    return {
        "name": "envoy",
        "image": platform.router_image,
        "imagePullPolicy": platform.pull_policy,
        "command": ["bash", "-c", START],
        "env": [
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}},
            {"name": "ROUTER", "value": node_cluster(owner)},
            {"name": "BOOTSTRAP", "value": told},
        ],
        "ports": [
            {"name": "http", "containerPort": HTTP_PORT, "protocol": "TCP"},
            {"name": "report", "containerPort": REPORT_PORT, "protocol": "TCP"},
        ],
        "resources": {
            "requests": {"cpu": "100m", "memory": "96Mi"},
            "limits": {"memory": f"{HEAP_BYTES // MIB + 128}Mi"},
        },
        "securityContext": CONTAINER_SECURITY,
        "readinessProbe": {
            "httpGet": {"path": "/ready", "port": "report", "scheme": "HTTP"},
            "periodSeconds": 1,
            "timeoutSeconds": 2,
            "failureThreshold": 3,
        },
        "lifecycle": {"preStop": {"exec": {"command": ["bash", "-c", STOP]}}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _disruption_budget(owner: Object, name: str) -> Object:
    spec = {
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": selector(name)},
    }
    return _child(owner, DISRUPTION_BUDGET, name, spec)


def _network_policy(owner: Object, name: str, platform: Platform, routed: RouterStatus) -> Object:
    """In: users, and whoever reads the counters. Out: name resolution, the operator, and the arms."""
    asked = int(platform.xds_address.rpartition(":")[2])
    ports = sorted({asked, *(arm.port for arm in routed.arms)})
    spec = {
        "podSelector": {"matchLabels": selector(name)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"ports": [{"port": port, "protocol": "TCP"} for port in (HTTP_PORT, REPORT_PORT)]}],
        "egress": [
            {"ports": [{"port": DNS_PORT, "protocol": protocol} for protocol in ("UDP", "TCP")]},
            {"ports": [{"port": port, "protocol": "TCP"} for port in ports]},
        ],
    }
    return _child(owner, NETWORK_POLICY, name, spec)


def _spread(name: str) -> dict[str, Any]:
    return {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": selector(name)},
    }


def _labels(name: str) -> dict[str, str]:
    return metadata.labels("router", name, **selector(name))


def _child(owner: Object, resource: Resource, name: str, spec: dict[str, Any]) -> Object:
    return metadata.owned(resource.api_version, resource.kind, router_name(name), owner, _labels(name), spec=spec)
