"""The short way for plain predictions: all that arrive in one turn of the event loop are answered in one go.

Most requests are alike: a small body that came in one piece, for a model that answers in microseconds. They need
no task and no ASGI messages. What one turn of the loop has brought is decoded, predicted as one batch, counted as
one block, and written; so the model, numpy and the counts are each entered once, with warm caches, however many
clients there are. Nothing waits for company: a request that is alone in its turn runs alone.

The lane knows only how to answer 200. Whatever is not plain, and whatever goes wrong, goes the long way through the
application from its beginning, where faults have their words; so a bad request spoils nothing for its neighbours.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from trimtab_serving import compression
from trimtab_serving.auth import Door
from trimtab_serving.batching import join, kind, split
from trimtab_serving.counting.recorder import Answered
from trimtab_serving.counting.rows import Seen
from trimtab_serving.http import JSON, Headers, correlation
from trimtab_serving.lifecycle import Lifecycle, Phase
from trimtab_serving.metrics import Metrics
from trimtab_serving.model import Model, row_count
from trimtab_serving.protocol.v2_codec import Call

if TYPE_CHECKING:
    from trimtab_serving.connection import Connection

MAX_BODY_BYTES = 8 << 10
"""Larger bodies bring more rows than are worth joining."""

_NOT_PLAIN = frozenset({b"content-encoding", b"ce-id", b"inference-header-content-length"})
_JSON = JSON[1]


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
        "headers",
        "keep_alive",
        "response_complete",
        "response_started",
        "scope",
        "since",
    )
    message_event = _Nobody()

    def __init__(self, connection: Connection, scope: Any, body: bytes) -> None:
        self.connection = connection
        self.scope = scope
        self.body = body
        self.headers: Mapping[bytes, bytes] = {}
        self.since = time.perf_counter()
        self.disconnected = self.response_started = self.response_complete = False
        self.keep_alive = True


class Portion(NamedTuple):
    """A request that is understood; `rows` is what it brings to the batch."""

    exchange: Exchange
    codec: Any
    call: Call
    rows: int


class Lane:
    """Answers plain predictions of one model. Belongs to one event loop."""

    def __init__(self, lifecycle: Lifecycle, metrics: Metrics, door: Door) -> None:
        settings = lifecycle.settings
        self._lifecycle = lifecycle
        self._metrics = metrics
        self._door = door
        model = f"/v2/models/{settings.model_name}"
        v2 = (f"{model}/infer", f"{model}/versions/{settings.model_version}/infer")
        v1 = f"/v1/models/{settings.model_name}:predict"
        self._paths = {path.encode(): path for path in (*v2, v1)}
        self._v1 = v1
        self._log = settings.access_log
        self._own: Headers = ((b"x-trimtab-revision", settings.revision.encode()), JSON)
        self._head = b""
        self._head_of: Sequence[tuple[bytes, bytes]] | None = None
        self._waiting: list[Exchange] = []

    def leads_to(self, url: bytes) -> bool:
        """Whether requests to this address may be plain ones now."""
        return url in self._paths and self._lifecycle.phase is Phase.READY and not self._log

    def take(self, exchange: Exchange, url: bytes) -> None:
        """Answer this request at the end of the loop's turn."""
        exchange.scope |= {"method": "POST", "path": self._paths[url], "raw_path": url, "query_string": b""}
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._flush)
        self._waiting.append(exchange)

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        model = self._lifecycle.model
        if model is None or not model.inline_rows:
            for exchange in waiting:
                exchange.connection.go_the_long_way(exchange)
            return
        groups: dict[object, list[Portion]] = {}
        for exchange in waiting:
            portion = self._understood(model, exchange)
            if portion is None:
                exchange.connection.go_the_long_way(exchange)
            else:
                groups.setdefault(kind(portion.call.arrays, portion.call.outputs.names), []).append(portion)
        for group in groups.values():
            for batch in _batches(group, model.joined_rows):
                self._answer(model, batch)

    def _understood(self, model: Model, exchange: Exchange) -> Portion | None:
        """The request as it goes into a batch; None when it is not plain, or not in order."""
        exchange.headers = headers = dict(exchange.scope["headers"])
        if len(exchange.body) > MAX_BODY_BYTES or not _NOT_PLAIN.isdisjoint(headers):
            return None
        if not exchange.keep_alive or headers.get(b"content-type", _JSON) != _JSON:
            return None
        codec = model.v1 if exchange.scope["path"] == self._v1 else model.v2
        try:
            self._door.admit(headers.get(b"authorization"))
            self._lifecycle.check_room()
            call = codec.decode(exchange.body)
        except Exception:
            return None
        rows = row_count(call.arrays)
        return Portion(exchange, codec, call, rows) if rows <= model.inline_rows and not call.binary else None

    def _answer(self, model: Model, batch: Sequence[Portion]) -> None:
        """Predict, encode, count, write; in this order, so that what was counted can only be sent."""
        names = batch[0].call.outputs.names
        rows = [portion.rows for portion in batch]
        try:
            arrays = join([portion.call.arrays for portion in batch])
            results = model.at_once(arrays, names)
            parts = split(results, rows)
            bodies = [portion.codec.encode(portion.call, part).body for portion, part in zip(batch, parts, strict=True)]
        except Exception:
            bodies = []
        if not bodies or max(map(len, bodies)) >= compression.LEAST_BYTES:
            for portion in batch:
                portion.exchange.connection.go_the_long_way(portion.exchange)
            return
        now = time.perf_counter()
        requests = [Answered(now - portion.exchange.since, portion.exchange.headers) for portion in batch]
        told = self._metrics.answered_together(requests, rows, Seen(arrays, names, results))
        for portion, body, extra in zip(batch, bodies, told, strict=True):
            self._write(portion.exchange, body, extra)

    def _write(self, exchange: Exchange, body: bytes, extra: Headers) -> None:
        more = _lines((*extra, *correlation(exchange.headers)))
        head = self._begun(exchange.connection.server_state.default_headers)
        exchange.connection.reply(exchange, b"%b%d\r\n%b\r\n%b" % (head, len(body), more, body))

    def _begun(self, default: Sequence[tuple[bytes, bytes]]) -> bytes:
        """An answer's head up to the body's length; uvicorn brings the date with a new list each second."""
        if default is not self._head_of:
            self._head = b"HTTP/1.1 200 OK\r\n" + _lines((*default, *self._own)) + b"content-length: "
            self._head_of = default
        return self._head


def _batches(group: Sequence[Portion], most: int) -> Iterator[Sequence[Portion]]:
    """The group in parts of at most so many rows, or of one request that has more."""
    batch: list[Portion] = []
    rows = 0
    for portion in group:
        if batch and rows + portion.rows > most:
            yield batch
            batch, rows = [], 0
        batch.append(portion)
        rows += portion.rows
    yield batch


def _lines(headers: Headers) -> bytes:
    return b"".join([b"%b: %b\r\n" % header for header in headers])
