"""HTTP by hand: what a client library would never send must be sent too, and what it would hide must be seen."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 10.0
PIECE_SECONDS = 0.02
"""Between the pieces of a request that is sent in pieces."""


@dataclass(frozen=True)
class Answer:
    """One answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON; refuses NaN and Infinity, which are not JSON."""
        return json.loads(self.body, parse_constant=_not_json)


def _not_json(word: str) -> None:
    raise AssertionError(f"the answer holds {word}, which is not JSON")


def exchange(url: str, pieces: Sequence[bytes], answers: int, *, head: bool = False) -> list[Answer]:
    """Send the pieces over a new connection and read so many answers; fewer when the server hangs up."""
    parts = urlsplit(url)
    address = (parts.hostname or "127.0.0.1", parts.port or 80)
    received: list[Answer] = []
    with socket.create_connection(address, timeout=TIMEOUT_SECONDS) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for index, piece in enumerate(pieces):
                if index:
                    time.sleep(PIECE_SECONDS)
                connection.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass  # It has answered early and hung up; the answer may still be there.
        stream = connection.makefile("rb")
        while len(received) < answers:
            answer = _read(stream, head)
            if answer is None:
                break
            if answer.status != 100:
                received.append(answer)
    return received


def _read(stream: Any, head: bool) -> Answer | None:
    try:
        line = stream.readline()
        if not line:
            return None
        status = int(line.split(b" ", 2)[1])
        headers: dict[str, str] = {}
        while (line := stream.readline()) not in (b"\r\n", b"\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        return Answer(status, headers, b"" if head or status in (100, 204, 304) else _body(stream, headers))
    except ConnectionResetError:
        return None


def _body(stream: Any, headers: Mapping[str, str]) -> bytes:
    if "chunked" in headers.get("transfer-encoding", ""):
        body = b""
        while size := int(stream.readline().split(b";")[0], 16):
            body += stream.read(size)
            stream.readline()
        stream.readline()
        return body
    if "content-length" in headers:
        content: bytes = stream.read(int(headers["content-length"]))
        return content
    rest: bytes = stream.read()
    return rest


def request(
    method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None, version: str = "1.1"
) -> bytes:
    """The bytes of a plain request; a header given as an empty text is left out."""
    given = {"host": "server", "content-type": "application/json", "content-length": str(len(body))}
    if method in ("GET", "HEAD") and not body:
        given = {"host": "server"}
    given |= headers or {}
    lines = [f"{method} {path} HTTP/{version}", *(f"{name}: {value}" for name, value in given.items() if value)]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
