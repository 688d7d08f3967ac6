"""The registry adapter against a server that is slow, lies, shouts or is not there: clear words, and soon."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.processes import free_port
from trimtab.adapters import mlflow as client
from trimtab.adapters.mlflow import credentials
from trimtab.adapters.registry import MlflowRegistry
from trimtab.kinds.mlmodel.observe import RegistryError

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
ALIASED = {"model_version": {"name": "credit", "version": "7", "aliases": ["champion"]}}
FOUND = {"model_versions": [{"name": "credit", "version": "12"}]}


class Mlflow:
    """One server whose answer a test sets, and the requests it got."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session = session
        self.url = url
        self.time = 0.0
        self.requests: list[web.Request] = []
        self.answer: Answer = lambda _: _json(ALIASED)

    def registry(self, url: str | None = None, **auth: str) -> MlflowRegistry:
        mlflow = client.Mlflow(self.url if url is None else url, self.session, lambda: self.time, auth)
        return MlflowRegistry(mlflow)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        return await self.answer(request)


@pytest.fixture
async def mlflow() -> AsyncIterator[Mlflow]:
    async with aiohttp.ClientSession() as session:
        port = free_port()
        server = Mlflow(session, f"http://127.0.0.1:{port}/")
        app = web.Application()
        app.router.add_get("/{path:.*}", server.handle)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield server
        await runner.cleanup()


async def _json(body: Any, status: int = 200) -> web.Response:
    return web.json_response(body, status=status)


async def _text(body: bytes | str, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, content_type="text/html")


async def refusal(asked: MlflowRegistry, alias: str | None = "champion") -> RegistryError:
    with pytest.raises(RegistryError) as caught:
        await asked.version("credit", alias, 0)
    return caught.value


async def test_an_alias_stands_for_a_version(mlflow: Mlflow) -> None:
    assert await mlflow.registry().version("credit", "champion", 0) == "7"
    (request,) = mlflow.requests
    assert request.path == "/api/2.0/mlflow/registered-models/alias"
    assert dict(request.query) == {"name": "credit", "alias": "champion"}


async def test_latest_is_the_highest_version(mlflow: Mlflow) -> None:
    mlflow.answer = lambda _: _json(FOUND)
    assert await mlflow.registry().version("credit", None, 0) == "12"
    (request,) = mlflow.requests
    assert request.path == "/api/2.0/mlflow/model-versions/search"
    assert dict(request.query) == {
        "filter": "name='credit'",
        "order_by": "version_number DESC",
        "max_results": "1",
    }


async def test_an_answer_may_come_in_pieces(mlflow: Mlflow) -> None:
    """An answer with tags and a description is longer than one packet."""
    text = json.dumps({**ALIASED, "padding": "x" * 5_000}).encode()

    async def in_pieces(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for start in range(0, len(text), 1_000):
            await response.write(text[start : start + 1_000])
            await asyncio.sleep(0.001)
        return response

    mlflow.answer = in_pieces
    assert await mlflow.registry().version("credit", "champion", 0) == "7"


async def test_an_answer_is_good_for_as_long_as_the_caller_says(mlflow: Mlflow) -> None:
    asked = mlflow.registry()
    for time, requests in ((0, 1), (9, 1), (10, 2), (19, 2)):
        mlflow.time = time
        assert await asked.version("credit", "champion", 10) == "7"
        assert len(mlflow.requests) == requests
    await asked.version("credit", "other", 10)
    await asked.version("fraud", "champion", 10)
    assert len(mlflow.requests) == 4


async def test_a_refusal_is_remembered_too(mlflow: Mlflow) -> None:
    mlflow.answer = lambda _: _json({}, 500)
    asked = mlflow.registry()
    for _ in range(3):
        with pytest.raises(RegistryError):
            await asked.version("credit", "champion", 10)
    assert len(mlflow.requests) == 1


async def test_a_burst_asks_once(mlflow: Mlflow) -> None:
    asked = mlflow.registry()
    answers = await asyncio.gather(*(asked.version("credit", "champion", 10) for _ in range(20)))
    assert set(answers) == {"7"}
    assert len(mlflow.requests) == 1


async def test_few_requests_are_under_way_at_once(mlflow: Mlflow) -> None:
    under_way, most, release = 0, 0, asyncio.Event()

    async def slowly(_: web.Request) -> web.StreamResponse:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        if under_way == client.CONCURRENT:
            release.set()
        await release.wait()
        under_way -= 1
        return await _json(ALIASED)

    mlflow.answer = slowly
    asked = mlflow.registry()
    await asyncio.gather(*(asked.version(f"m{n}", "champion", 0) for n in range(20)))
    assert most == client.CONCURRENT


async def test_without_a_registry_the_chart_is_named(mlflow: Mlflow) -> None:
    error = await refusal(mlflow.registry(""))
    assert error.reason == "RegistryMissing"
    assert "set mlflow.enabled or mlflow.trackingUri in the chart" in str(error)


NOT_THERE = {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Registered model alias champion not found."}
ANSWERS: dict[str, tuple[Any, int, str, str]] = {
    "no such alias": (NOT_THERE, 404, "SourceNotFound", "no models:/credit@champion: Registered model alias"),
    "bad name": ({"message": "Invalid name"}, 400, "SourceNotFound", "Invalid name"),
    "404 of a proxy": ("<html>nginx</html>", 404, "SourceNotFound", "<html>nginx</html>"),
    "404 with another shape": ([1], 404, "SourceNotFound", "register it or set the alias"),
    "no password": ("Unauthorized", 401, "RegistryForbidden", "MLflow refuses the operator (HTTP 401): Unauthorized"),
    "wrong host": ({"message": "Invalid Host header"}, 403, "RegistryForbidden", "Invalid Host header"),
    "broken": ("oops", 500, "RegistryUnreachable", "MLflow answers HTTP 500; it is asked again"),
    "overloaded": ("later", 429, "RegistryUnreachable", "MLflow answers HTTP 429; it is asked again"),
    "empty": ("", 200, "RegistryConfused", "not the JSON object its API promises; is the URL right?"),
    "a login page": ("<html>log in</html>", 200, "RegistryConfused", "is the URL right?"),
    "no text at all": (b"\xff\xfe\x00", 200, "RegistryConfused", "is the URL right?"),
    "a list": ([], 200, "RegistryConfused", "is the URL right?"),
    "null": (None, 200, "RegistryConfused", "is the URL right?"),
    "deep": ("[" * 200_000, 200, "RegistryConfused", "is the URL right?"),
    "huge": (b'{"a": "' + b"x" * (2 << 20) + b'"}', 200, "RegistryConfused", "is the URL right?"),
    "no version": ({"model_version": {}}, 200, "RegistryConfused", "MLflow names no version number for credit"),
    "no model": ({}, 200, "RegistryConfused", "MLflow names no version number"),
    "a version that is a list": ({"model_version": [1]}, 200, "RegistryConfused", "no version number"),
    "a version with a path": ({"model_version": {"version": "../1"}}, 200, "RegistryConfused", "no version number"),
    "a raised number": ({"model_version": {"version": "\u00b2"}}, 200, "RegistryConfused", "no version number"),
    "a version that is true": ({"model_version": {"version": True}}, 200, "RegistryConfused", "no version number"),
}  # fmt: skip


@pytest.mark.parametrize("case", ANSWERS)
async def test_what_is_wrong_is_said(mlflow: Mlflow, case: str) -> None:
    body, status, reason, words = ANSWERS[case]
    mlflow.answer = lambda _: _text(body, status) if isinstance(body, str | bytes) else _json(body, status)
    error = await refusal(mlflow.registry())
    assert error.reason == reason
    assert words in str(error)
    assert len(str(error)) < 600


@pytest.mark.parametrize("body", [{}, {"model_versions": []}])
async def test_a_model_without_versions_has_no_latest(mlflow: Mlflow, body: Any) -> None:
    mlflow.answer = lambda _: _json(body)
    error = await refusal(mlflow.registry(), alias=None)
    assert (error.reason, str(error)) == ("SourceNotFound", "MLflow has no version of credit; register one")


@pytest.mark.parametrize("body", [{"model_versions": "12"}, {"model_versions": {"a": 1}}, {"model_versions": [7]}])
async def test_a_list_of_versions_that_is_none(mlflow: Mlflow, body: Any) -> None:
    mlflow.answer = lambda _: _json(body)
    assert (await refusal(mlflow.registry(), alias=None)).reason == "RegistryConfused"


async def test_a_number_for_a_version_will_do(mlflow: Mlflow) -> None:
    mlflow.answer = lambda _: _json({"model_version": {"version": 7}})
    assert await mlflow.registry().version("credit", "champion", 0) == "7"


async def test_nobody_is_there(mlflow: Mlflow) -> None:
    error = await refusal(mlflow.registry(f"http://127.0.0.1:{free_port()}"))
    assert error.reason == "RegistryUnreachable"
    assert "MLflow does not answer: " in str(error)
    assert str(error).endswith("; it is asked again")


async def test_a_url_that_is_none(mlflow: Mlflow) -> None:
    assert (await refusal(mlflow.registry("http://"))).reason == "RegistryUnreachable"


async def test_silence_ends_in_time(mlflow: Mlflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "TIMEOUT", aiohttp.ClientTimeout(total=0.05))

    async def silent(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    mlflow.answer = silent
    error = await refusal(mlflow.registry())
    assert error.reason == "RegistryUnreachable"
    assert str(error) == "MLflow does not answer: TimeoutError; it is asked again"


async def test_one_at_a_time_asks_a_registry_that_is_known_to_be_silent(
    mlflow: Mlflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten models cost the timeout of one, not of three rounds of four."""

    async def never(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    monkeypatch.setattr(client, "TIMEOUT", aiohttp.ClientTimeout(total=0.05))
    mlflow.answer = never
    asked = mlflow.registry()
    await refusal(asked)
    before = len(mlflow.requests)
    answers = await asyncio.gather(*(asked.version(f"m{n}", "champion", 0) for n in range(10)), return_exceptions=True)
    assert {getattr(answer, "reason", answer) for answer in answers} == {"RegistryUnreachable"}
    assert len(mlflow.requests) == before + 1
    mlflow.answer = lambda _: _json(ALIASED)
    assert await asked.version("m3", "champion", 0) == "7"
    versions = await asyncio.gather(*(asked.version(f"m{n}", "champion", 0) for n in range(10)))
    assert versions == ["7"] * 10


async def test_a_connection_that_breaks(mlflow: Mlflow) -> None:
    async def breaking(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"{")
        assert request.transport
        request.transport.close()
        return response

    mlflow.answer = breaking
    assert (await refusal(mlflow.registry())).reason == "RegistryUnreachable"


async def test_it_is_asked_again_after_it_recovered(mlflow: Mlflow) -> None:
    mlflow.answer = lambda _: _json({}, 503)
    asked = mlflow.registry()
    assert (await refusal(asked)).reason == "RegistryUnreachable"
    mlflow.answer = lambda _: _json(ALIASED)
    assert await asked.version("credit", "champion", 0) == "7"


@pytest.mark.parametrize(
    ("environ", "header"),
    [
        ({}, None),
        ({"MLFLOW_TRACKING_TOKEN": "t"}, "Bearer t"),
        ({"MLFLOW_TRACKING_USERNAME": "u", "MLFLOW_TRACKING_PASSWORD": "p"}, "Basic dTpw"),
        ({"MLFLOW_TRACKING_USERNAME": "u"}, "Basic dTo="),
        ({"MLFLOW_TRACKING_TOKEN": "t", "MLFLOW_TRACKING_USERNAME": "u"}, "Bearer t"),
        ({"MLFLOW_TRACKING_PASSWORD": "p"}, None),
    ],
)
async def test_credentials_are_those_mlflow_itself_would_use(
    mlflow: Mlflow, environ: dict[str, str], header: str | None
) -> None:
    await mlflow.registry(**credentials(environ)).version("credit", "champion", 0)
    assert mlflow.requests[0].headers.get("Authorization") == header


async def test_credentials_are_in_no_message(mlflow: Mlflow) -> None:
    mlflow.answer = lambda _: _json({}, 500)
    asked = mlflow.registry(**credentials({"MLFLOW_TRACKING_TOKEN": "s3cret"}))
    assert "s3cret" not in str(await refusal(asked))
