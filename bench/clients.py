"""Clients of a model server: one that asks all the time, many that do not care, and some that never give up."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from typing import Any

import aiohttp
import numpy as np

from tests.contract.served import INFER, request

BODY = json.dumps(request([(40, 2000, "Bonn")])).encode()
HEAD = f"POST {INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: ".encode()


def prediction(body: bytes = BODY) -> bytes:
    """A whole request."""
    return HEAD + b"%d\r\n\r\n" % len(body) + body


class Caller:
    """A client with one connection, which notes how long each answer took."""

    def __init__(self, url: str, payload: bytes) -> None:
        self._port = int(url.rpartition(":")[2])
        self._payload = payload
        self.seconds: list[float] = []

    async def run(self, requests: int) -> Caller:
        """Ask so many times, one after the other; AssertionError for an answer that is not 200."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        for _ in range(requests):
            start = time.perf_counter()
            writer.write(self._payload)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split()[0]))
            self.seconds.append(time.perf_counter() - start)
            assert head.startswith(b"HTTP/1.1 200 "), head
        writer.close()
        return self

    def __str__(self) -> str:
        p50, p99 = np.quantile(self.seconds, [0.5, 0.99]) * 1e3
        return f"p50 {p50:.2f} ms, p99 {p99:.2f} ms"


async def offered(url: str, body: Any, rate: float, seconds: float) -> list[tuple[int, float, str | None]]:
    """Requests at a rate that does not care how long answers take."""
    async with aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(limit=0)) as session:
        start, running = time.monotonic(), []
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, start + number / rate - time.monotonic()))
            running.append(asyncio.create_task(posted(session, body)))
        return await asyncio.gather(*running)


async def posted(session: aiohttp.ClientSession, body: Any) -> tuple[int, float, str | None]:
    """One prediction: status, seconds, and when to come again."""
    start = time.monotonic()
    async with session.post(INFER, json=body) as response:
        await response.read()
        return response.status, time.monotonic() - start, response.headers.get("retry-after")


async def until_refused(url: str, outcomes: Counter[str]) -> None:
    """Ask until there is nobody to connect to. A request sent on a connection that was taken must be answered."""
    port = int(url.rpartition(":")[2])
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return
        try:
            while True:
                writer.write(prediction())
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split()[0]))
                outcomes[head[9:12].decode()] += 1
                if b"\r\nconnection: close" in head:
                    break
        except (OSError, asyncio.IncompleteReadError):
            outcomes["lost"] += 1
        writer.close()
