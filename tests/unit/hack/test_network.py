"""Where the cluster's addresses come from, and when they would cover something of the machine's."""

from ipaddress import IPv4Address

import pytest

from hack.cluster.network import BRIDGE, conflicts, from_environment
from hack.command import Failure


def test_addresses_that_others_rely_on_are_derived_from_the_service_range() -> None:
    network = from_environment({"TRIMTAB_SERVICE_CIDR": "172.20.0.0/16"})
    assert network.api_service == IPv4Address("172.20.0.1")
    assert network.dns_service == IPv4Address("172.20.0.10")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TRIMTAB_NODE_IP", "somewhere"),
        ("TRIMTAB_POD_CIDR", "10.244.0.1/24"),
        ("TRIMTAB_SERVICE_CIDR", "10.96.0.0/99"),
    ],
)
def test_a_value_that_is_no_address_says_which_and_what_it_should_be(name: str, value: str) -> None:
    with pytest.raises(Failure, match=f"^{name}={value} is not usable .* such as 10"):
        from_environment({name: value})


@pytest.mark.parametrize(
    "env",
    [
        {"TRIMTAB_POD_CIDR": "10.96.7.0/24"},
        {"TRIMTAB_NODE_IP": "10.244.0.9"},
        {"TRIMTAB_NODE_IP": "10.96.0.9"},
    ],
)
def test_ranges_that_overlap_are_refused(env: dict[str, str]) -> None:
    with pytest.raises(Failure, match="overlap"):
        from_environment(env)


def test_own_and_default_routes_are_no_conflict() -> None:
    network = from_environment({})
    routes = [
        {"dst": "default", "dev": "eth0"},
        {"dst": "192.168.1.0/24", "dev": "eth0"},
        {"dst": str(network.services), "dev": "lo"},
        {"dst": str(network.pods), "dev": BRIDGE},
    ]
    assert conflicts(network, routes) == []


def test_a_strangers_route_into_our_ranges_is_named() -> None:
    routes = [
        {"dst": "10.96.0.0/12", "dev": "vpn0"},
        {"dst": "10.244.0.0/24", "dev": "cni0"},
        {"dst": "10.245.0.1", "dev": "tun0"},
        {"type": "unreachable", "dst": "10.0.0.0/8"},
    ]
    expected = ["10.96.0.0/12 on vpn0", "10.244.0.0/24 on cni0", "10.245.0.1 on tun0", "10.0.0.0/8 on no device"]
    assert conflicts(from_environment({}), routes) == expected
