"""One number from Prometheus, or a sentence why there is none."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from trimtab.adapters.prometheus import LARGEST_ANSWER, Prometheus
from trimtab.kinds.abtest.observe import EventsError


class Server:
    """A Prometheus that answers what a test tells it to."""

    def __init__(self) -> None:
        self.status, self.text = 200, vector("7")
        self.queries: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.queries.append(request.query["query"])
        return web.Response(status=self.status, text=self.text)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def vector(*values: str) -> str:
    result = [{"metric": {}, "value": [1_700_000_000, value]} for value in values]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}})


@pytest.fixture
async def rig() -> AsyncIterator[tuple[Server, Prometheus, Clock]]:
    server, clock = Server(), Clock()
    app = web.Application()
    app.router.add_get("/prom/api/v1/query", server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    async with aiohttp.ClientSession() as session:
        yield server, Prometheus(f"http://127.0.0.1:{port}/prom/", session, clock), clock
    await runner.cleanup()


Rig = tuple[Server, Prometheus, Clock]


async def test_the_number_of_a_vector_and_of_a_scalar(rig: Rig) -> None:
    server, prometheus, clock = rig
    assert await prometheus.count('sum(x{arm="a"})', 1) == 7
    assert server.queries == ['sum(x{arm="a"})']
    server.text = json.dumps({"status": "success", "data": {"resultType": "scalar", "result": [1, "8.5"]}})
    clock.now = 1.0
    assert await prometheus.count('sum(x{arm="a"})', 1) == 8.5


async def test_an_answer_is_good_for_as_long_as_is_allowed(rig: Rig) -> None:
    server, prometheus, clock = rig
    for moment in (0.0, 0.9, 1.1):
        clock.now = moment
        await prometheus.count("x", 1)
    assert len(server.queries) == 2


BAD: list[tuple[int, str, str]] = [
    (200, vector(), "gives 0 series, and must give one"),
    (200, vector("1", "2"), "gives 2 series, and must give one"),
    (200, vector("NaN"), "gives nan, and must give a count"),
    (200, vector("+Inf"), "gives inf, and must give a count"),
    (200, vector("-1"), "gives -1.0, and must give a count"),
    (200, vector("seven"), "gives no number"),
    (400, json.dumps({"status": "error", "error": "parse error: unexpected {"}), r"HTTP 400.*parse error"),
    (200, "<html>", "is not Prometheus"),
    (200, "[1]", "is not Prometheus"),
    (200, "[" * 100_000, "is not Prometheus"),
    (200, json.dumps({"status": "success", "data": None}), "gives 0 series"),
    (200, json.dumps({"status": "success", "data": {"resultType": "vector", "result": [{}]}}), "gives no number"),
    (200, json.dumps({"status": "success", "data": {"resultType": "scalar", "result": {}}}), "gives no number"),
    (200, "x" * (LARGEST_ANSWER + 1), "sends more than"),
    (503, "", "is not Prometheus"),
]


@pytest.mark.parametrize(("status", "text", "said"), BAD)
async def test_anything_else_is_a_sentence(rig: Rig, status: int, text: str, said: str) -> None:
    server, prometheus, _ = rig
    server.status, server.text = status, text
    with pytest.raises(EventsError, match=said):
        await prometheus.count("x", 1)


async def test_nobody_there(rig: Rig) -> None:
    _, _, clock = rig
    async with aiohttp.ClientSession() as session:
        with pytest.raises(EventsError, match="does not answer"):
            await Prometheus("http://127.0.0.1:9", session, clock).count("x", 1)
        with pytest.raises(EventsError, match="set prometheusUri in the chart"):
            await Prometheus("", session, clock).count("x", 1)


async def test_a_failure_is_not_remembered(rig: Rig) -> None:
    server, prometheus, _ = rig
    good, server.text = server.text, "no"
    with pytest.raises(EventsError):
        await prometheus.count("x", 60)
    server.text = good
    assert await prometheus.count("x", 60) == 7
