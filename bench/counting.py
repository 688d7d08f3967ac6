"""`python -m bench.counting`: what counting costs a server, in its processor time for each request.

Two servers of one model, one with counting off, take the same requests in turn from 32 clients: one row each, as JSON,
with a user's name. The one that counts keeps features, scores, moments, buckets and users, and signs a token for each
answer. Processor time says how many requests a core can serve, whatever else the machine does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path

from bench.clients import HEAD, Caller
from bench.machine import processor_seconds
from tests.contract.served import environment, make_bundle, request
from tests.contract.test_server_process import Process, serving

CLIENTS = 32


def payload(rows: int, number: int) -> bytes:
    """A request of one client, whose user is as long as such names are."""
    body = json.dumps(request([(40 + number % 7, 2000, "Bonn")] * rows)).encode()
    return HEAD + b"%d\r\nx-user-id: user-%012d\r\n\r\n" % (len(body), number) + body


async def cost(server: Process, rows: int, requests: int) -> float:
    """Microseconds of processor time for each of so many requests."""
    before = processor_seconds(server.process.pid)
    each = requests // CLIENTS
    await asyncio.gather(*(Caller(server.url, payload(rows, number)).run(each) for number in range(CLIENTS)))
    return (processor_seconds(server.process.pid) - before) / (each * CLIENTS) * 1e6


async def run(rounds: int, requests: int) -> None:
    """Print both costs and their ratio for requests of one row and of several."""
    with tempfile.TemporaryDirectory(prefix="trimtab-counting-") as folder, ExitStack() as stack:
        home = Path(folder)
        (home / "bundle").mkdir()
        digest = make_bundle(home / "bundle")
        servers = []
        for switch in ("off", "on"):
            given = environment(home / "bundle", digest, home / switch, TRIMTAB_WORKERS="1", TRIMTAB_COUNTING=switch)
            servers.append(stack.enter_context(serving(given)))
        print(f"{'rows':>5}{'counting off':>16}{'counting on':>16}{'difference':>14}{'off / on':>11}")
        for rows in (1, 16):
            pairs = [[await cost(server, rows, requests) for server in servers] for _ in range(rounds)]
            off, on = (statistics.median(column) for column in zip(*pairs, strict=True))
            print(f"{rows:>5}{off:>13.1f} µs{on:>13.1f} µs{on - off:>11.1f} µs{off / on:>11.2f}")


def main() -> None:
    """Print what counting costs."""
    parser = argparse.ArgumentParser(prog="python -m bench.counting", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument("--requests", type=int, default=8_000, help="for each server and round; default: 8,000")
    options = parser.parse_args()
    asyncio.run(run(options.rounds, options.requests))


if __name__ == "__main__":
    main()
