"""Plain predictions on connections without a network: what one turn of the event loop brings is answered in one go."""

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from uvicorn.server import ServerState

from tests.unit.serving.test_serving_app import DIGEST, INFER, INFO, Adder, body
from trimtab_serving.app import Application
from trimtab_serving.connection import Connection
from trimtab_serving.lifecycle import Lifecycle, Phase
from trimtab_serving.metrics import Metrics
from trimtab_serving.model import Model
from trimtab_serving.protocol.datatypes import Array
from trimtab_serving.protocol.forms import Frames
from trimtab_serving.protocol.signature import Signature
from trimtab_serving.settings import Settings

BEARER = "a-token-that-is-long-enough"


class Watched(Adder):
    """Keeps the rows of each run, and refuses a batch in which any row is negative."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[int] = []

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        rows = inputs["x"]
        self.runs.append(len(rows))
        if (rows == -1).any():
            return super().run({"x": np.array([[-1.0, 0.0]])}, outputs)
        words = np.array(["a"] * len(rows), object)
        return [{"sum": rows.sum(axis=1), "word": words}[name] for name in outputs]


class Wire(asyncio.Transport):
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.sent = b""
        self.closing = False

    def write(self, data: Any) -> None:
        assert not self.closing
        self.sent += data

    def close(self) -> None:
        self.closing = True

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Host:
    """A server of the adder whose connections are made here."""

    def __init__(self, **settings: Any) -> None:
        told = Settings("adder", "7", DIGEST, Path("/nowhere"), **settings)
        self.metrics = Metrics("adder", told.revision)
        self.lifecycle = Lifecycle(told, self.metrics)
        self.runtime = Watched()
        model = Model(told, Signature(INFO), self.runtime, "onnx")
        model.inline_rows = 100
        self.lifecycle.model = model
        self.lifecycle.phase = Phase.READY
        app = Application(self.lifecycle, self.metrics)
        self.door = app._door
        self.config = uvicorn.Config(app, log_config=None, proxy_headers=False, interface="asgi3")
        self.config.load()
        self.state = ServerState()

    def connected(self) -> tuple[Connection, Wire]:
        connection, wire = Connection(self.config, self.state, {}), Wire()
        connection.connection_made(wire)
        return connection, wire

    async def ask(self, *requests: bytes) -> list[bytes]:
        """The answers to requests that arrive in one turn, each on its own connection."""
        ends = [self.connected() for _ in requests]
        for (connection, _), request in zip(ends, requests, strict=True):
            connection.data_received(request)
        await self.settled()
        return [wire.sent for _, wire in ends]

    async def settled(self) -> None:
        await asyncio.sleep(0)  # the lane's turn
        while self.state.tasks:
            await asyncio.wait(self.state.tasks)

    def counted(self) -> int:
        return int(json.loads(self.metrics.counts())["requests"]["classes"]["2xx"])


def http(content: bytes, *headers: str) -> bytes:
    lines = [f"POST {INFER} HTTP/1.1", "host: adder", f"content-length: {len(content)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + content


def parsed(answer: bytes) -> tuple[int, dict[str, str], Any]:
    head, _, content = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert int(headers["content-length"]) == len(content), "one answer, of the length it tells"
    return int(first.split()[1]), headers, json.loads(content)


def sums(answer: bytes) -> list[float]:
    status, _, told = parsed(answer)
    assert status == 200, told
    return list(told["outputs"][0]["data"])


@pytest.fixture
async def host() -> Host:
    return Host()


async def test_what_one_turn_brings_runs_once_and_each_gets_its_own_rows(host: Host) -> None:
    answers = await host.ask(http(body(1, 2)), http(body(3, 4, 5, 6)), http(body(7, 8)))
    assert [sums(answer) for answer in answers] == [[3.0], [7.0, 11.0], [15.0]]
    assert host.runtime.runs == [4]
    assert host.counted() == 3


async def test_whoever_is_alone_runs_alone(host: Host) -> None:
    for number in range(3):
        assert [sums(answer) for answer in await host.ask(http(body(number, 1)))] == [[number + 1.0]]
    assert host.runtime.runs == [1, 1, 1]


async def test_requests_that_differ_run_apart(host: Host) -> None:
    word = json.loads(body(3, 4)) | {"outputs": [{"name": "word"}]}
    first, other, third = await host.ask(http(body(1, 2)), http(json.dumps(word).encode()), http(body(5, 6)))
    assert (sums(first), sums(other), sums(third)) == ([3.0], ["a"], [11.0])
    assert host.runtime.runs == [2, 1]


async def test_no_more_rows_are_joined_than_the_settings_say() -> None:
    host = Host(batch_max_size=3)
    answers = await host.ask(*[http(body(*[1.0] * 2 * rows)) for rows in (1, 2, 1, 5, 1)])
    assert [len(sums(answer)) for answer in answers] == [1, 2, 1, 5, 1]
    assert host.runtime.runs == [3, 1, 5, 1]


async def test_a_request_at_fault_spoils_nothing_for_its_neighbours(host: Host) -> None:
    bad = [http(b"{"), http(body(-1, 0)), http(body(1, 2, 3)), http(body(1, 2), "content-type: text/css")]
    answers = await host.ask(http(body(1, 2)), *bad, http(body(3, 4)))
    assert [parsed(answer)[0] for answer in answers] == [200, 400, 400, 400, 415, 200]
    assert parsed(answers[2])[2] == {"error": "the model refused the input: unknown category -1"}
    assert (sums(answers[0]), sums(answers[-1])) == ([3.0], [7.0])
    assert host.counted() == 2


async def test_the_short_way_tells_what_the_long_way_tells(host: Host) -> None:
    told = ("x-request-id: r-1", "traceparent: 00-" + "a" * 32 + "-" + "b" * 16 + "-01")
    content = body(1, 2, id="mine")
    short, long = await host.ask(http(content, *told), http(content, *told, "content-type: application/json; a=b"))
    assert host.runtime.runs == [1, 1]
    status, headers, answer = parsed(short)
    assert parsed(long) == (status, headers, answer)
    assert headers["x-request-id"] == "r-1"
    assert answer["id"] == "mine"


async def test_requests_behind_each_other_are_answered_in_their_order(host: Host) -> None:
    connection, wire = host.connected()
    connection.data_received(http(body(1, 2)) + http(b"{}") + http(body(3, 4)))
    async with asyncio.timeout(10):
        while wire.sent.count(b"HTTP/1.1") < 3:  # noqa: ASYNC110 - uvicorn has no events
            await asyncio.sleep(0)
    assert [part[:3] for part in wire.sent.split(b"HTTP/1.1 ")[1:]] == [b"200", b"400", b"200"]


async def test_a_body_in_pieces_takes_the_long_way(host: Host) -> None:
    connection, wire = host.connected()
    whole = http(body(1, 2))
    connection.data_received(whole[:-10])
    assert len(host.state.tasks) == 1
    connection.data_received(whole[-10:])
    await host.settled()
    assert sums(wire.sent) == [3.0]


async def test_a_client_that_is_gone_gets_nothing_and_its_neighbour_all(host: Host, caplog: Any) -> None:
    (gone, wire), (here, other) = host.connected(), host.connected()
    gone.data_received(http(body(1, 2)))
    here.data_received(http(body(3, 4)))
    wire.close()
    gone.connection_lost(None)
    with caplog.at_level(logging.ERROR):
        await host.settled()
    assert (wire.sent, sums(other.sent), caplog.records) == (b"", [7.0], [])


async def test_an_end_between_request_and_answer_is_told(host: Host) -> None:
    connection, wire = host.connected()
    connection.data_received(http(body(1, 2)))
    connection.shutdown()
    await host.settled()
    assert parsed(wire.sent)[:2] == (200, parsed(wire.sent)[1] | {"connection": "close"})
    assert wire.closing


async def test_tokens_are_asked_for_on_the_short_way_too(tmp_path: Path) -> None:
    (tmp_path / "first").write_text(BEARER)
    host = Host(tokens_dir=tmp_path)
    asked = [http(body(1, 2), f"authorization: Bearer {given}") for given in (BEARER, "another")]
    assert [parsed(answer)[0] for answer in await host.ask(*asked, http(body(1, 2)))] == [200, 403, 401]


async def test_a_full_queue_is_full_on_the_short_way_too() -> None:
    host = Host(max_queue=1)
    host.lifecycle.admit()
    assert [parsed(answer)[0] for answer in await host.ask(http(body(1, 2)))] == [503]


async def test_a_body_above_the_limit_is_refused_on_the_short_way_too() -> None:
    content = body(1, 2)
    for limit, status in ((len(content), 200), (len(content) - 1, 413)):
        (answer,) = await Host(max_request_bytes=limit).ask(http(content))
        assert parsed(answer)[0] == status


async def test_large_requests_leave_the_event_loop(host: Host) -> None:
    rows = [1.0] * 2 * 101
    assert host.lifecycle.model is not None
    (answer,) = await host.ask(http(body(*rows)))
    assert sums(answer) == [2.0] * 101


async def test_what_is_said_again_is_known_again_and_answered_alike(host: Host) -> None:
    connection, wire = host.connected()
    for number in range(3):
        connection.data_received(http(body(number, 2)))
        await host.settled()
        assert sums(wire.sent) == [number + 2.0]
        wire.sent = b""


async def test_pieces_of_a_head_are_never_taken_for_a_head(host: Host) -> None:
    whole = http(body(1, 2))
    connection, wire = host.connected()
    connection.data_received(whole[:30])
    connection.data_received(whole[30:])
    await host.settled()
    assert sums(wire.sent) == [3.0]
    other, refused = host.connected()
    other.data_received(whole[30:])
    await host.settled()
    assert parsed(refused.sent)[0] == 400


async def test_a_known_head_on_a_busy_connection_waits_for_its_turn(host: Host) -> None:
    connection, wire = host.connected()
    await host.ask(http(body(1, 2)))
    connection.data_received(http(body(3, 4)))
    connection.data_received(http(body(5, 6)))
    async with asyncio.timeout(10):
        while wire.sent.count(b"HTTP/1.1") < 2:  # noqa: ASYNC110 - uvicorn has no events
            await asyncio.sleep(0)
    assert [sums(b"HTTP/1.1 " + part) for part in wire.sent.split(b"HTTP/1.1 ")[1:]] == [[7.0], [11.0]]


async def test_a_known_head_lets_nobody_in_whose_token_was_taken_away(tmp_path: Path) -> None:
    (tmp_path / "first").write_text(BEARER)
    host = Host(tokens_dir=tmp_path)
    asked = http(body(1, 2), f"authorization: Bearer {BEARER}")
    assert [parsed(answer)[0] for answer in await host.ask(asked)] == [200]
    (tmp_path / "first").write_text("another")
    host.door._reload(tmp_path)
    assert [parsed(answer)[0] for answer in await host.ask(asked)] == [403]


async def test_an_idle_connection_is_closed_and_one_in_use_is_not(host: Host) -> None:
    connection, wire = host.connected()
    connection.data_received(http(body(1, 2)))
    await host.settled()
    connection.timeout_keep_alive_handler()
    assert not wire.closing
    assert connection.timeout_keep_alive_task is not None
    connection.timeout_keep_alive = 0
    connection.timeout_keep_alive_handler()
    assert wire.closing


async def test_an_idle_connection_is_not_cut_off_by_the_end(host: Host) -> None:
    connection, wire = host.connected()
    connection.data_received(http(body(1, 2)))
    await host.settled()
    connection.shutdown()
    assert not wire.closing, "what the client has just sent would be lost"


@pytest.mark.parametrize("spelled", ['"data":[%s]', '"data": [%s]', '"data" :  [%s]'])
def test_forms_are_known_however_they_are_spaced(spelled: str) -> None:
    frames = Frames("adder", "7", Signature(INFO))
    asked = '{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32",' + spelled + "}]}"
    assert frames.find((asked % "1,2").encode()) is None
    frames.learn((asked % "1,2").encode())
    found = frames.find((asked % "3,4").encode())
    assert found is not None
    form, values = found
    assert (form.rows, values) == (1, b"3,4")
    assert form.read([b"3,4", b" 5, 6"])["x"].tolist() == [[3, 4], [5, 6]]
