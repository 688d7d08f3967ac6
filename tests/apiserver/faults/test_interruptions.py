"""The way to the API server is cut, the server itself goes, and watches tell too little, too much or in disorder."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

import pytest

from tests.controlplane import ControlPlane
from tests.faultproxy import FaultProxy
from tests.faults import WRITES, Call, Events, Expire, Status, drop, duplicate, reorder
from tests.kube import Kube, Object, until
from tests.kubelet import imports
from tests.life import Life
from tests.operators import Nest

log = logging.getLogger(__name__)
WATCHED = (
    "mlmodels",
    "modeldeployments",
    "deployments",
    "services",
    "horizontalpodautoscalers",
    "poddisruptionbudgets",
    "networkpolicies",
    "jobs",
    "pods",
)
OFTEN = {"TRIMTAB_RESYNC_SECONDS": "1"}


async def test_survives_a_restart_of_the_api_server(
    nest: Nest, proxy: FaultProxy, kube: Kube, namespace: str, cluster: ControlPlane
) -> None:
    """Killed like in a power cut, while the operator is in the middle of a switch."""
    operator = nest.start(proxy, namespace)
    life = Life(kube, namespace)
    async with imports(kube):
        await life.create()
        cut = asyncio.Event()
        loop = asyncio.get_running_loop()

        def kill(call: Call, _: int) -> None:
            if call.verb in WRITES and call.resource == "jobs" and not cut.is_set():
                cluster.stop_apiserver()
                loop.call_soon_threadsafe(cut.set)

        proxy.after.append(kill)
        change = {"spec": {"source": {"uri": f"models:/{life.model_name}/2"}}}
        await kube.patch("MLModel", namespace, life.model_name, change)
        await asyncio.wait_for(cut.wait(), 10)
        cluster.start_apiserver()  # in this thread, as a program ends with the thread that started it
        back = time.monotonic()
        await life.settled(version=2, pods=2)
        log.info("settled %.1f s after the API server was back", time.monotonic() - back)
        await life.scale(3)
    assert operator.exit_code is None
    created = [r for r in proxy.calls(resource="jobs", verb="patch") if r.upstream == 201]
    assert len(created) == 2, "one Job for each version, no more"


async def test_survives_watches_that_break(nest: Nest, proxy: FaultProxy, kube: Kube, namespace: str) -> None:
    operator = nest.start(proxy, namespace)
    life = Life(kube, namespace)
    async with imports(kube):
        for step in (life.create, life.switch, life.delete):
            acting = asyncio.create_task(step())
            while not acting.done():
                proxy.cut_watches()
                await asyncio.wait({acting}, timeout=0.5)
            await acting
    assert operator.exit_code is None


async def test_survives_a_long_time_of_errors(nest: Nest, proxy: FaultProxy, kube: Kube, namespace: str) -> None:
    """Five failures of each watch in a row, which no patience that ends would bear."""
    operator = nest.start(proxy, namespace)
    life = Life(kube, namespace)
    async with imports(kube):
        await life.create()
        proxy.inject(Status(500), times=None, verb={"list", "watch"}, user_agent=_kopfs(proxy))
        proxy.cut_watches()

        async def refused() -> bool:
            if operator.exit_code is not None:
                pytest.fail(f"the operator gave up:\n{operator.log[-3_000:]}")
            return all(_refusals(proxy, resource) >= 5 for resource in WATCHED)

        await until(refused, 60, "five refusals of each watch")
        proxy.heal()
        await life.scale(3, version=1)
    assert operator.exit_code is None


def _kopfs(proxy: FaultProxy) -> str:
    """How the watch engine calls itself, unlike the rest of the operator."""
    return proxy.calls(verb="watch")[0].call.user_agent


def _refusals(proxy: FaultProxy, resource: str) -> int:
    return sum(record.status == 500 for record in proxy.calls(resource=resource, verb={"list", "watch"}))


async def test_a_deletion_that_no_watch_tells_of_is_repaired(
    nest: Nest, proxy: FaultProxy, kube: Kube, namespace: str, cluster: ControlPlane
) -> None:
    """410 Gone, and what was deleted meanwhile is in no list and no event any more."""
    operator = nest.start(proxy, namespace, settings=OFTEN)
    life = Life(kube, namespace)
    async with imports(kube):
        await life.create()
        before = await kube.get("Service", namespace, "d")
        gaps: list[Call] = []

        def in_the_gap(call: Call) -> None:
            if call.verb == "watch" and call.resource == "services" and not gaps:
                gaps.append(call)
                assert cluster.kubectl("delete", "service", "d", "-n", namespace).returncode == 0

        proxy.before.append(in_the_gap)
        expired = proxy.inject(Expire(), verb="watch", resource="services")
        repairs = await operator.metric("trimtab_relist_repairs_total", kind="Service")
        assert proxy.cut_watches(resource="services") == 1

        async def back() -> bool:
            now = await kube.get("Service", namespace, "d")
            return now is not None and before is not None and now["metadata"]["uid"] != before["metadata"]["uid"]

        await until(back, 5, "the Service is there again")
        assert (len(gaps), expired.hits) == (1, 1)
        assert await operator.metric("trimtab_relist_repairs_total", kind="Service") > repairs, "not the relist's work"
        await life.settled(version=1, pods=2)


async def test_a_deletion_before_the_watches_begin_is_repaired(
    nest: Nest, proxy: FaultProxy, kube: Kube, namespace: str, cluster: ControlPlane
) -> None:
    """It is in the picture that an operator starts with, and in nothing that the watches ever say."""
    first = nest.start(proxy, namespace)
    async with imports(kube):
        await Life(kube, namespace).create()
        watching = _kopfs(proxy)
        await first.stop()
        gaps: list[float] = []

        def in_the_gap(call: Call) -> None:
            if call.user_agent == watching and (call.verb, call.resource) == ("list", "services") and not gaps:
                assert cluster.kubectl("delete", "service", "d", "-n", namespace).returncode == 0
                gaps.append(time.monotonic())

        proxy.before.append(in_the_gap)
        nest.start(proxy, namespace)

        async def back() -> bool:
            return bool(gaps) and await kube.get("Service", namespace, "d") is not None

        await until(back, 30, "the Service is there again")
        seconds = time.monotonic() - gaps[0]
        log.info("deleted before the watches began: made again after %.1f s", seconds)
        assert seconds < 10


@pytest.mark.parametrize("make", [drop, duplicate, reorder])
async def test_lives_the_same_life_whatever_watches_tell(
    nest: Nest, proxy: FaultProxy, kube: Kube, make: Callable[[], Events]
) -> None:
    """Every single event is lost, or comes twice, or after the next one."""
    quiet, disturbed = [Life(kube, await kube.fresh_namespace()) for _ in range(2)]
    nest.start(proxy, quiet.namespace)
    operator = nest.start(proxy, disturbed.namespace, settings=OFTEN)
    rules = [
        proxy.inject(make(), times=None, caller=operator.caller, verb="watch", resource=resource)
        for resource in WATCHED
    ]
    async with imports(kube):
        expected, left = await asyncio.gather(_short(quiet), _short(disturbed))
    assert left == expected
    assert sum(rule.hits for rule in rules) > 20
    assert operator.exit_code is None


async def _short(life: Life) -> list[Object]:
    left = [await life.create(), await life.scale(3, version=1), await life.scale(1, version=1)]
    await life.delete()
    return left
