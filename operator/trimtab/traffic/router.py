"""The children that make a router: two Envoys, spread and protected, told what to do over xDS. Pure."""

from __future__ import annotations

from trimtab.core import metadata
from trimtab.core.objects import Object
from trimtab.core.platform import Platform
from trimtab.traffic.state import RouterStatus

HTTP_PORT = 8080
REPORT_PORT = 9902


def router_name(name: str) -> str:
    """The name of all children of the router of the resource `name`."""
    return f"{name}-router"


def selector(name: str) -> dict[str, str]:
    """The labels of a router's pods, for the Service in front of it; the port to send to is named `http`."""
    return {metadata.ROUTER: name}


def children(owner: Object, name: str, platform: Platform, routed: RouterStatus) -> list[Object]:
    """Deployment, disruption budget and network policy of a router. `owner` needs kind and metadata only."""
    raise NotImplementedError
