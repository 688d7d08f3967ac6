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
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from trimtab_serving import compression
from trimtab_serving.auth import Door
from trimtab_serving.batching import join, kind, split
from trimtab_serving.counting.recorder import Answered
from trimtab_serving.counting.rows import Seen
from trimtab_serving.exchange import Exchange, Heads
from trimtab_serving.http import JSON, Headers, correlation
from trimtab_serving.lifecycle import Lifecycle, Phase
from trimtab_serving.metrics import Metrics
from trimtab_serving.model import Model, row_count
from trimtab_serving.protocol.forms import Form

MAX_BODY_BYTES = 8 << 10
"""Larger bodies bring more rows than are worth joining."""

_NOT_PLAIN = frozenset({b"content-encoding", b"ce-id", b"inference-header-content-length"})
_JSON = JSON[1]


class Portion(NamedTuple):
    """A request that is understood, and the rows it brings to a batch.

    `told` is its values when its form is known, otherwise its call, with the codec that made it.
    """

    exchange: Exchange
    rows: int
    told: Any
    form: Form | None = None
    codec: Any = None


class Lane:
    """Answers plain predictions of one model. Belongs to one event loop."""

    def __init__(self, lifecycle: Lifecycle, metrics: Metrics, door: Door) -> None:
        settings = lifecycle.settings
        self._lifecycle = lifecycle
        self._metrics = metrics
        self._door = door
        model = f"/v2/models/{settings.model_name}"
        v2 = (f"{model}/infer", f"{model}/versions/{settings.model_version}/infer")
        self._v1 = f"/v1/models/{settings.model_name}:predict".encode()
        self._urls = {path.encode() for path in v2} | {self._v1}
        self._log = settings.access_log
        self._limit = min(MAX_BODY_BYTES, settings.max_request_bytes)
        self._revision = _lines(((b"x-trimtab-revision", settings.revision.encode()),))
        self._head = b""
        self._head_of: Sequence[tuple[bytes, bytes]] | None = None
        self._waiting: list[Exchange] = []
        self.heads = Heads()

    @property
    def open(self) -> bool:
        """Whether plain requests may come this way now."""
        return self._lifecycle.phase is Phase.READY and not self._log

    def leads_to(self, url: bytes) -> bool:
        """Whether requests to this address may be plain ones."""
        return url in self._urls

    def take(self, exchange: Exchange) -> None:
        """Answer this request at the end of the loop's turn."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._flush)
        self._waiting.append(exchange)

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        model = self._lifecycle.model
        groups: dict[object, list[Portion]] = {}
        for exchange in waiting:
            portion = self._understood(model, exchange) if model else None
            if portion is None:
                exchange.connection.go_the_long_way(exchange)
                continue
            call = portion.told
            key = portion.form or (portion.codec, kind(call.arrays, call.outputs.names))
            groups.setdefault(key, []).append(portion)
        for group in groups.values():
            assert model is not None
            for batch in _batches(group, model.joined_rows):
                self._answer(model, batch)

    def _understood(self, model: Model, exchange: Exchange) -> Portion | None:
        """The request as it goes into a batch; None when it is not plain, or not in order."""
        fields, body = exchange.head.fields, exchange.body
        if len(body) > self._limit or not _NOT_PLAIN.isdisjoint(fields) or not exchange.keep_alive:
            return None
        if fields.get(b"content-type", _JSON) != _JSON or not model.inline_rows:
            return None
        try:
            self._door.admit(fields.get(b"authorization"))
            self._lifecycle.check_room()
            old = exchange.head.url == self._v1
            known = None if old else model.frames.find(body)
            if known is not None and known[0].rows <= model.inline_rows:
                form, values = known
                return Portion(exchange, form.rows, values, form)
            codec: Any = model.v1 if old else model.v2
            call = codec.decode(body)
        except Exception:
            return None
        rows = row_count(call.arrays)
        return Portion(exchange, rows, call, codec=codec) if rows <= model.inline_rows and not call.binary else None

    def _answer(self, model: Model, batch: Sequence[Portion]) -> None:
        """Predict, encode, count, write; in this order, so that what was counted can only be sent."""
        rows = [portion.rows for portion in batch]
        try:
            seen, bodies = _predicted(model, batch, rows)
        except Exception:
            bodies = []
        if not bodies or max(map(len, bodies)) >= compression.LEAST_BYTES:
            for portion in batch:
                portion.exchange.connection.go_the_long_way(portion.exchange)
            return
        now = time.perf_counter()
        requests = [Answered(now - portion.exchange.since, portion.exchange.head.fields) for portion in batch]
        told = self._metrics.answered_together(requests, rows, seen)
        for portion, body, extra in zip(batch, bodies, told, strict=True):
            self._write(portion.exchange, body, extra)

    def _write(self, exchange: Exchange, body: bytes, extra: Headers) -> None:
        more = _lines((*correlation(exchange.head.fields), *extra))
        head = self._begun(exchange.connection.server_state.default_headers)
        exchange.connection.reply(exchange, b"%b%d\r\n%b%b\r\n%b" % (head, len(body), self._revision, more, body))

    def _begun(self, default: Sequence[tuple[bytes, bytes]]) -> bytes:
        """An answer's head up to the body's length; uvicorn brings the date with a new list each second."""
        if default is not self._head_of:
            self._head = b"HTTP/1.1 200 OK\r\n" + _lines((*default, JSON)) + b"content-length: "
            self._head_of = default
        return self._head


def _predicted(model: Model, batch: Sequence[Portion], rows: Sequence[int]) -> tuple[Seen, list[bytes]]:
    """What the batch showed, and the body of each answer."""
    form = batch[0].form
    if form is not None:
        names = form.outputs.names
        arrays = form.read([portion.told for portion in batch])
        results = model.at_once(arrays, names)
        return Seen(arrays, names, results), form.answers(model.frames, results, len(batch))
    names = batch[0].told.outputs.names
    arrays = join([portion.told.arrays for portion in batch])
    results = model.at_once(arrays, names)
    parts = zip(batch, split(results, rows), strict=True)
    bodies = [portion.codec.encode(portion.told, part).body for portion, part in parts]
    for portion in batch:
        if portion.codec is model.v2 and portion.told.id is None:
            model.frames.learn(portion.exchange.body)
    return Seen(arrays, names, results), bodies


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
