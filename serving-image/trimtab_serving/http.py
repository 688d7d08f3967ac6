"""The little of HTTP the server needs: a request's body within its limit, and an answer in one piece."""

from __future__ import annotations

import functools
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import msgspec

from trimtab_serving import compression
from trimtab_serving.protocol.errors import RequestError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

JSON: tuple[bytes, bytes] = (b"content-type", b"application/json")
BINARY: tuple[bytes, bytes] = (b"content-type", b"application/octet-stream")
CLOSE: tuple[bytes, bytes] = (b"connection", b"close")
MAX_REQUEST_ID_BYTES = 128

_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
# What curl and some clients call any body when they are not told. All of it is read as what the path takes.
_BODY_TYPES = frozenset({"application/json", "application/octet-stream", "application/x-www-form-urlencoded"})
_CONTENT_TYPE = b"content-type"


class Disconnected(Exception):  # noqa: N818 - what happened, not a fault of ours
    """The client went away before its request was complete; there is nobody to answer."""


class Request:
    """A request as its handler sees it. `headers` has the last of equal names."""

    __slots__ = ("headers", "receive", "scope")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope = scope
        self.receive = receive
        self.headers: Mapping[bytes, bytes] = dict(scope["headers"])


class Response(msgspec.Struct, frozen=True):
    """An answer. Its length is added when it is sent."""

    status: int
    body: bytes
    headers: Headers = (JSON,)


def correlation(headers: Mapping[bytes, bytes]) -> Headers:
    """What the client wants to recognise the answer by: a sensible x-request-id, a valid traceparent."""
    found: Headers = ()
    if b"x-request-id" in headers and len(headers[b"x-request-id"]) <= MAX_REQUEST_ID_BYTES:
        found = ((b"x-request-id", headers[b"x-request-id"]),)
    if b"traceparent" in headers and _TRACEPARENT.fullmatch(headers[b"traceparent"]):
        found = (*found, (b"traceparent", headers[b"traceparent"]))
    return found


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body, uncompressed; RequestError 413 above `limit` bytes, 415 for what is not read here."""
    headers = request.headers
    if b"content-length" in headers and int(headers[b"content-length"]) > limit:
        raise await _too_large(request, limit, sending=b"expect" not in headers)
    if headers.get(_CONTENT_TYPE, b"application/json") != b"application/json":
        _check_media(headers[_CONTENT_TYPE])
    encoding = headers.get(b"content-encoding")
    packed = encoding is not None and compression.is_gzip(encoding)
    event = await request.receive()
    body: bytes = event.get("body", b"")
    if event.get("more_body"):
        body, event = await _rest_of_body(request, body, limit)
    if event["type"] == "http.disconnect":
        raise Disconnected
    return await compression.unpacked(body, limit) if packed else body


async def _rest_of_body(request: Request, first: bytes, limit: int) -> tuple[bytes, MutableMapping[str, Any]]:
    pieces, size = [first], len(first)
    while True:
        event = await request.receive()
        pieces.append(event.get("body", b""))
        size += len(pieces[-1])
        if size > limit:
            raise await _too_large(request, limit, sending=event.get("more_body", False))
        if not event.get("more_body"):
            return b"".join(pieces), event


async def _too_large(request: Request, limit: int, *, sending: bool) -> RequestError:
    # A client that is still sending would lose the answer to a connection reset, so read on for a while. One
    # that asked first (Expect: 100-continue) sends nothing unless we begin to read.
    discarded = 0
    while sending and discarded < limit:
        event = await request.receive()
        discarded += len(event.get("body", b""))
        sending = event.get("more_body", False)
    return RequestError(compression.too_large(limit).message, 413, (CLOSE,))


@functools.lru_cache(maxsize=64)
def _check_media(value: bytes) -> None:
    media, _, rest = value.decode("latin-1").lower().partition(";")
    charset = re.search(r"charset=\"?([^\s;\"]+)", rest)
    if media.strip() not in _BODY_TYPES:
        told = f"content-type {media.strip()[:64]!r} is not read here"
        raise RequestError(f"{told}; send application/json, or application/octet-stream with binary tensors", 415)
    if charset and charset[1] not in ("utf-8", "utf8", "us-ascii"):
        raise RequestError(f"charset {charset[1][:32]!r} is not read here; send UTF-8", 415)


def json_length(headers: Mapping[bytes, bytes]) -> int | None:
    """What Inference-Header-Content-Length says, None without it; RequestError when it is no number of bytes."""
    value = headers.get(b"inference-header-content-length")
    if value is None:
        return None
    if not (value.isdigit() and len(value) < 16):
        told = value[:32].decode("latin-1")
        raise RequestError(f"Inference-Header-Content-Length {told!r} must be the number of bytes of the JSON")
    return int(value)


def cloud_event(headers: Mapping[bytes, bytes], source: bytes) -> Headers:
    """The headers of the event that answers a CloudEvent in binary mode; none when the request is no event."""
    identity = headers.get(b"ce-id")
    if identity is None or b"ce-specversion" not in headers or len(identity) > MAX_REQUEST_ID_BYTES:
        return ()
    return (
        (b"ce-specversion", b"1.0"),
        (b"ce-id", identity),
        (b"ce-source", source),
        (b"ce-type", b"dev.trimtab.inference.response"),
    )


async def send_response(send: Send, response: Response, extra: Headers) -> None:
    """Send the answer with its length and the `extra` headers."""
    length = (b"content-length", str(len(response.body)).encode())
    headers = [*response.headers, length, *extra]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})
