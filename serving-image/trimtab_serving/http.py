"""The little of HTTP the server needs: a request's body within its limit, and an answer in one piece."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from trimtab_serving.protocol.errors import RequestError
from trimtab_serving.protocol.v2 import encode_error

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

JSON: tuple[bytes, bytes] = (b"content-type", b"application/json")
CLOSE: tuple[bytes, bytes] = (b"connection", b"close")
MAX_REQUEST_ID_BYTES = 128


class Connection(HttpToolsProtocol):
    """uvicorn's HTTP connection, with the protocol's error body for what is not even HTTP."""

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that cannot be parsed, and hang up."""
        body = encode_error(msg.rstrip("."))
        head = f"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(f"{head}connection: close\r\n\r\n".encode() + body)
        self.transport.close()


class Disconnected(Exception):  # noqa: N818 - what happened, not a fault of ours
    """The client went away before its request was complete; there is nobody to answer."""


class Response(NamedTuple):
    """An answer. Its length is added when it is sent."""

    status: int
    body: bytes
    headers: Headers = (JSON,)


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The whole body; RequestError 413 above `limit` bytes, 415 when it is compressed."""
    for name, value in scope["headers"]:
        if name == b"content-length" and int(value) > limit:
            raise await _too_large(receive, limit, sending=not _expects_continue(scope))
        if name == b"content-encoding" and value.lower() != b"identity":
            told = value[:32].decode("latin-1")
            raise RequestError(f"content-encoding {told!r} is not supported; send it uncompressed", 415)
    event = await receive()
    body: bytes = event.get("body", b"")
    while event.get("more_body"):
        event = await receive()
        body += event.get("body", b"")
        if len(body) > limit:
            raise await _too_large(receive, limit, sending=True)
    if event["type"] == "http.disconnect":
        raise Disconnected
    return body


async def _too_large(receive: Receive, limit: int, *, sending: bool) -> RequestError:
    # A client that is still sending would lose the answer to a connection reset, so read on for a while. One
    # that asked first (Expect: 100-continue) sends nothing unless we begin to read.
    discarded = 0
    while sending and discarded < limit:
        event = await receive()
        discarded += len(event.get("body", b""))
        sending = event.get("more_body", False)
    message = f"the body is larger than {limit} bytes; send fewer rows in a request"
    return RequestError(message, 413, (CLOSE,))


def _expects_continue(scope: Scope) -> bool:
    return any(name == b"expect" for name, _ in scope["headers"])


def request_id(scope: Scope) -> bytes | None:
    """The client's x-request-id, if it gave a sensible one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and len(value) <= MAX_REQUEST_ID_BYTES:
            return bytes(value)
    return None


async def send_response(send: Send, response: Response, extra: Headers) -> None:
    """Send the answer with its length and the `extra` headers."""
    length = (b"content-length", str(len(response.body)).encode())
    headers = [*response.headers, length, *extra]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})
