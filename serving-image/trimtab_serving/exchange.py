"""A plain request between its connection and the lane, and the heads by which such requests are known again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

if TYPE_CHECKING:
    from trimtab_serving.connection import Connection

MAX_HEADS = 256
MAX_HEAD_BYTES = 2048
_END = b"\r\n\r\n"
_NEVER_AGAIN = frozenset({b"x-request-id", b"traceparent"})


class Head(NamedTuple):
    """What a request says before its body. `fields` has the last of equal names, `headers` has all."""

    url: bytes
    headers: Sequence[tuple[bytes, bytes]]
    fields: Mapping[bytes, bytes]


class _Nobody:
    """Stands where uvicorn wakes a task: none waits here."""

    def set(self) -> None:
        """Wake nobody."""


class Exchange:
    """A request in the lane. To uvicorn's connection it is the cycle at hand, and has what it looks at."""

    __slots__ = (
        "body",
        "connection",
        "disconnected",
        "head",
        "keep_alive",
        "response_complete",
        "response_started",
        "since",
    )
    message_event = _Nobody()

    def __init__(self, connection: Connection, head: Head, body: bytes) -> None:
        self.connection = connection
        self.head = head
        self.body = body
        self.since = time.perf_counter()
        self.disconnected = self.response_started = self.response_complete = False
        self.keep_alive = True


def cycle_of(exchange: Exchange) -> RequestResponseCycle:
    """The exchange as uvicorn would have made it, with the whole body at hand."""
    connection = exchange.connection
    cycle = RequestResponseCycle(
        _scope(connection, exchange.head),
        connection.transport,
        connection.flow,
        connection.logger,
        connection.access_logger,
        connection.access_log,
        connection.server_state.default_headers,
        asyncio.Event(),
        expect_100_continue=False,
        keep_alive=exchange.keep_alive,
        on_response=connection.on_response_complete,
    )
    cycle.body, cycle.more_body, cycle.disconnected = bytearray(exchange.body), False, exchange.disconnected
    cycle.message_event.set()
    return cycle


def _scope(connection: Connection, head: Head) -> Any:
    return {
        "type": "http",
        "asgi": {"version": connection.asgi_version, "spec_version": "2.3"},
        "http_version": "1.1",
        "server": connection.server,
        "client": connection.client,
        "scheme": connection.scheme,
        "root_path": connection.root_path,
        "state": connection.app_state.copy(),
        "method": "POST",
        "path": connection.root_path + head.url.decode(),
        "raw_path": connection.root_path.encode() + head.url,
        "query_string": b"",
        "headers": list(head.headers),
    }


class Heads:
    """The heads of plain requests that were parsed, byte by byte as they came.

    A client that keeps its connections says the same head each time, and the same bytes mean the same.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[Head, int]] = {}

    def parted(self, data: bytes) -> tuple[Head, bytes] | None:
        """Head and body, when `data` is one whole request with a head that is known."""
        end = data.find(_END) + len(_END)
        known = self._known.get(data[:end])
        if known is None or len(data) - end != known[1]:
            return None
        return known[0], data[end:]

    def learn(self, data: bytes, head: Head, body: bytes) -> None:
        """Remember the head of a request that was parsed from `data`, if that held this request and nothing else."""
        end = data.find(_END) + len(_END)
        alone = data[end:] == body and head.fields.get(b"content-length") == b"%d" % len(body)
        if not alone or end > MAX_HEAD_BYTES or not _NEVER_AGAIN.isdisjoint(head.fields):
            return
        if len(self._known) >= MAX_HEADS:
            self._known.clear()
        self._known[data[:end]] = head, len(body)
