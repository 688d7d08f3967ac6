"""Routers' pods that answer, on a control plane whose pods only pretend: each gets an address of this machine's own
loopback network, and a page of counters there, as Envoy would give it.

They do as the resource's status tells, and count requests by its weights for as long as users ask.
"""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

from aiohttp import web

from tests.kube import Kube, Object
from tests.loopback_pods import LoopbackPods, network
from trimtab.core import metadata
from trimtab.traffic.bootstrap import REPORT_PORT
from trimtab.traffic.state import SLOTS, RouterStatus

ADDRESSES = network(77)


class World(LoopbackPods):
    """The routers of one resource, and its users."""

    def __init__(self, kube: Kube, kind: str, namespace: str, name: str) -> None:
        super().__init__(kube, namespace)
        self.kind, self.name = kind, name
        self.obj: Object = {}
        self.requests_a_tick = 0
        self.told: RouterStatus | None = None
        self.path: list[RouterStatus] = []
        """What routers were told, one after the other."""
        self.asked: dict[str, Counter[str]] = {}
        """Requests by the address of a router and by arm."""
        self._turn = itertools.cycle((0, 1))

    @property
    def status(self) -> Object:
        """What the operator wrote last."""
        found: Object = self.obj.get("status", {})
        return found

    def total(self) -> Counter[str]:
        """All requests that routers have counted, by arm."""
        return sum(self.asked.values(), Counter[str]())

    async def step(self) -> None:
        """Read what was told, let new routers answer, and let users ask."""
        self.obj = await self.kube.get(self.kind, self.namespace, self.name) or {}
        for pod in await self.new_pods():
            address = next(ADDRESSES)
            if pod["metadata"]["labels"].get(metadata.ROUTER) == self.name:
                await self._tell(address)
            await self.give(pod, address)
        self._ask()
        if told := self.status.get("router"):
            self.told = RouterStatus.model_validate(told)
            self.path += [self.told] if self.path[-1:] != [self.told] else []

    async def _tell(self, address: str) -> None:
        self.asked[address] = Counter()

        async def stats(_: web.Request) -> web.Response:
            self.looks[address] += 1
            return web.json_response({"stats": self._page(address)})

        await self.answer(address, REPORT_PORT, {"/stats": stats})

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
