"""Clients that are slow, silent or endless, on real connections with a short patience."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
import uvicorn

from trimtab_serving import compression
from trimtab_serving.connection import MAX_HEAD_BYTES, MAX_HEADERS, Connection
from trimtab_serving.protocol.errors import RequestError

HEAD = b"POST /echo HTTP/1.1\r\nhost: x\r\n"


class Impatient(Connection):
    receive_seconds = 0.3


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the length of the body; on /slow after longer than the server's patience."""
    size, more = 0, True
    while more:
        event = await receive()
        if event["type"] == "http.disconnect":
            return
        size, more = size + len(event.get("body", b"")), event.get("more_body", False)
    if scope["path"] == "/slow":
        await asyncio.sleep(0.9)
    body = str(size).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
async def port() -> AsyncIterator[int]:
    config = uvicorn.Config(echo, port=0, http=Impatient, ws="none", lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await task


async def talk(port: int, *pieces: bytes, pause: float = 0.05, ends: bool = True) -> bytes:
    """Send the pieces and read: to the end of the connection, or what comes within a moment."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = b""
    with suppress(ConnectionResetError, BrokenPipeError):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)
        received = await asyncio.wait_for(reader.read() if ends else reader.read(65536), 5)
    writer.close()
    return received


def refused(answer: bytes, status: int, message: str) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer
    assert b"connection: close" in head
    assert b"content-length: %d" % len(body) in head
    assert json.loads(body)["error"].startswith(message)


@pytest.mark.parametrize(
    "pieces",
    [
        (HEAD,),
        (HEAD + b"content-length: 10\r\n\r\n", b"12345"),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n", b"2\r\nab\r\n"),
        (HEAD + b"content-length: 2\r\n\r\nabPOST /ec",),
    ],
    ids=["half a head", "half a body", "endless chunks", "half a second request"],
)
async def test_what_does_not_come_is_not_waited_for(port: int, pieces: tuple[bytes, ...]) -> None:
    start = asyncio.get_running_loop().time()
    answer = await talk(port, *pieces)
    assert 0.25 < asyncio.get_running_loop().time() - start < 3
    refused(answer[answer.rfind(b"HTTP/1.1") :], 408, "the request was not complete after 0.3 s; send it again")


async def test_a_silent_connection_is_closed_without_a_word(port: int) -> None:
    start = asyncio.get_running_loop().time()
    assert await talk(port) == b""
    assert 0.25 < asyncio.get_running_loop().time() - start < 3


async def test_dribbling_does_not_buy_time(port: int) -> None:
    answer = await talk(port, HEAD + b"content-length: 100\r\n\r\n", *[b"a"] * 20, pause=0.04)
    # The client may have been writing still when the server hung up; then it has lost the answer.
    if answer:
        refused(answer, 408, "the request was not complete")


async def test_patience_is_counted_anew_for_each_request(port: int) -> None:
    whole = HEAD + b"content-length: 2\r\n\r\n"
    answer = await talk(port, whole, b"ab", whole, b"ab", whole, b"ab", pause=0.1, ends=False)
    assert answer.count(b"HTTP/1.1 200 OK") == 3


async def test_a_slow_answer_is_no_fault_of_the_client(port: int) -> None:
    slow = b"POST /slow HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nab"
    answer = await talk(port, slow, HEAD + b"content-le", b"ngth: 3\r\n\r\nabc", pause=0.4, ends=False)
    assert answer.count(b"HTTP/1.1 200 OK") == 2


@pytest.mark.parametrize(
    "head",
    [
        HEAD + b"x-a: " + b"a" * MAX_HEAD_BYTES + b"\r\n\r\n",
        HEAD + b"".join(b"x-%d: a\r\n" % number for number in range(MAX_HEADERS)) + b"\r\n",
        b"POST /" + b"a" * MAX_HEAD_BYTES + b" HTTP/1.1\r\nhost: x\r\n\r\n",
        HEAD + b"x-a: " + b"a" * (1 << 20),
    ],
    ids=["bytes", "number", "target", "endless"],
)
async def test_heads_that_are_too_large(port: int, head: bytes) -> None:
    answer = await talk(port, head[:30_000], head[30_000:], pause=0)
    if len(head) < (1 << 20):
        refused(answer, 431, "the head is larger than 32768 bytes or 128 headers; send less")
    assert (await talk(port, HEAD + b"content-length: 2\r\n\r\nab", ends=False)).endswith(b"\r\n\r\n2")


async def test_gzip_is_unpacked_within_the_limit_and_no_further() -> None:
    import gzip
    import tracemalloc

    body = b"0123456789" * 1000
    assert await compression.unpacked(gzip.compress(body), 10_000) == body
    assert await compression.unpacked(gzip.compress(body[:5000]) + gzip.compress(body[5000:]), 10_000) == body
    bomb = gzip.compress(b"\0" * (64 << 20))
    tracemalloc.start()
    with pytest.raises(RequestError, match="the body is larger than 9999 bytes") as error:
        await compression.unpacked(bomb, 9999)
    assert error.value.status == 413
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
    for broken, message in (
        (b"", "ends within its gzip stream"),
        (b"hello", "is not gzip"),
        (gzip.compress(body)[:-4], "ends within its gzip stream"),
        (gzip.compress(body) + b"more", "is not gzip"),
    ):
        with pytest.raises(RequestError, match=message) as error:
            await compression.unpacked(broken, 10_000)
        assert error.value.status == 400


@pytest.mark.parametrize(
    ("accepted", "wanted"),
    [
        *((value, True) for value in (b"gzip", b"br, GZIP", b"*", b"gzip;q=0.5", b"deflate, gzip ; q=1.0")),
        *((value, False) for value in (b"", b"br", b"gzip;q=0", b"gzip; q=0.0", b"identity")),
    ],
)
def test_gzip_is_given_to_whom_takes_it(accepted: bytes, wanted: bool) -> None:
    assert compression.wanted(accepted) is wanted
