"""A namespace where all is done, and the operator that has nothing left to do there."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

from tests.controlplane import ControlPlane
from tests.faultproxy import FaultProxy
from tests.kube import Kube, condition, until
from tests.kubelet import imports
from tests.life import AUTOSCALING, deployment, model
from tests.operators import Nest, Operator
from tests.registry import Registry

QUIET_SECONDS = 60.0


@dataclass(frozen=True)
class Quiet:
    """Since when it is quiet, by the monotonic clock, and after how many calls."""

    proxy: FaultProxy
    registry: Registry
    operator: Operator
    since: float
    calls_before: int


@contextlib.contextmanager
def settled(plane: ControlPlane, nest: Nest) -> Iterator[Quiet]:
    """A model followed by its alias, deployments of it with and without autoscaling, and one without its model."""
    with Registry() as registry, FaultProxy(plane) as proxy:
        registry.aliases["risk@champion"] = 1
        operator, calls = asyncio.run(_settle(plane, nest, proxy, registry))
        try:
            yield Quiet(proxy, registry, operator, time.monotonic(), calls)
        finally:
            nest.clear([operator])


async def _settle(plane: ControlPlane, nest: Nest, proxy: FaultProxy, registry: Registry) -> tuple[Operator, int]:
    async with Kube(plane) as kube, imports(kube):
        namespace = await kube.fresh_namespace()
        settings = {"MLFLOW_TRACKING_URI": registry.url, "TRIMTAB_MLFLOW_TRACKING_URI": registry.url}
        operator = nest.start(proxy, namespace, settings={**settings, "TRIMTAB_RESYNC_SECONDS": "10"})
        followed = model(namespace, "risk")
        followed["spec"]["source"] = {"uri": "models:/risk@champion", "pollSeconds": 5}
        for obj in (
            followed,
            model(namespace, "fixed"),
            deployment(namespace, "plain", "risk"),
            deployment(namespace, "scaled", "fixed", autoscaling=AUTOSCALING),
            deployment(namespace, "waiting", "missing"),
        ):
            await kube.create(obj)
        wanted = {"risk": "True", "fixed": "True", "plain": "True", "scaled": "True", "waiting": "False"}
        seen: list[int] = []

        async def done() -> bool:
            found = await kube.list("MLModel", namespace) + await kube.list("ModelDeployment", namespace)
            assert {o["metadata"]["name"]: condition(o, "Ready").get("status") for o in found} == wanted
            assert not await kube.list("Job", namespace)
            # Its last status can still be on its way: quiet is when two looks at the proxy agree.
            seen.append(len(proxy.calls(verb="patch")))
            return len(seen) > 1 and seen[-1] == seen[-2]

        await until(done, 60, "a namespace where all is done")
        return operator, len(proxy.calls())
