"""uvicorn's HTTP connection, with bounds on what a client may make it wait for or remember.

uvicorn closes connections that are idle after a request, but it waits without end for a first request, for the rest
of a head and for the rest of a body; and it takes heads of any size. Here a timer runs while something is awaited.
A request that arrives in one piece, as nearly all do, neither starts it nor has its head measured.
"""

from __future__ import annotations

import asyncio
import re
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from trimtab_serving.exchange import Exchange, Head, cycle_of
from trimtab_serving.lane import Lane
from trimtab_serving.protocol.v2 import encode_error

MAX_HEAD_BYTES = 32 << 10
MAX_HEADERS = 128
RECEIVE_SECONDS = 60.0
LINGER_SECONDS = 1.0
"""How long a connection on which nothing is going on outlives the server's listening socket."""
MAX_CONNECTIONS = 8192


_UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)


class Connection(HttpToolsProtocol):
    """One connection; the protocol's error body also answers what is not even HTTP."""

    max_connections = MAX_CONNECTIONS
    receive_seconds = RECEIVE_SECONDS
    """From a connection's opening to its first whole request, and from any request's first byte to its last."""

    _awaiting: asyncio.TimerHandle | None = None
    _held: bytes | None = None
    """The body so far of a request that may be plain."""
    _rested = 0.0
    """When the last plain request was answered."""
    _in_head = False
    _in_message = False
    _fed = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client that connects is expected to say something."""
        super().connection_made(transport)
        self._lane: Lane | None = getattr(self.config.app, "lane", None)
        if len(self.connections) > self.max_connections:
            self._hang_up(HTTPStatus.SERVICE_UNAVAILABLE, f"{self.max_connections} connections are open; close some")
            return
        self._await_more()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is awaited any more."""
        self._await_nothing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass on what came, and begin or end to wait for the rest."""
        if not self._in_message and self._is_known(data):
            return
        fresh, before = not self._in_message, self.cycle
        if (fresh or self._in_head) and data.find(b"pgrade", 0, MAX_HEAD_BYTES) >= 0:
            data = _without_upgrade(data)
        self._fed = self._fed + len(data) if self._in_head else len(data)
        super().data_received(data)
        if self._held is not None:
            self._let_go()
        elif self._lane is not None and fresh and self.cycle is not before and isinstance(self.cycle, Exchange):
            self._lane.heads.learn(data, self.cycle.head, self.cycle.body)
        if self._in_head and self._fed > MAX_HEAD_BYTES:
            self._refuse_head()
        elif self._in_message:
            self._await_more()
        elif self._awaiting is not None:
            self._await_nothing()

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._in_head = self._in_message = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is whole; answer it unless it is too large."""
        self._in_head = False
        if self._fed > MAX_HEAD_BYTES or len(self.headers) > MAX_HEADERS:
            size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
            if size > MAX_HEAD_BYTES or len(self.headers) > MAX_HEADERS:
                self._refuse_head()
                return
        if self._lane is not None and self._lane.leads_to(self.url) and self._is_free() and self._is_plain():
            self._held = b""
            return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of a request's body."""
        if self._held is None:
            super().on_body(body)
        else:
            self._held += body

    def on_message_complete(self) -> None:
        """The last byte of a request."""
        self._in_message = False
        if self._held is None or self._lane is None:
            super().on_message_complete()
            return
        body, self._held = self._held, None
        self._hand_over(Head(self.url, self.headers, dict(self.headers)), body)

    def _hand_over(self, head: Head, body: bytes) -> None:
        exchange: Any = Exchange(self, head, body)
        self.cycle = exchange
        assert self._lane is not None
        self._lane.take(exchange)

    def _is_known(self, data: bytes) -> bool:
        """Whether this was one whole plain request with a head that was parsed before; it is on its way then."""
        parted = self._lane.heads.parted(data) if self._lane is not None else None
        if parted is None or not self._is_free():
            return False
        if self._awaiting is not None:
            self._await_nothing()
        self._hand_over(*parted)
        return True

    def _is_free(self) -> bool:
        """Whether a plain request could be answered now: the lane is open, and nothing is under way."""
        return (
            self._lane is not None
            and self._lane.open
            and (self.cycle is None or self.cycle.response_complete)
            and not self.flow.write_paused
        )

    def _is_plain(self) -> bool:
        """Whether this request could be answered without more ado, were its body here."""
        parser = self.parser
        return (
            parser.get_method() == b"POST"
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and not (self.expect_100_continue or parser.should_upgrade())
        )

    def _let_go(self) -> None:
        """The rest of the body is still to come: this request is one for a task, which can wait."""
        body, self._held = self._held, None
        if not self.transport.is_closing():
            super().on_headers_complete()
            super().on_body(body or b"")

    def reply(self, exchange: Exchange, answer: bytes) -> None:
        """Send a whole answer, and take the next request."""
        exchange.response_complete = True
        if not self.transport.is_closing():
            self.transport.write(answer)
        if self.pipeline:
            self.on_response_complete()
            return
        self.server_state.total_requests += 1
        self._rested = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._rest(self.timeout_keep_alive)

    def _rest(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection. Plain requests do not move the timer, which costs more than to look here."""
        self.timeout_keep_alive_task = None
        if self.cycle is not None and not self.cycle.response_complete:
            return
        left = self._rested + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._rest(left)
        else:
            super().timeout_keep_alive_handler()

    def go_the_long_way(self, exchange: Any) -> None:
        """Give a request to the application, as if it had never been held."""
        cycle = cycle_of(exchange)
        if self.cycle is exchange:
            self.cycle = cycle
        self._start_asgi_task(cycle, self.app)

    def shutdown(self) -> None:
        """The server ends. What a client sent before it could know is on its way, and is answered."""
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(LINGER_SECONDS, super().shutdown)
        else:
            super().shutdown()

    def _refuse_head(self) -> None:
        told = f"the head is larger than {MAX_HEAD_BYTES} bytes or {MAX_HEADERS} headers; send less"
        self._hang_up(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, told)

    def _await_more(self) -> None:
        if self._awaiting is None and not self.transport.is_closing():
            self._awaiting = self.loop.call_later(self.receive_seconds, self._expire)

    def _await_nothing(self) -> None:
        if self._awaiting is not None:
            self._awaiting.cancel()
            self._awaiting = None

    def _expire(self) -> None:
        self._awaiting = None
        if self.pipeline or (self._in_head and self.cycle is not None and not self.cycle.response_complete):
            # We are the slow ones: while earlier requests are being answered, nothing is read.
            self._await_more()
            return
        if not self._in_message:
            # A pool or a load balancer opened it in advance. An answer to nothing could be taken for the next one's.
            self.transport.close()
            return
        told = f"the request was not complete after {self.receive_seconds:g} s; send it again"
        self._hang_up(HTTPStatus.REQUEST_TIMEOUT, told)

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that cannot be parsed, and hang up."""
        self._hang_up(HTTPStatus.BAD_REQUEST, msg.rstrip("."))

    def _hang_up(self, status: HTTPStatus, message: str) -> None:
        if self.transport.is_closing():
            return
        if self.cycle is None or not self.cycle.response_started or self.cycle.response_complete:
            body = encode_error(message)
            head = f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\n"
            head += f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
            self.transport.write(head.encode() + body)
        self.transport.close()


def _without_upgrade(data: bytes) -> bytes:
    """A head without its wish for another protocol, in which the parser would take the body to be already."""
    head, end, rest = data.partition(b"\r\n\r\n")
    return _UPGRADE.sub(b"\r\nx-upgrade:", head) + end + rest
