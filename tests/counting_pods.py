"""Model servers' pods that count, on a control plane whose pods only pretend: each tells, at an address of its own, the
profile and the counts that Trimtab's server would."""

from __future__ import annotations

from collections import Counter
from typing import Any

from aiohttp import web

from tests.kube import Kube, until
from tests.loopback_pods import LoopbackPods, network
from tests.unit.adapters.test_monitor import PROFILE_BYTES, counts_document
from trimtab.core import metadata
from trimtab.kinds.modeldeployment.template import DIGEST, PORT

ADDRESSES = network(78)


class CountingPods(LoopbackPods):
    """All pods of ModelDeployments of a namespace. Rows are by the address of a pod."""

    def __init__(self, kube: Kube, namespace: str) -> None:
        super().__init__(kube, namespace)
        self.rows: Counter[str] = Counter()

    def count(self, rows: int) -> None:
        """Let each pod have seen so many rows more."""
        for address in self.answering:
            self.rows[address] += rows

    async def looked_at_twice(self, pods: int = 2) -> None:
        """Wait until each of so many pods was asked twice from now on: the second time what it has counted by now."""
        before = Counter(self.looks)

        async def looked() -> bool:
            seen = {address: self.looks[address] - before[address] for address in self.answering}
            assert len(seen) >= pods, f"{len(seen)} pods answer"
            assert min(seen.values()) >= 2, seen
            return True

        await until(looked, 240, "all pods are asked for their counts")

    async def step(self) -> None:
        """Let each new pod answer at an address, and then have it."""
        for pod in await self.new_pods():
            meta = pod["metadata"]
            if metadata.DEPLOYMENT in meta.get("labels", {}):
                address = next(ADDRESSES)
                await self._tell(address, meta["annotations"][DIGEST], meta["uid"][:8])
                await self.give(pod, address)

    async def _tell(self, address: str, digest: str, epoch: str) -> None:
        async def counts(_: web.Request) -> web.Response:
            self.looks[address] += 1
            told: dict[str, Any] = counts_document(self.rows[address], epoch, digest)
            return web.json_response(told)

        async def profile(_: web.Request) -> web.Response:
            return web.Response(body=PROFILE_BYTES)

        await self.answer(address, PORT, {"/trimtab/v1/counts": counts, "/trimtab/v1/profile": profile})
