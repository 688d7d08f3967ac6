"""Send inference requests without pause, count every one that fails, and say which revisions answered.

Plain HTTP/1.1 over asyncio, so that the client costs less than what it measures. Connections are kept alive and
renewed every --per-connection requests, and whenever the server says `Connection: close`; a request is never tried
twice, so nothing is hidden. Ends after --seconds, or when the file --stop-file appears.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import pathlib
import time
import urllib.request
from collections import Counter
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 10.0


class Connection:
    """One connection that reads exactly one answer a request."""

    def __init__(self, host: str, port: int, request: bytes) -> None:
        self._where = (host, port)
        self._request = request
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self) -> tuple[int, str]:
        """The status code and the revision that answered."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._where)
        reader, writer = self._streams
        writer.write(self._request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        await reader.readexactly(int(fields.get("content-length", 0)))
        if fields.get("connection", "").lower() == "close":
            self.close()
        return int(head[0].split()[1]), fields.get("x-trimtab-revision", "?")

    def close(self) -> None:
        """Let go; the next request opens a new connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def client(
    connection: Connection, until: asyncio.Event, per_connection: int, pause: float, seen: Counter[str]
) -> None:
    """Ask again and again."""
    count = 0
    while not until.is_set():
        count += 1
        try:
            code, revision = await asyncio.wait_for(connection.ask(), TIMEOUT_SECONDS)
            seen["requests"] += 1
            seen[f"revision {revision}"] += 1
            if code != 200:
                seen["failed"] += 1
                seen[f"failure HTTP {code}"] += 1
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            seen.update({"requests": 1, "failed": 1, f"failure {type(error).__name__}: {error}": 1})
            connection.close()
        if count % per_connection == 0:
            connection.close()
        await asyncio.sleep(pause)


def one_row(url: str) -> bytes:
    """A request for one row of ones (or "1"s), shaped as the model's metadata asks."""
    with urllib.request.urlopen(url.removesuffix("/infer"), timeout=10) as answer:
        inputs = json.load(answer)["inputs"]
    for tensor in inputs:
        tensor["shape"] = [max(1, size) for size in tensor["shape"]]
        one: object = "1" if tensor["datatype"] == "BYTES" else 1
        tensor["data"] = [one] * math.prod(tensor["shape"])
    return json.dumps({"inputs": inputs}).encode()


async def run(options: argparse.Namespace) -> Counter[str]:
    """All clients, until it is time."""
    url = urlsplit(options.url)
    body = pathlib.Path(options.body).read_bytes() if options.body else one_row(options.url)
    head = f"POST {url.path} HTTP/1.1\r\nHost: {url.hostname}\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    until, seen = asyncio.Event(), Counter[str]()
    clients = [
        asyncio.create_task(
            client(
                Connection(str(url.hostname), url.port or 80, request),
                until,
                options.per_connection,
                options.pause,
                seen,
            )
        )
        for _ in range(options.connections)
    ]
    print("started", flush=True)
    end = time.monotonic() + options.seconds
    while time.monotonic() < end and not pathlib.Path(options.stop_file).exists():
        await asyncio.sleep(0.5)
        print(f"sent {seen['requests']}", flush=True)
    until.set()
    await asyncio.gather(*clients)
    return seen


def main() -> None:
    """Print one JSON object; exit with 1 if any request failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--body", default="", help="a file with the request's body; a row of ones if not given")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--per-connection", type=int, default=100)
    parser.add_argument("--pause", type=float, default=0, help="seconds between two requests of a connection")
    parser.add_argument("--stop-file", default="/tmp/stop")  # noqa: S108
    seen = asyncio.run(run(parser.parse_args()))
    print(json.dumps({"requests": 0, "failed": 0, **seen}, sort_keys=True))
    raise SystemExit(1 if seen["failed"] else 0)


if __name__ == "__main__":
    main()
