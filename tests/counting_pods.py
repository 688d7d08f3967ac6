"""Model servers' pods that count, on a control plane whose pods only pretend: each gets an address of this machine's
own loopback network, and tells there the profile and the counts that Trimtab's server would."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from tests.kube import Kube, Object, RefusedError, until
from tests.unit.adapters.test_monitor import PROFILE_BYTES, counts_document
from trimtab.core import metadata
from trimtab.kinds.modeldeployment.template import DIGEST, PORT

NETWORK = (f"127.78.{high}.{low}" for high in range(1, 200) for low in range(1, 250))
TICK = 0.1


class CountingPods:
    """All pods of ModelDeployments of a namespace. Rows and looks are by the address of a pod."""

    def __init__(self, kube: Kube, namespace: str) -> None:
        self.kube, self.namespace = kube, namespace
        self.rows: Counter[str] = Counter()
        self.looks: Counter[str] = Counter()
        self._answering: dict[str, web.AppRunner] = {}

    @contextlib.asynccontextmanager
    async def alive(self) -> AsyncIterator[CountingPods]:
        """Let them answer as long as the context lasts."""
        task = asyncio.create_task(self._live())
        try:
            yield self
            assert not task.done(), task
        finally:
            task.cancel()
            await asyncio.wait([task])
            for runner in self._answering.values():
                await runner.cleanup()

    def count(self, rows: int) -> None:
        """Let each pod have seen so many rows more."""
        for address in self._answering:
            self.rows[address] += rows

    async def looked_at_twice(self, pods: int = 2) -> None:
        """Wait until each of so many pods was asked twice from now on: the second time what it has counted by now."""
        before = Counter(self.looks)

        async def looked() -> bool:
            seen = {address: self.looks[address] - before[address] for address in self._answering}
            assert len(seen) >= pods, f"{len(seen)} pods answer"
            assert min(seen.values()) >= 2, seen
            return True

        await until(looked, 240, "all pods are asked for their counts")

    async def _live(self) -> None:
        while True:
            for pod in await self.kube.list("Pod", self.namespace):
                labels, old = pod["metadata"].get("labels", {}), pod.get("status", {}).get("podIP", "")
                if old and not old.startswith("127.") and metadata.DEPLOYMENT in labels:
                    await self._address(pod)
            await asyncio.sleep(TICK)

    async def _address(self, pod: Object) -> None:
        address, meta = next(NETWORK), pod["metadata"]
        await self._answer(address, meta["annotations"][DIGEST], meta["uid"][:8])
        status = {"podIP": address, "podIPs": [{"ip": address}]}
        with contextlib.suppress(RefusedError):  # it may be gone by now
            await self.kube.patch("Pod", self.namespace, meta["name"], {"status": status}, sub="status")

    async def _answer(self, address: str, digest: str, epoch: str) -> None:
        async def counts(_: web.Request) -> web.Response:
            self.looks[address] += 1
            told: dict[str, Any] = counts_document(self.rows[address], epoch, digest)
            return web.json_response(told)

        async def profile(_: web.Request) -> web.Response:
            return web.Response(body=PROFILE_BYTES)

        application = web.Application()
        application.router.add_get("/trimtab/v1/counts", counts)
        application.router.add_get("/trimtab/v1/profile", profile)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, address, PORT).start()
        self._answering[address] = runner
