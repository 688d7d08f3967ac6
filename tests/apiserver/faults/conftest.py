"""What fault tests share: a quick control plane, and operators behind a proxy that fails on purpose."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.controlplane import ControlPlane
from tests.faultproxy import FaultProxy
from tests.kube import Kube
from tests.lives import Undisturbed, undisturbed_life
from tests.operators import Nest
from tests.quiet import Quiet, settled

log = logging.getLogger(__name__)
FASTER = ("--kube-api-qps=2000", "--kube-api-burst=4000")
FLAGS = {
    "kube-apiserver": ["--enable-admission-plugins=OwnerReferencesPermissionEnforcement"],
    "kube-controller-manager": [*FASTER, "--horizontal-pod-autoscaler-sync-period=1s"],
    "kube-scheduler": FASTER,
}


@pytest.fixture(scope="session")
def cluster() -> Iterator[ControlPlane]:
    """A control plane with controllers and a pretended node, whose own limits are lifted."""
    control_plane = ControlPlane.start(controllers=True, kwok=True, crds=True, flags=FLAGS)
    try:
        yield control_plane
    finally:
        control_plane.stop()


@pytest.fixture(scope="session")
def hatchery(cluster: ControlPlane) -> Iterator[Nest]:
    """The one place that operators are forked from."""
    with Nest(cluster.folder) as nest:
        yield nest


@pytest.fixture(scope="session")
def undisturbed(cluster: ControlPlane, hatchery: Nest) -> Undisturbed:
    """A full life in which nothing happens: what others are held against."""
    return asyncio.run(undisturbed_life(cluster, hatchery))


@pytest.fixture(scope="session")
def quiet(cluster: ControlPlane, hatchery: Nest) -> Iterator[Quiet]:
    """A namespace where nothing is left to do; its minute of silence passes while other tests wait."""
    with settled(cluster, hatchery) as namespace:
        yield namespace


@pytest.fixture
def nest(hatchery: Nest, proxy: FaultProxy) -> Iterator[Nest]:
    """Starts operators; kills them after the test, before the proxy goes, and logs the end of what they said."""
    others = list(hatchery.operators)
    try:
        yield hatchery
    finally:
        own = [operator for operator in hatchery.operators if operator not in others]
        for operator in own:
            log.info("%s (exit code %s) said:\n%s", operator.caller, operator.exit_code, operator.log[-3_000:])
        hatchery.clear(own)


@pytest.fixture
def proxy(cluster: ControlPlane) -> Iterator[FaultProxy]:
    """What stands between the operators and the API server."""
    with FaultProxy(cluster) as running:
        yield running


@pytest.fixture
async def kube(cluster: ControlPlane) -> AsyncIterator[Kube]:
    """The user's client, which goes straight to the API server."""
    async with Kube(cluster) as client:
        yield client


@pytest.fixture
async def namespace(kube: Kube) -> str:
    """A namespace of the test's own."""
    return await kube.fresh_namespace()
