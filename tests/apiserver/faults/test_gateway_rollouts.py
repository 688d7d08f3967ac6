"""Canaries by HTTPRoutes on a real API server: without the Gateway API's definitions, and with them."""

from __future__ import annotations

from typing import Any

from tests.controlplane import ControlPlane
from tests.faultproxy import FaultProxy
from tests.gateway_api import implementation, install
from tests.kube import Kube, Object, condition, until
from tests.kubelet import imports
from tests.life import deployment, model, uri
from tests.operators import Nest

ENABLED = {"TRIMTAB_GATEWAY_API": "true"}
ROLLOUT: dict[str, Any] = {
    "strategy": "Canary",
    "steps": [{"weight": 20, "seconds": 1}],
    "gates": {"minRequests": 0},
    "bakeSeconds": 10,
    "gateway": {"parentRefs": [{"name": "public", "namespace": "gateways"}], "hostnames": ["d.example.com"]},
}


async def ready(kube: Kube, namespace: str, reason: str, name: str = "d", version: str = "1") -> Object:
    """Wait until the deployment serves this version and is Ready, or not, for this reason; the condition."""

    async def check() -> Object:
        mdep = await kube.get("ModelDeployment", namespace, name)
        found = condition(mdep or {}, "Ready")
        assert (found.get("reason"), (mdep or {}).get("status", {}).get("version")) == (reason, version), found
        return found

    return await until(check, 90, f"{name} says {reason}")


async def route(kube: Kube, namespace: str) -> Object:
    found = await kube.get("HTTPRoute", namespace, "d")
    assert found is not None
    return found


async def test_a_whole_canary_by_the_weights_of_a_route_once_its_kind_is_there(
    nest: Nest, proxy: FaultProxy, kube: Kube, namespace: str, cluster: ControlPlane
) -> None:
    async with imports(kube):
        await kube.create(model(namespace))
        await kube.create(deployment(namespace, "plain"))
        await kube.create(deployment(namespace, rollout=ROLLOUT))
        blind = nest.start(proxy, namespace, settings=ENABLED)
        await ready(kube, namespace, "Reconciled", "plain")
        said = await ready(kube, namespace, "GatewayMissing")
        assert "HTTPRoute d: " in said["message"]
        blind.kill()
        install(cluster)
        nest.start(proxy, namespace, settings=ENABLED)
        await ready(kube, namespace, "GatewayNotReady")
        async with implementation(kube, namespace) as weights:
            await ready(kube, namespace, "Reconciled")
            await _edited(kube, namespace)
            await kube.patch("MLModel", namespace, "m", {"spec": {"source": {"uri": uri("m", 2)}}})
            await ready(kube, namespace, "Reconciled", version="2")
            assert weights[-3:] == [[10_000], [8_000, 2_000], [10_000]]
            await _left(kube, namespace)


async def _edited(kube: Kube, namespace: str) -> None:
    """Weights that a hand has changed are mended: the route is watched."""
    rules = (await route(kube, namespace))["spec"]["rules"]
    rules[0]["backendRefs"][0]["weight"] = 1
    await kube.patch("HTTPRoute", namespace, "d", {"spec": {"rules": rules}})

    async def mended() -> bool:
        told = (await route(kube, namespace))["spec"]["rules"][0]["backendRefs"]
        return [backend["weight"] for backend in told] == [10_000]

    await until(mended, 30, "the weights are mended")


async def _left(kube: Kube, namespace: str) -> None:
    """With another strategy the route goes."""
    await kube.patch("ModelDeployment", namespace, "d", {"spec": {"rollout": None}})

    async def gone() -> bool:
        return await kube.get("HTTPRoute", namespace, "d") is None

    await until(gone, 30, "the route is gone")
