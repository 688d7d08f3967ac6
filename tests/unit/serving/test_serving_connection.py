"""Clients that are slow, silent or endless, on real connections whose patience ends when the test says so."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, NamedTuple

import pytest
import uvicorn

from trimtab_serving import compression
from trimtab_serving.connection import MAX_HEAD_BYTES, MAX_HEADERS, Connection
from trimtab_serving.protocol.errors import RequestError

HEAD = b"POST /echo HTTP/1.1\r\nhost: x\r\n"


class Watched(Connection):
    """A connection whose patience ends when the test says so, and that tells what it was sent."""

    receive_seconds = 3600.0
    taken = 0

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.taken += len(data)

    @property
    def deadline(self) -> float | None:
        """When patience would end; None while nothing is awaited."""
        return None if self._awaiting is None else self._awaiting.when()

    def run_out(self) -> None:
        """Let it end now."""
        assert self._awaiting is not None, "nothing is awaited"
        self._awaiting.cancel()
        self._expire()


class Echo:
    """A server that answers with the length of the body; on /slow when its gate is opened."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        config = uvicorn.Config(
            self.app, port=0, http=Watched, ws="none", lifespan="off", log_config=None, interface="asgi3"
        )
        self.server = uvicorn.Server(config)

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        size, more = 0, True
        while more:
            event = await receive()
            if event["type"] == "http.disconnect":
                return
            size, more = size + len(event.get("body", b"")), event.get("more_body", False)
        if scope["path"] == "/slow":
            await self.gate.wait()
        body = str(size).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})

    async def opened(self) -> "Client":
        """A new client, once the server has seen it."""
        port = self.server.servers[0].sockets[0].getsockname()[1]
        before = set(self.server.server_state.connections)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await until(lambda: len(self.server.server_state.connections) > len(before))
        (connection,) = self.server.server_state.connections - before
        assert isinstance(connection, Watched)
        return Client(reader, writer, connection)


class Client(NamedTuple):
    """Both ends of a connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    connection: Watched

    async def send(self, *pieces: bytes) -> None:
        """Send pieces, each after the server took the one before."""
        for piece in pieces:
            wanted = self.connection.taken + len(piece)
            self.writer.write(piece)
            await until(lambda wanted=wanted: self.connection.taken == wanted)  # type: ignore[misc]

    async def answer(self) -> bytes:
        """One answer of the echo."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split()[0])
        return head + await self.reader.readexactly(length)

    async def rest(self) -> bytes:
        """All until the server hangs up; what was lost when it did so while we were writing is nothing."""
        with suppress(ConnectionResetError):
            return await self.reader.read()
        return b""


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - uvicorn has no events
            await asyncio.sleep(0.001)


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    echo = Echo()
    task = asyncio.create_task(echo.server.serve())
    await until(lambda: echo.server.started)
    yield echo
    echo.gate.set()
    echo.server.should_exit = True
    await task


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
    ],
    ids=["half a head", "half a body", "endless chunks"],
)
async def test_what_does_not_come_is_not_waited_for(echo: Echo, pieces: tuple[bytes, ...]) -> None:
    client = await echo.opened()
    await client.send(*pieces)
    client.connection.run_out()
    refused(await client.rest(), 408, "the request was not complete after 3600 s; send it again")


async def test_half_a_second_request_is_not_waited_for(echo: Echo) -> None:
    client = await echo.opened()
    await client.send(HEAD + b"content-length: 2\r\n\r\nabPOST /ec")
    assert (await client.answer()).endswith(b"\r\n\r\n2")
    client.connection.run_out()
    refused(await client.rest(), 408, "the request was not complete after 3600 s; send it again")


async def test_a_silent_connection_is_closed_without_a_word(echo: Echo) -> None:
    client = await echo.opened()
    client.connection.run_out()
    assert await client.rest() == b""


async def test_patience_ends_by_itself(echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Watched, "receive_seconds", 0.01)
    port = echo.server.servers[0].sockets[0].getsockname()[1]
    reader, _ = await asyncio.open_connection("127.0.0.1", port)
    assert await reader.read() == b""


async def test_dribbling_does_not_buy_time(echo: Echo) -> None:
    client = await echo.opened()
    await client.send(HEAD)
    deadline = client.connection.deadline
    assert deadline is not None
    await client.send(b"content-length: 100\r\n\r\n", *[b"a"] * 20)
    assert client.connection.deadline == deadline
    client.connection.run_out()
    refused(await client.rest(), 408, "the request was not complete")


async def test_patience_is_counted_anew_for_each_request(echo: Echo) -> None:
    client = await echo.opened()
    deadlines = []
    for _ in range(3):
        await client.send(HEAD + b"content-length: 2\r\n\r\n", b"a")
        deadlines.append(client.connection.deadline or 0)
        await client.send(b"b")
        assert (await client.answer()).startswith(b"HTTP/1.1 200 OK")
        assert client.connection.deadline is None
    assert deadlines == sorted(set(deadlines))


async def test_a_slow_answer_is_no_fault_of_the_client(echo: Echo) -> None:
    client = await echo.opened()
    await client.send(b"POST /slow HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nab", HEAD + b"content-le")
    client.connection.run_out()
    await client.send(b"ngth: 3\r\n\r\nabc")
    echo.gate.set()
    assert [(await client.answer())[-5:] for _ in range(2)] == [b"\r\n\r\n2", b"\r\n\r\n3"]


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
async def test_heads_that_are_too_large(echo: Echo, head: bytes) -> None:
    client = await echo.opened()
    await client.send(head[:3000])
    client.writer.write(head[3000:])
    answer = await client.rest()
    if len(head) < (1 << 20):
        refused(answer, 431, "the head is larger than 32768 bytes or 128 headers; send less")
    other = await echo.opened()
    await other.send(HEAD + b"content-length: 2\r\n\r\nab")
    assert (await other.answer()).endswith(b"\r\n\r\n2")


@pytest.mark.parametrize("name", [b"Upgrade", b"upgrade"])
async def test_a_wish_for_another_protocol_takes_no_body_away(echo: Echo, name: bytes) -> None:
    """Java's client wishes for HTTP/2 in each first request of a connection, those with a body too."""
    client = await echo.opened()
    request = HEAD + b"Connection: Upgrade, HTTP2-Settings\r\n" + name + b": h2c\r\ncontent-length: 7\r\n\r\n"
    await client.send(request + b"upgrade")
    assert (await client.answer()).endswith(b"\r\n\r\n7")
    await client.send(request[: len(HEAD)], request[len(HEAD) :], b"upgrade")
    assert (await client.answer()).endswith(b"\r\n\r\n7")


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


async def test_gzip_of_very_many_members_costs_no_more_than_its_length(monkeypatch: pytest.MonkeyPatch) -> None:
    import gzip
    import types
    import zlib

    handed = 0

    class Stream:
        """A stream that notes how many bytes it was handed, each of which may be copied once more."""

        def __init__(self, wbits: int) -> None:
            self.stream = zlib.decompressobj(wbits)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.stream, name)

        def decompress(self, data: bytes, most: int) -> bytes:
            nonlocal handed
            handed += len(data)
            return self.stream.decompress(data, most)

    monkeypatch.setattr(compression, "zlib", types.SimpleNamespace(decompressobj=Stream, error=zlib.error))
    costs = []
    for members in (2000, 8000):
        handed = 0
        content = gzip.compress(b"") * members + gzip.compress(b"the end")
        assert await compression.unpacked(content, 10_000) == b"the end"
        costs.append(handed)
    assert costs[1] < 5 * costs[0]


@pytest.mark.parametrize(
    ("accepted", "wanted"),
    [
        *((value, True) for value in (b"gzip", b"br, GZIP", b"*", b"gzip;q=0.5", b"deflate, gzip ; q=1.0")),
        *((value, False) for value in (b"", b"br", b"gzip;q=0", b"gzip; q=0.0", b"identity")),
    ],
)
def test_gzip_is_given_to_whom_takes_it(accepted: bytes, wanted: bool) -> None:
    assert compression.wanted(accepted) is wanted
