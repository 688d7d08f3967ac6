"""Routers' pods that answer, on a control plane whose pods only pretend: each gets an address of this machine's own
loopback network, and a page of counters there, as Envoy would give it.

They do as the resource's status tells, and count requests by its weights for as long as users ask.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from tests.kube import Kube, Object, RefusedError
from trimtab.core import metadata
from trimtab.traffic.bootstrap import REPORT_PORT
from trimtab.traffic.state import SLOTS, RouterStatus

NETWORK = (f"127.77.{high}.{low}" for high in range(1, 200) for low in range(1, 250))
TICK = 0.1


class World:
    """The routers of one resource, and its users."""

    def __init__(self, kube: Kube, kind: str, namespace: str, name: str) -> None:
        self.kube, self.kind, self.namespace, self.name = kube, kind, namespace, name
        self.obj: Object = {}
        self.requests_a_tick = 0
        self.told: RouterStatus | None = None
        self.path: list[RouterStatus] = []
        """What routers were told, one after the other."""
        self.asked: dict[str, Counter[str]] = {}
        """Requests by the address of a router and by arm."""
        self.looks: Counter[str] = Counter()
        """How often each router was asked for its counters."""
        self._answering: dict[str, web.AppRunner] = {}
        self._turn = itertools.cycle((0, 1))

    @contextlib.asynccontextmanager
    async def alive(self) -> AsyncIterator[World]:
        """Let everybody live as long as the context lasts."""
        task = asyncio.create_task(self._live())
        try:
            yield self
            assert not task.done(), task
        finally:
            task.cancel()
            await asyncio.wait([task])
            for runner in self._answering.values():
                await runner.cleanup()

    @property
    def status(self) -> Object:
        """What the operator wrote last."""
        found: Object = self.obj.get("status", {})
        return found

    def total(self) -> Counter[str]:
        """All requests that routers have counted, by arm."""
        return sum(self.asked.values(), Counter[str]())

    async def _live(self) -> None:
        while True:
            self.obj = await self.kube.get(self.kind, self.namespace, self.name) or {}
            await self._address()
            self._ask()
            if told := self.status.get("router"):
                self.told = RouterStatus.model_validate(told)
                self.path += [self.told] if self.path[-1:] != [self.told] else []
            await asyncio.sleep(TICK)

    async def _address(self) -> None:
        """Give each new pod an address; routers also answer there."""
        for pod in await self.kube.list("Pod", self.namespace):
            old = pod.get("status", {}).get("podIP", "")
            if not old or old in self._answering or old.startswith("127."):
                continue
            address = next(NETWORK)
            if pod["metadata"]["labels"].get(metadata.ROUTER) == self.name:
                await self._answer(address)
            status = {"podIP": address, "podIPs": [{"ip": address}]}
            with contextlib.suppress(RefusedError):  # it may be gone by now
                await self.kube.patch("Pod", self.namespace, pod["metadata"]["name"], {"status": status}, sub="status")

    async def _answer(self, address: str) -> None:
        self.asked[address] = Counter()
        application = web.Application()

        async def stats(_: web.Request) -> web.Response:
            self.looks[address] += 1
            return web.json_response({"stats": self._page(address)})

        application.router.add_get("/stats", stats)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, address, REPORT_PORT).start()
        self._answering[address] = runner

    def _page(self, address: str) -> list[dict[str, Any]]:
        values: dict[str, Any] = {f"http.epoch-{address.replace('.', '-')}.rq_total": 1}
        if self.told is not None:
            values["cluster_manager.cds.version_text"] = self.told.clusters_version
            values["http.router.rds.router.version_text"] = self.told.routes_version
            values |= {f"cluster.arm_{arm.name}.membership_total": 1 for arm in self.told.arms}
        counts = self.asked[address].items()
        values |= {f"cluster.arm_{arm}.upstream_rq_completed": count for arm, count in counts}
        return [{"name": name, "value": value} for name, value in values.items()]

    def _ask(self) -> None:
        """Requests come by the weights that were told last, now to one router and now to the other."""
        routers = list(self.asked.values())
        if self.told is None or len(routers) < 2:
            return
        for arm, slots in self.told.weights().items():
            if whole := self.requests_a_tick * slots // SLOTS:
                routers[next(self._turn)][arm] += whole
