"""`python -m bench.resilience`: what happens to a server's clients when others misbehave, or when it is ended.

Each part starts servers of its own, does them one kind of harm, and prints what the other clients noticed: latencies
of one client that asks all the time, before and during, and how many requests were lost.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import numpy as np
import psutil

from bench.clients import HEAD, Caller, offered, posted, prediction, until_refused
from bench.machine import memory
from tests.contract.served import environment, make_bundle
from tests.contract.sleeper import make_sleeper, sleep, until
from tests.contract.test_server_process import Process, serving
from trimtab_serving.__main__ import _allow_files as allow_files

HEALTH = b"GET /v2/health/ready HTTP/1.1\r\nHost: x\r\n\r\n"
IDLE, SLOW, SLEEPS = 5_000, 1_000, 7
CAPACITY = 4 / 0.05
"""Requests a second of the sleeper: four at a time, 50 ms each."""


class Bench:
    """The bundles, and a place for each server."""

    def __init__(self, home: Path) -> None:
        self._home = home
        (home / "fast").mkdir()
        self._fast = home / "fast", make_bundle(home / "fast")
        (home / "asleep").mkdir()
        self._slow = home / "asleep" / "bundle", make_sleeper(home / "asleep" / "bundle")

    @contextmanager
    def server(self, *, slow: bool = False, **given: str) -> Iterator[Process]:
        """A server on the linear model, or on the one that sleeps."""
        with tempfile.TemporaryDirectory(dir=self._home) as home:
            given = {"TRIMTAB_WORKERS": "1"} | given
            with serving(environment(*(self._slow if slow else self._fast), Path(home), **given)) as server:  # type: ignore[arg-type]
                yield server

    async def idle(self) -> None:
        """5,000 connections that were opened and say nothing."""
        with self.server() as server:
            await _beside(server, f"{IDLE:,} idle connections", IDLE, lambda writer, number: _nothing())

    async def slow(self) -> None:
        """Half of them send a head, half a body, one byte at a time."""
        with self.server() as server:

            async def dribble(writer: asyncio.StreamWriter, number: int) -> None:
                writer.write(HEAD if number % 2 else HEAD + b"1000\r\n\r\n")
                while not writer.is_closing():
                    writer.write(b"1")
                    await asyncio.sleep(1)

            await _beside(server, f"{SLOW:,} clients that send a byte a second", SLOW, dribble)

    async def overload(self) -> None:
        """Three times as many requests as can be answered, for ten seconds."""
        with self.server(slow=True, TRIMTAB_MAX_QUEUE="32", TRIMTAB_BATCH_MAX_SIZE="1") as server:
            answers = await offered(server.url, sleep(0.05), 3 * CAPACITY, 10)
            taken = [seconds for status, seconds, _ in answers if status == 200]
            refused = [(seconds, again) for status, seconds, again in answers if status == 503]
            p50, p99 = np.quantile(taken, [0.5, 0.99])
            print(f"three times the capacity of {CAPACITY:.0f} requests a second, a queue of 32, 10 s")
            print(f"  answered {len(taken)} ({len(taken) / 10:.0f} a second), p50 {p50:.3f} s, p99 {p99:.3f} s")
            told = "all" if all(again for _, again in refused) else "NOT ALL"
            quick = np.quantile([seconds for seconds, _ in refused], 0.99)
            print(f"  503: {len(refused)}, {told} with Retry-After, p99 {quick * 1e3:.0f} ms")
            print(f"  anything else: {len(answers) - len(taken) - len(refused)}")

    async def sleeping(self) -> None:
        """Three predictions of five seconds in a Python model, time and again: what else is asked, awake and asleep."""
        names = ("health", "other requests to it", "another model")
        awake: list[list[Caller]] = []
        asleep: list[list[Caller]] = []
        overlapped = True
        with self.server(slow=True) as server, self.server() as other:
            quick = prediction(json.dumps(sleep(0)).encode())
            callers = ((server, HEALTH), (server, quick), (other, prediction()))

            async def measured() -> list[Caller]:
                return [await Caller(one.url, payload).run(500) for one, payload in callers]

            async with aiohttp.ClientSession(server.url) as session:
                for _ in range(SLEEPS):
                    awake.append(await measured())
                    held = [asyncio.create_task(posted(session, sleep(5))) for _ in range(3)]
                    await asyncio.sleep(0.3)
                    asleep.append(await measured())
                    overlapped = overlapped and not any(task.done() for task in held)
                    assert {status for status, _, _ in await asyncio.gather(*held)} == {200}
        print(f"a Python model that sleeps 5 s, three times at once (measured meanwhile: {overlapped})")
        for name, before, during in zip(names, zip(*awake, strict=True), zip(*asleep, strict=True), strict=True):
            print(f"  {name}: {_typical(before)}; while it sleeps {_typical(during)}")

    async def sigterm(self) -> None:
        """32 clients at full speed, two workers, and the signal to stop."""
        with self.server(TRIMTAB_WORKERS="2", TRIMTAB_DRAIN_SECONDS="2") as server:
            outcomes = Counter[str]()
            clients = [asyncio.create_task(until_refused(server.url, outcomes)) for _ in range(32)]
            await asyncio.sleep(2)
            server.process.send_signal(signal.SIGTERM)
            start = time.monotonic()
            await asyncio.gather(*clients)
            code = await asyncio.to_thread(server.process.wait, 30)
            seconds = time.monotonic() - start
            print(f"SIGTERM under load, 2 workers, a drain of 2 s: ended after {seconds:.1f} s with code {code}")
            print(f"  {_told(outcomes)}")

    async def sigkill(self) -> None:
        """32 clients at full speed, two workers, and one of them killed."""
        with self.server(TRIMTAB_WORKERS="2") as server:
            outcomes = Counter[str]()
            clients = [asyncio.create_task(until_refused(server.url, outcomes)) for _ in range(32)]
            await asyncio.sleep(2)
            workers = psutil.Process(server.process.pid).children()
            os.kill(workers[0].pid, signal.SIGKILL)
            start = time.monotonic()
            await asyncio.to_thread(until, lambda: server.log.read_text().count('"ready"') == 3)
            back, seen = time.monotonic() - start, outcomes.copy()
            server.process.send_signal(signal.SIGTERM)
            await asyncio.gather(*clients)
            print(f"SIGKILL of one of 2 workers under load: both answer again after {back:.1f} s")
            print(f"  until then {_told(seen)}")


async def _nothing() -> None:
    """An idle client's part."""


async def _beside(
    server: Process, name: str, count: int, harm: Callable[[asyncio.StreamWriter, int], Awaitable[None]]
) -> None:
    before, resident = await Caller(server.url, prediction()).run(1000), memory(server.process.pid)[1]
    port, start = int(server.url.rpartition(":")[2]), time.monotonic()
    crowd = [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]
    harms = [asyncio.ensure_future(harm(writer, number)) for number, (_, writer) in enumerate(crowd)]
    during = await Caller(server.url, prediction()).run(1000)
    grown = memory(server.process.pid)[1] - resident
    print(f"{name}, beside one that asks all the time")
    print(f"  before: {before}; meanwhile: {during}; memory: {grown:.0f} MiB more")
    endings = Counter([await _ending(reader) for reader, _ in crowd])
    seconds = time.monotonic() - start
    print(f"  all were ended by the server within {seconds:.0f} s of the first: {dict(endings)}")
    for task in harms:
        task.cancel()
    await asyncio.gather(*harms, return_exceptions=True)


async def _ending(reader: asyncio.StreamReader) -> str:
    """How the server ended a connection: with a status, without a word, or while the client was writing."""
    try:
        answer = await reader.read()
    except OSError:
        return "cut off"
    return answer.split(b" ", 2)[1].decode() if answer else "closed"


def _typical(rounds: Sequence[Caller]) -> str:
    """Medians over rounds, since one turn of the scheduler makes a p99 of any of them."""
    p50, p99 = np.median([np.quantile(one.seconds, [0.5, 0.99]) for one in rounds], axis=0) * 1e3
    return f"p50 {p50:.2f} ms, p99 {p99:.2f} ms (medians of {len(rounds)} rounds of {len(rounds[0].seconds)})"


def _told(outcomes: Counter[str]) -> str:
    lost = outcomes.pop("lost", 0)
    return f"answered {dict(outcomes)}, sent and not answered: {lost}"


async def run(parts: list[str]) -> None:
    """The parts, one after the other."""
    allow_files()
    with tempfile.TemporaryDirectory(prefix="trimtab-resilience-") as folder:
        bench = Bench(Path(folder))
        for part in parts:
            await getattr(bench, part)()


def main() -> None:
    """Print what clients noticed."""
    parts = ["idle", "slow", "overload", "sleeping", "sigterm", "sigkill"]
    parser = argparse.ArgumentParser(prog="python -m bench.resilience", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(parts)}; default: all")
    asyncio.run(run(parser.parse_args().parts or parts))


if __name__ == "__main__":
    main()
