"""Send inference requests without pause, count every one that fails, and say which revisions answered.

With --rows, the rows of a CSV file are sent one a request, in turn. Plain HTTP/1.1 over asyncio, so that the client
costs less than what it measures. Connections are kept alive and renewed every --per-connection requests, and whenever
the server says `Connection: close`; a request is never tried twice, so nothing is hidden. Ends after --seconds, or when
the file --stop-file appears.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import io
import itertools
import json
import math
import pathlib
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 10.0


class Connection:
    """One connection that reads exactly one answer a request."""

    def __init__(self, host: str, port: int) -> None:
        self._where = (host, port)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> tuple[int, str]:
        """The status code and the revision that answered."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._where)
        reader, writer = self._streams
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        await reader.readexactly(int(fields.get("content-length", 0)))
        if fields.get("connection", "").lower() == "close":
            self.close()
        return int(head[0].split()[1]), fields.get("x-trimtab-arm-revision") or fields.get("x-trimtab-revision", "?")

    def close(self) -> None:
        """Let go; the next request opens a new connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def client(
    connection: Connection,
    requests: Iterator[bytes],
    until: asyncio.Event,
    per_connection: int,
    pause: float,
    seen: Counter[str],
) -> None:
    """Ask again and again."""
    count = 0
    while not until.is_set():
        count += 1
        try:
            code, revision = await asyncio.wait_for(connection.ask(next(requests)), TIMEOUT_SECONDS)
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


def inputs_of(url: str) -> list[dict[str, Any]]:
    """The tensors that the model's metadata asks for."""
    with urllib.request.urlopen(url.removesuffix("/infer"), timeout=10) as answer:
        found: list[dict[str, Any]] = json.load(answer)["inputs"]
    return found


def one_row(url: str) -> bytes:
    """A request for one row of ones (or "1"s), shaped as the model's metadata asks."""
    inputs = inputs_of(url)
    for tensor in inputs:
        tensor["shape"] = [max(1, size) for size in tensor["shape"]]
        one: object = "1" if tensor["datatype"] == "BYTES" else 1
        tensor["data"] = [one] * math.prod(tensor["shape"])
    return json.dumps({"inputs": inputs}).encode()


def rows_of(place: str, url: str) -> Iterator[bytes]:
    """A request for each row of a CSV file whose header has the names of the model's inputs, one column each."""
    inputs = inputs_of(url)
    address = place if "://" in place else pathlib.Path(place).absolute().as_uri()
    with urllib.request.urlopen(address, timeout=30) as answer:
        lines = io.TextIOWrapper(answer, encoding="utf-8", newline="").readlines()
    for row in csv.DictReader(lines):
        tensors = [
            {**tensor, "shape": [1, 1], "data": [value(row[tensor["name"]], tensor["datatype"])]} for tensor in inputs
        ]
        yield json.dumps({"inputs": tensors}).encode()


def value(text: str, datatype: str) -> str | int | float | None:
    """A cell of the file as its tensor wants it; an empty one is missing."""
    if datatype == "BYTES":
        return text
    if not text:
        return None
    return float(text) if datatype.startswith("FP") else int(float(text))


def bodies(options: argparse.Namespace) -> list[bytes]:
    """What to send, in turn."""
    if options.rows:
        return list(rows_of(options.rows, options.url))
    return [pathlib.Path(options.body).read_bytes() if options.body else one_row(options.url)]


async def run(options: argparse.Namespace) -> Counter[str]:
    """All clients, until it is time."""
    url = urlsplit(options.url)
    head = f"POST {url.path} HTTP/1.1\r\nHost: {url.hostname}\r\nContent-Type: application/json\r\n"
    requests = itertools.cycle(
        [f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in bodies(options)]
    )
    until, seen = asyncio.Event(), Counter[str]()
    clients = [
        asyncio.create_task(
            client(
                Connection(str(url.hostname), url.port or 80),
                requests,
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
    parser.add_argument("--rows", default="", help="a CSV file, or its address, to send row by row")
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
