"""The children of an ABTest: the Service its users call, and the routers behind it. Pure."""

from __future__ import annotations

from trimtab.core import metadata
from trimtab.core.objects import SERVICE, Object
from trimtab.core.platform import Platform
from trimtab.kinds.abtest.api import ABTest
from trimtab.traffic import router
from trimtab.traffic.state import RouterStatus

SERVICE_PORT = 80


def children(test: ABTest, platform: Platform, routed: RouterStatus) -> tuple[Object, ...]:
    """Policies and routers first, then the Service in front of them."""
    owner = {"kind": test.kind, "metadata": test.metadata}
    return (*router.children(owner, test.metadata["name"], platform, routed), front(test))


def front(test: ABTest) -> Object:
    """The Service that the experiment's users call."""
    name = test.metadata["name"]
    spec = {
        "type": "ClusterIP",
        "selector": router.selector(name),
        "ports": [{"name": "http", "port": SERVICE_PORT, "targetPort": "http", "protocol": "TCP"}],
    }
    owner = {"kind": test.kind, "metadata": test.metadata}
    labels = metadata.labels("router", name, **router.selector(name))
    return metadata.owned(SERVICE.api_version, SERVICE.kind, name, owner, labels, spec=spec)
