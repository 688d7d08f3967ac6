"""What routers find behind them on this machine: servers that stand for pods, and the names that lead to them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, cast

from aiohttp import web

from tests.processes import free_port
from trimtab.traffic.state import RouterArm

PATIENCE = 30.0


async def until(done: Callable[[], Awaitable[bool] | bool], what: str) -> None:
    """Wait for a condition; AssertionError says which one never held."""
    deadline = time.monotonic() + PATIENCE
    while True:
        held = done()
        if held if isinstance(held, bool) else await held:
            return
        assert time.monotonic() < deadline, f"it never came to pass that {what}"
        await asyncio.sleep(0.02)


class Upstream:
    """A server that stands for the pods of one arm. `code` is asked for the status of each answer."""

    def __init__(self, name: str, host: str = "127.0.0.1", port: int = 0) -> None:
        self.name = name
        self.host = host
        self.port = port or free_port()
        self.seen: Counter[str] = Counter()
        self.headers: dict[str, str] = {}
        self.code: Callable[[], int] = lambda: 200
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.host, self.port, reuse_address=True).start()

    async def stop(self) -> None:
        """Be gone, with all connections."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, request: web.Request) -> web.Response:
        self.seen[request.path] += 1
        self.headers = {name.lower(): value for name, value in request.headers.items()}
        lies = {"x-trimtab-arm": "nobody", "x-trimtab-arm-revision": "none"}
        own = {"x-trimtab-revision": "abababababab", "x-trimtab-token": "t"}
        return web.Response(text=self.name, status=self.code(), headers={**lies, **own})

    def arm(self, reserved: int = 0, weight: int = 0, name: str = "") -> RouterArm:
        """The arm that leads here."""
        return RouterArm(
            name=name or self.name,
            host=self.host,
            port=self.port,
            revision=f"rev-{self.name}",
            reserved=reserved,
            weight=weight,
        )


class Names(asyncio.DatagramProtocol):
    """A name server that knows what a test says: the addresses of each name, none of them for long."""

    def __init__(self) -> None:
        self.addresses: dict[str, list[str]] = {}
        self.port = 0
        self.asked: Counter[str] = Counter()

    @classmethod
    async def start(cls) -> Names:
        """Listen on a free port of the loopback, for as long as the loop turns."""
        loop = asyncio.get_running_loop()
        transport, found = await loop.create_datagram_endpoint(cls, local_addr=("127.0.0.1", 0))
        found.port = transport.get_extra_info("sockname")[1]
        return found

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        labels, at = [], 12
        while data[at]:
            labels.append(data[at + 1 : at + 1 + data[at]].decode())
            at += 1 + data[at]
        name, kind = ".".join(labels).lower(), data[at + 1 : at + 3]
        self.asked[name] += 1
        found = self.addresses.get(name)
        # One A record each: a pointer to the name asked for, type, class, one second to live, four bytes.
        head = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x01\x00\x04"
        records = [head + bytes(map(int, address.split("."))) for address in found or ()] if kind == b"\x00\x01" else []
        flags = b"\x84\x00" if found is not None else b"\x84\x03"
        counts = b"\x00\x01" + len(records).to_bytes(2, "big") + b"\x00\x00\x00\x00"
        self._transport.sendto(data[:2] + flags + counts + data[12 : at + 5] + b"".join(records), addr)
