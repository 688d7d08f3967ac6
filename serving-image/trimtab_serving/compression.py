"""gzip in both directions, never more of it in memory than a plain body may have."""

from __future__ import annotations

import asyncio
import functools
import zlib

from trimtab_serving.protocol.errors import RequestError

LEAST_BYTES = 1024
"""A shorter answer is not worth compressing: it fits into one packet anyway."""

_THREAD_BYTES = 64 << 10
_PIECE_BYTES = 4 << 10
_GZIP = 31
_LEVEL = 1


def is_gzip(encoding: bytes) -> bool:
    """Whether a body with this content-encoding must be unpacked; RequestError 415 for what cannot be."""
    known = encoding.strip().lower()
    if known not in (b"gzip", b"x-gzip", b"identity", b""):
        told = encoding[:32].decode("latin-1")
        message = f"content-encoding {told!r} is not supported; send gzip, or uncompressed"
        raise RequestError(message, 415, ((b"accept-encoding", b"gzip, identity"),))
    return known not in (b"identity", b"")


async def unpacked(body: bytes, limit: int) -> bytes:
    """The uncompressed body; RequestError 413 above `limit` bytes, 400 when it is not gzip or not whole."""
    if len(body) < LEAST_BYTES:
        return _unpack(body, limit)
    return await asyncio.to_thread(_unpack, body, limit)


def _unpack(body: bytes, limit: int) -> bytes:
    stream, pieces, size = zlib.decompressobj(_GZIP), [], 0
    for start in range(0, len(body), _PIECE_BYTES):
        # Piece by piece: what is behind the end of a stream is copied, and there may be a million ends.
        rest = body[start : start + _PIECE_BYTES]
        while rest:
            if stream.eof:
                stream = zlib.decompressobj(_GZIP)
            try:
                pieces.append(stream.decompress(rest, limit + 1 - size))
            except zlib.error as error:
                raise RequestError(f"the body is not gzip as its content-encoding says: {error}") from None
            size += len(pieces[-1])
            if size > limit:
                raise too_large(limit)
            rest = stream.unused_data
    if not stream.eof:
        raise RequestError("the body ends within its gzip stream; send all of it")
    return b"".join(pieces)


async def packed(body: bytes) -> bytes:
    """The body as gzip, in a thread when that may take long enough to be felt by others."""
    if len(body) < _THREAD_BYTES:
        return zlib.compress(body, _LEVEL, _GZIP)
    return await asyncio.to_thread(zlib.compress, body, _LEVEL, _GZIP)


@functools.lru_cache(maxsize=64)
def wanted(accepted: bytes) -> bool:
    """Whether a client with this accept-encoding takes gzip."""
    for part in accepted.lower().split(b","):
        name, _, weight = part.partition(b";")
        if name.strip() in (b"gzip", b"x-gzip", b"*"):
            return weight.replace(b" ", b"") not in (b"q=0", b"q=0.0", b"q=0.00", b"q=0.000")
    return False


def too_large(limit: int) -> RequestError:
    """What a client is told whose body, as sent or unpacked, is larger than `limit` bytes."""
    return RequestError(f"the body is larger than {limit} bytes; send fewer rows in a request", 413)
