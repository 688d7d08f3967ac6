"""Pods that answer, on a control plane whose pods only pretend: each gets an address of this machine's own loopback
network, and whatever answers for it listens there."""

from __future__ import annotations

import abc
import asyncio
import contextlib
import itertools
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Self

from aiohttp import web
from aiohttp.typedefs import Handler

from tests.kube import Kube, Object, RefusedError

TICK = 0.1
CLAIM = 9


def network(number: int) -> Iterator[str]:
    """Addresses of the loopback network of this number that no other run of tests on this machine has.

    A socket that stays bound as long as the iterator lives is the claim to an address.
    """
    claims = []
    for high, low in itertools.product(range(1, 200), range(1, 250)):
        address, claim = f"127.{number}.{high}.{low}", socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            claim.bind((address, CLAIM))
        except OSError:
            claim.close()
            continue
        claims.append(claim)
        yield address


class LoopbackPods(abc.ABC):
    """Who answers for the pods of a namespace. `looks` is how often each address was asked for its counts."""

    def __init__(self, kube: Kube, namespace: str) -> None:
        self.kube, self.namespace = kube, namespace
        self.looks: Counter[str] = Counter()
        self.answering: dict[str, web.AppRunner] = {}

    @contextlib.asynccontextmanager
    async def alive(self) -> AsyncIterator[Self]:
        """Let everybody live as long as the context lasts."""
        task = asyncio.create_task(self._live())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.wait([task])
            for runner in self.answering.values():
                await runner.cleanup()
            # Whoever waited for these pods in vain should learn that they died, and of what.
            if not task.cancelled():
                task.result()

    @abc.abstractmethod
    async def step(self) -> None:
        """What is done again and again while they live."""

    async def new_pods(self) -> list[Object]:
        """The pods that have an address of the pretended network still."""
        pods = await self.kube.list("Pod", self.namespace)
        return [pod for pod in pods if _address(pod) and not _address(pod).startswith("127.")]

    async def give(self, pod: Object, address: str) -> None:
        """Write the address into the pod's status."""
        status = {"podIP": address, "podIPs": [{"ip": address}]}
        with contextlib.suppress(RefusedError):  # it may be gone by now
            await self.kube.patch("Pod", self.namespace, pod["metadata"]["name"], {"status": status}, sub="status")

    async def answer(self, address: str, port: int, routes: Mapping[str, Handler]) -> None:
        """Listen there, and answer GET at these paths."""
        application = web.Application()
        for path, handler in routes.items():
            application.router.add_get(path, handler)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, address, port).start()
        self.answering[address] = runner

    async def _live(self) -> None:
        while True:
            await self.step()
            await asyncio.sleep(TICK)


def _address(pod: Object) -> str:
    found: str = pod.get("status", {}).get("podIP", "")
    return found
