"""The addresses of the local cluster, and the few marks it makes in the machine's network.

Nothing may leave the machine. The node's address lies on `lo`, and so does a route for the Service range: without it
a packet to a ClusterIP would pick the default route, and its source address, before kube-proxy's OUTPUT rule rewrites
it. (A `dummy` interface would be tidier, but not every kernel has that driver.)
"""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import TypeVar

from hack.cluster import paths
from hack.command import Failure, run

BRIDGE = "trim0"
SYSCTLS = ("net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables")
_Parsed = TypeVar("_Parsed")
_SAVED_SYSCTLS = paths.STATE / "sysctls.json"


@dataclass(frozen=True)
class Network:
    """Addresses of one cluster: where the node answers, where Pods live, where Services live."""

    node: IPv4Address
    pods: IPv4Network
    services: IPv4Network

    @property
    def api_service(self) -> IPv4Address:
        """ClusterIP of the `kubernetes` Service: by convention the first of the range."""
        return self.services[1]

    @property
    def dns_service(self) -> IPv4Address:
        """ClusterIP of the DNS Service: by convention the tenth of the range."""
        return self.services[10]


def from_environment(env: Mapping[str, str] = os.environ) -> Network:
    """Read the addresses; `TRIMTAB_NODE_IP`, `TRIMTAB_POD_CIDR`, `TRIMTAB_SERVICE_CIDR` replace the defaults."""
    network = Network(
        node=_parsed(IPv4Address, env, "TRIMTAB_NODE_IP", "10.245.0.1"),
        pods=_parsed(IPv4Network, env, "TRIMTAB_POD_CIDR", "10.244.0.0/24"),
        services=_parsed(IPv4Network, env, "TRIMTAB_SERVICE_CIDR", "10.96.0.0/16"),
    )
    if network.pods.overlaps(network.services) or network.node in network.pods or network.node in network.services:
        raise Failure(
            f"node {network.node}, pods {network.pods} and services {network.services} overlap: "
            "set TRIMTAB_NODE_IP, TRIMTAB_POD_CIDR and TRIMTAB_SERVICE_CIDR to ranges apart from each other"
        )
    return network


def _parsed(kind: Callable[[str], _Parsed], env: Mapping[str, str], name: str, default: str) -> _Parsed:
    text = env.get(name, default)
    try:
        return kind(text)
    except ValueError as error:
        raise Failure(f"{name}={text} is not usable ({error}): it takes an address such as {default}") from error


def conflicts(network: Network, routes: Iterable[Mapping[str, str]]) -> list[str]:
    """Name the machine's routes that already lead to the cluster's ranges; ours and the default route are no conflict.

    `routes` are the objects of `ip -json route`, keys `dst` and `dev`.
    """
    ours = {("lo", str(network.services)), (BRIDGE, str(network.pods))}
    found = []
    for route in routes:
        device = route.get("dev", "no device")
        if route["dst"] == "default" or (device, route["dst"]) in ours:
            continue
        taken = ipaddress.ip_network(route["dst"], strict=False)
        if any(taken.overlaps(range_) for range_ in (network.pods, network.services)) or network.node in taken:
            found.append(f"{route['dst']} on {device}")
    return found


def attach(network: Network) -> None:
    """Give the node its address, keep Service packets on the machine, let the kernel forward between Pods."""
    taken = conflicts(network, json.loads(run(["ip", "-4", "-json", "route"])))
    if taken:
        raise Failure(
            f"this machine already routes {', '.join(taken)}, which the local cluster would cover: choose other "
            "ranges with TRIMTAB_NODE_IP, TRIMTAB_POD_CIDR, TRIMTAB_SERVICE_CIDR"
        )
    run(["ip", "address", "replace", f"{network.node}/32", "dev", "lo"])
    run(["ip", "route", "replace", str(network.services), "dev", "lo", "src", str(network.node)])
    _set_sysctls()


def detach(network: Network) -> None:
    """Undo `attach` and remove the Pods' bridge; what is not there any more is no error."""
    run(["ip", "link", "delete", BRIDGE], check=False)
    run(["ip", "route", "delete", str(network.services), "dev", "lo"], check=False)
    run(["ip", "address", "delete", f"{network.node}/32", "dev", "lo"], check=False)
    if _SAVED_SYSCTLS.exists():
        for name, value in json.loads(_SAVED_SYSCTLS.read_text()).items():
            _sysctl(name).write_text(value)
        _SAVED_SYSCTLS.unlink()


def _set_sysctls() -> None:
    if not _sysctl(SYSCTLS[1]).exists():
        run(["modprobe", "br_netfilter"], check=False)
    missing = [name for name in SYSCTLS if not _sysctl(name).exists()]
    if missing:
        raise Failure(f"the kernel has no {', '.join(missing)}: load the module br_netfilter (modprobe br_netfilter)")
    before = {name: _sysctl(name).read_text().strip() for name in SYSCTLS}
    if not _SAVED_SYSCTLS.exists():
        # The first look is the true one: after a killed `up` the values are already ours.
        _SAVED_SYSCTLS.write_text(json.dumps(before))
    for name, value in before.items():
        if value != "1":
            _sysctl(name).write_text("1")


def _sysctl(name: str) -> Path:
    return Path("/proc/sys") / name
