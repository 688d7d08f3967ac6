"""The edges of HTTP: how a request is cut, framed, repeated and interrupted must not matter, or be refused in order."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise

from bench.conformance.case import Table, Target
from bench.conformance.checks import answered, fault, ok, status
from bench.conformance.wire import request

table = Table("http")
INFER = "/v2/models/{model}/infer"

Whole = Callable[[Target], bytes]


def encoded(target: Target) -> bytes:
    return json.dumps(target.body()).encode()


def plain(target: Target, version: str = "1.1", **headers: str) -> bytes:
    """A right inference request."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return request("POST", target.infer, encoded(target), given, version)


def chunked(body: bytes, size: int, extension: bytes = b"", trailer: bytes = b"") -> bytes:
    """The body in chunks of `size` bytes."""
    cut = [body[start : start + size] for start in range(0, len(body), size)]
    chunks = [b"%x%s\r\n%s\r\n" % (len(part), extension, part) for part in cut]
    return b"".join(chunks) + b"0\r\n" + trailer + b"\r\n"


def in_chunks(target: Target, size: int, extension: bytes = b"", trailer: bytes = b"") -> bytes:
    head = request("POST", target.infer, b"", {"content-length": "", "transfer-encoding": "chunked"})
    return head + chunked(encoded(target), size, extension, trailer)


def sliced(whole: bytes, *cuts: int) -> list[bytes]:
    """The bytes in pieces that are sent one after the other."""
    places = [0, *(cut % len(whole) for cut in cuts), len(whole)]
    return [whole[start:end] for start, end in pairwise(places)]


def as_is(content: bytes) -> Callable[[Target], list[bytes]]:
    return lambda target: [content]


def one(name: str, whole: Whole, *checks: Callable[..., None]) -> None:
    table.raw(name, lambda target: [whole(target)], *checks)


def headers(count: int, size: int) -> dict[str, str]:
    return {f"x_pad_{number}": "a" * size for number in range(count)}


one("a body in one chunk", lambda t: in_chunks(t, 1 << 20), answered())
one("a body in chunks of 7 bytes", lambda t: in_chunks(t, 7), answered())
one("chunks with extensions", lambda t: in_chunks(t, 50, b";a=b"), answered())
one("chunks with a trailer", lambda t: in_chunks(t, 50, trailer=b"x-after: 1\r\n"), answered())
one(
    "an empty chunked body",
    lambda t: in_chunks(t, 1 << 20)[: -len(chunked(encoded(t), 1 << 20))] + b"0\r\n\r\n",
    fault(),
)
one("a chunk size that is no number", lambda t: in_chunks(t, 7).replace(b"\r\n7\r\n", b"\r\nxyz\r\n", 1), status(400))
one(
    "a chunk that is longer than it says", lambda t: in_chunks(t, 7).replace(b"\r\n7\r\n", b"\r\n3\r\n", 1), status(400)
)

table.raw("cut within the method", lambda t: sliced(plain(t), 2), answered())
table.raw("cut within a header", lambda t: sliced(plain(t), 60), answered())
table.raw("cut before the body", lambda t: sliced(plain(t), -len(encoded(t))), answered())
table.raw("cut within the body", lambda t: sliced(plain(t), -20), answered())
table.raw("cut into many pieces", lambda t: sliced(plain(t), *range(20, 160, 20)), answered())
table.raw("cut within a chunk", lambda t: sliced(in_chunks(t, 64), -30), answered())

one("two requests at once", lambda t: plain(t) * 2, answered(), answered())
one("ten requests at once", lambda t: plain(t) * 10, *[answered()] * 10)
one(
    "a fault between two right requests",
    lambda t: plain(t) + request("POST", t.infer, b"{}") + plain(t),
    answered(),
    fault(),
    answered(),
)
one(
    "an unknown path before a right request",
    lambda t: request("POST", "/v2/nothing", b"{}") + plain(t),
    fault("", 404),
    answered(),
)
table.raw("two requests one after the other", lambda t: [plain(t), plain(t)], answered(), answered())
table.raw(
    "health between predictions",
    lambda t: [plain(t), request("GET", "/v2/health/live"), plain(t)],
    answered(),
    ok,
    answered(),
)

one("Connection: close", lambda t: plain(t, connection="close"), answered())
one("HTTP/1.0", lambda t: plain(t, "1.0"), answered())
one("HTTP/1.0 with keep-alive", lambda t: plain(t, "1.0", connection="keep-alive"), answered())
one("header names in capitals", lambda t: plain(t).replace(b"content-length", b"CONTENT-LENGTH"), answered())
one("spaces around a value", lambda t: plain(t).replace(b"content-length: ", b"content-length:   "), answered())
one("no space before a value", lambda t: plain(t).replace(b"content-length: ", b"content-length:"), answered())
one("an empty line before the request", lambda t: b"\r\n" + plain(t), answered())
one("a header in Latin-1", lambda t: plain(t, x_name="J\xfcrgen"), answered())
one("50 headers", lambda t: plain(t, **headers(50, 20)), answered())
one("a header of 4 KiB", lambda t: plain(t, **headers(1, 4096)), answered())
one("a header of 1 MiB", lambda t: plain(t, **headers(1, 1 << 20)), status(400, 413, 431))
one("5,000 headers", lambda t: plain(t, **headers(5000, 20)), status(400, 413, 431))
one("a path of 100 kB", lambda t: request("GET", "/v2/" + "x" * 100_000), status(400, 404, 413, 414, 431))
one("an absolute target", lambda t: plain(t).replace(b"POST /", b"POST http://server/", 1), status(200, 400, 404))

table.raw("Expect: 100-continue", lambda t: sliced(plain(t, expect="100-continue"), -len(encoded(t))), answered())
table.get("a query", "/v2/models/{model}/ready?verbose=1", ok)
table.get("an empty query", "/v2/models/{model}/ready?", ok)
table.post("a query on inference", INFER + "?a=b&c", lambda t: t.body(), answered())
table.raw(
    "a name in percents", lambda t: [request("GET", "/v2/models/" + "".join(f"%{ord(c):02x}" for c in t.model))], ok
)
table.get("double slashes", "//v2//health//live", fault("", 404))
table.get("a broken percent", "/v2/models/%zz/ready", fault("", 400, 404))
table.get("a NUL in percents", "/v2/models/%00/ready", fault("", 400, 404))
table.get("bytes that are no UTF-8 in percents", "/v2/models/%ff%fe/ready", fault("", 400, 404))

BROKEN = {
    "no HTTP at all": b"hello\r\n\r\n",
    "an unknown method": b"GRAB /v2 HTTP/1.1\r\nhost: a\r\n\r\n",
    "a version that is not there": b"GET /v2 HTTP/9.9\r\nhost: a\r\n\r\n",
    "a length below zero": b"POST /v2 HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
    "a length in words": b"POST /v2 HTTP/1.1\r\nhost: a\r\ncontent-length: ten\r\n\r\n",
    "a length beyond 64 bits": b"POST /v2 HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999999999999999\r\n\r\n",
    "two lengths": b"POST /v2 HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
    "a NUL in a header": b"GET /v2 HTTP/1.1\r\nhost: a\r\nx-a: \0\r\n\r\n",
    "a header without colon": b"GET /v2 HTTP/1.1\r\nhost a\r\n\r\n",
    "a space in a header's name": b"GET /v2 HTTP/1.1\r\nho st: a\r\n\r\n",
    "raw bytes in the path": b"GET /v2/\xff\xfe HTTP/1.1\r\nhost: a\r\n\r\n",
    "TLS to a plain port": bytes.fromhex("1603010200010001fc0303") + b"\0" * 64 + b"\r\n\r\n",
}
for _name, _sent in BROKEN.items():
    table.raw(_name, as_is(_sent), status(400, 404, 405, 413, 501, 505))
one(
    "both a length and chunks",
    lambda t: plain(t).replace(b"content-type", b"transfer-encoding: chunked\r\ncontent-type", 1),
    status(400, 501),
)
one(
    "a transfer coding nobody knows",
    lambda t: plain(t, content_length="", transfer_encoding="foo"),
    status(400, 411, 501),
)

# The server owes no answer to what is left unfinished. It must only go on serving others.
table.raw("hanging up within the head", lambda t: [plain(t)[:40]])
table.raw("hanging up within the body", lambda t: [plain(t)[:-10]])
table.raw("hanging up after the request", lambda t: [plain(t)])
one("after clients that hung up", plain, answered())
one("a body longer than its length", lambda t: plain(t) + b"}}}}", status(200, 400))
