"""What it costs one replica to keep many routers told: 200 ABTests with two routers each, and nobody else to help.

`python -m bench.orders` runs the xDS server in a process of its own and asks it as Envoy does: two questions a router,
each with the 77 KiB that Envoy sends about itself, held open while there is no news. Printed are the server's processor
seconds while nothing changes, and how long it takes until each router has heard when everything changes at once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Protocol

import aiohttp
import uvloop
from aiohttp import web

from bench import machine
from tests.processes import free_port
from trimtab.core.objects import API_VERSION, Object
from trimtab.runtime.store import Store
from trimtab.runtime.xds import CLUSTERS, ROUTES, Xds
from trimtab.traffic.state import RouterArm, RouterStatus

OF_ITSELF = {"extensions": [{"name": f"envoy.extension.{number:04}", "category": "x" * 100} for number in range(520)]}
WARM_SECONDS = 12.0


class Apart(Protocol):
    """Processor seconds that a replica has used for other things than telling routers."""

    value: float


def status(weight: int) -> RouterStatus:
    """Three arms."""
    arms = [RouterArm(name=name, host=f"{name}.shop.svc", port=8080, reserved=5_000) for name in ("a", "b")]
    control = RouterArm(name="control", host="control.shop.svc", port=8080)
    return RouterStatus(salt="s", header="u", control="control", arms=[control, *arms]).weighted({"a": weight})


def obj(number: int, version: int) -> Object:
    """An ABTest that says so, with as much else in its status as evidence takes."""
    meta = {"name": f"test-{number}", "namespace": "shop", "uid": f"u{number}", "resourceVersion": str(version)}
    other = {"evidence": ["0" * 100] * 200, "router": status(version % 5_000).dump()}
    return {"kind": "ABTest", "apiVersion": API_VERSION, "metadata": meta, "status": other}


async def listen(xds: Xds, port: int) -> None:
    """Answer routers from now on."""
    runner = web.AppRunner(xds.application(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=2_048).start()


async def serve(port: int, count: int, orders: Connection) -> None:
    """One replica, which changes everything whenever it is told to."""
    store = Store({"ABTest": lambda obj: ()})
    xds = Xds(store, {"abtests": "ABTest"})
    await listen(xds, port)
    version = 0
    while True:
        version += 1
        for number in range(count):
            xds.changed(store.absorb(obj(number, version)))
            await asyncio.sleep(0)
        orders.send(version)
        while not orders.poll():  # noqa: ASYNC110 - a pipe between processes has no event
            await asyncio.sleep(0.01)
        orders.recv()


class Asking:
    """One of a router's two subscriptions."""

    def __init__(self, session: aiohttp.ClientSession, url: str, cluster: str) -> None:
        self._session, self.url, self._cluster = session, url, cluster
        self.version, self.heard, self.asked = "", 0.0, 0

    async def run(self) -> None:
        """Ask for ever, a tenth of a second after each answer."""
        while True:
            node = {"id": "r", "cluster": self._cluster, **OF_ITSELF}
            body = json.dumps({"version_info": self.version, "node": node})
            async with self._session.post(self.url, data=body) as answer:
                self.asked += 1
                if answer.status == 200:
                    self.version, self.heard = (await answer.json())["version_info"], time.monotonic()
            await asyncio.sleep(0.1)


async def ask(port: int, count: int, seconds: float, orders: Connection, pid: int, apart: Apart) -> None:
    """All routers, first in peace and then with news for all of them."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        base = f"http://127.0.0.1:{port}"
        names = [f"abtests/shop/test-{number % count}" for number in range(2 * count)]
        pairs = [(path, name) for name in names for path in (CLUSTERS, ROUTES)]
        asking = [Asking(session, base + path, cluster) for path, cluster in pairs]
        tasks = [asyncio.create_task(one.run()) for one in asking]
        await asyncio.sleep(WARM_SECONDS)
        before, asked = machine.processor_seconds(pid) - apart.value, sum(one.asked for one in asking)
        await asyncio.sleep(seconds)
        used = machine.processor_seconds(pid) - apart.value - before
        questions = sum(one.asked for one in asking) - asked
        print(f"{2 * count} routers of {count} ABTests, nothing new: {questions / seconds:.0f} questions/s, ", end="")
        print(f"{100 * used / seconds:.1f} % of a core, {machine.memory(pid)[1]:.0f} MiB")
        told, before = time.monotonic(), machine.processor_seconds(pid) - apart.value
        orders.send("change")
        routes = [one for one in asking if one.url.endswith(ROUTES)]
        while any(one.heard < told for one in routes):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        taken = sorted(one.heard - told for one in routes)
        print(f"all {count} change at once: routers heard after ", end="")
        print(f"{statistics.median(taken) * 1e3:.0f} ms (median), ", end="")
        used = machine.processor_seconds(pid) - apart.value - before
        print(f"{taken[-1] * 1e3:.0f} ms (last), {used:.2f} processor seconds")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def watch(replica: Callable[[int, int, Connection, Apart], None], count: int, seconds: float) -> None:
    """Ask a replica in a process of its own: it says when it is ready, and changes everything at a word."""
    port, (ours, theirs) = free_port(), multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    apart = context.Value("d", 0.0)
    process = context.Process(target=replica, args=(port, count, theirs, apart), daemon=True)
    process.start()
    ours.recv()
    try:
        uvloop.run(ask(port, count, seconds, ours, process.pid or 0, apart))
    finally:
        process.terminate()
        process.join()


def _replica(port: int, count: int, orders: Connection, apart: Apart) -> None:
    uvloop.run(serve(port, count, orders))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tests", type=int, default=200, help="how many ABTests (200)")
    parser.add_argument("--seconds", type=float, default=20, help="how long to look on in peace (20)")
    chosen = parser.parse_args()
    watch(_replica, chosen.tests, chosen.seconds)


if __name__ == "__main__":
    main()
