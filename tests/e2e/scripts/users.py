"""Users of an experiment: each one asks again and again, and says afterwards whether the answer did any good.

    users.py --url http://choice.shop.svc/v2/models/choice/infer --users 500 --good control=0.3 --good challenger=0.6 \\
        --feedback control=http://one.shop.svc --feedback challenger=http://other.shop.svc

Ends after --seconds, or when the file /tmp/stop appears, and prints one JSON line: requests, failures, outcomes that
were taken, the arm that each user was given first, and how many were moved from which arm to which.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import pathlib
import random
import time
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

from load import one_row

STOP = pathlib.Path("/tmp/stop")
TIMEOUT_SECONDS = 10.0
PER_CONNECTION = 50


def _told_to_stop() -> bool:
    return STOP.exists()


class Client:
    """One connection to one address, renewed now and then so that every pod behind it is asked."""

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._asked = 0

    async def post(self, path: str, body: bytes, user: str = "") -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the answer; the connection is closed whenever anything is odd."""
        try:
            return await asyncio.wait_for(self._post(path, body, user), TIMEOUT_SECONDS)
        except BaseException:
            self.close()
            raise

    async def _post(self, path: str, body: bytes, user: str) -> tuple[int, dict[str, str], bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(str(self._url.hostname), self._url.port or 80)
        reader, writer = self._streams
        head = f"POST {path} HTTP/1.1\r\nhost: {self._url.hostname}\r\ncontent-type: application/json\r\n"
        named = f"x-user-id: {user}\r\n" if user else ""
        writer.write(f"{head}{named}content-length: {len(body)}\r\n\r\n".encode() + body)
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
        answer = await reader.readexactly(int(fields.get("content-length", 0)))
        self._asked += 1
        if fields.get("connection", "").lower() == "close" or self._asked % PER_CONNECTION == 0:
            self.close()
        return int(first.split()[1]), fields, answer

    def close(self) -> None:
        """Let go; the next request opens a new connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


class Crowd:
    """All users, and what became of them."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.path, self.body = urlsplit(options.url).path, one_row(options.url)
        self.good = {arm: float(share) for arm, share in (given.split("=") for given in options.good)}
        self.desks = dict(given.split("=", 1) for given in options.feedback)
        self.seen: Counter[str] = Counter()
        self.first: dict[str, str] = {}
        self.arms: dict[str, str] = {}
        self.random = random.Random(5)
        self.visits = 0

    async def visit(self, client: Client, desks: dict[str, Client]) -> None:
        """One request of the next user, and the outcome of its answer."""
        user = f"user-{self.visits % self.options.users}"
        self.visits += 1
        self.seen["requests"] += 1
        try:
            code, fields, _ = await client.post(self.path, self.body, user)
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            self.seen.update({"failed": 1, f"failure {type(error).__name__}: {error}": 1})
            return
        arm = fields.get("x-trimtab-arm", "?")
        if code != 200:
            self.seen.update({"failed": 1, f"failure HTTP {code} of {arm}": 1})
            return
        self.first.setdefault(user, arm)
        before = self.arms.setdefault(user, arm)
        if before != arm:
            self.seen[f"moved {before} to {arm}"] += 1
            self.arms[user] = arm
        if arm in desks and "x-trimtab-token" in fields:
            await self.tell(desks[arm], arm, fields["x-trimtab-token"])

    async def tell(self, desk: Client, arm: str, token: str) -> None:
        """Report the outcome of one answer."""
        body = json.dumps({"token": token, "outcome": self.random.random() < self.good[arm]}).encode()
        try:
            code, _, said = await desk.post("/trimtab/v1/feedback", body)
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            code, said = 0, str(error).encode()
        self.seen[f"outcomes {arm}" if code == 200 else f"refused {code}: {said[:200].decode()}"] += 1

    async def worker(self, until: asyncio.Event) -> None:
        """One of several that serve the queue of users."""
        client, desks = Client(self.options.url), {arm: Client(url) for arm, url in self.desks.items()}
        while not until.is_set():
            await self.visit(client, desks)
            await asyncio.sleep(self.options.pause)

    async def run(self) -> None:
        """All of them, until it is time."""
        until = asyncio.Event()
        workers = [asyncio.create_task(self.worker(until)) for _ in range(self.options.connections)]
        print("started", flush=True)  # noqa: T201
        end = time.monotonic() + self.options.seconds
        while time.monotonic() < end and not _told_to_stop():
            await asyncio.sleep(0.5)
            print(f"sent {self.seen['requests']}", flush=True)  # noqa: T201
        until.set()
        await asyncio.gather(*workers)


def main() -> None:
    """Print what became of the users."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True)
    parser.add_argument("--users", type=int, default=500)
    parser.add_argument("--good", action="append", default=[], help="arm=chance of a positive outcome")
    parser.add_argument("--feedback", action="append", default=[], help="arm=where its outcomes are reported")
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--pause", type=float, default=0.02)
    parser.add_argument("--seconds", type=float, default=300)
    crowd = Crowd(parser.parse_args())
    asyncio.run(crowd.run())
    result: dict[str, Any] = {"requests": 0, "failed": 0, **crowd.seen, "first": crowd.first}
    print(json.dumps(result, sort_keys=True))  # noqa: T201


if __name__ == "__main__":
    main()
