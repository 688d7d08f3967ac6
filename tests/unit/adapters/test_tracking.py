"""Runs and versions as MLflow tells of them, and as something else in its place does; what it is told to change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.processes import free_port
from trimtab.adapters.mlflow import Mlflow, MlflowError
from trimtab.adapters.registry import MlflowRegistry
from trimtab.adapters.tracking import MlflowTracking
from trimtab.kinds.retrainschedule.observe import Tracked, TrackingError

NOT_THERE = (404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "not found"})
EXPERIMENT = (200, {"experiment": {"experiment_id": "17", "name": "team-a/weekly"}})
RUN = {
    "info": {"run_id": "abc", "status": "RUNNING"},
    "data": {
        "metrics": [
            {"key": "auc", "value": 0.9},
            {"key": "loss", "value": "NaN"},
            {"key": "n", "value": 3},
            {"key": "huge", "value": 10**400},
        ],
        "tags": [{"key": "trimtab.dev/progress", "value": "3 of 10"}, {"key": "x", "value": "y"}],
    },
}


class Server:
    """Answers by path, and what was asked and told."""

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self.mlflow = Mlflow(f"http://127.0.0.1:{port}", session, lambda: self.time)
        self.answers: dict[str, tuple[int, Any]] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.pages: list[Any] = []
        self.time = 0.0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        where = request.path.removeprefix("/api/2.0/mlflow")
        given = await request.json() if request.method == "POST" else dict(request.query)
        self.asked.append((where, given))
        status, body = self.answers.get(where, (200, {}))
        if where == "/model-versions/search" and self.pages:
            body = self.pages[int(given.get("page_token", "0"))]
        return web.json_response(body, status=status)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    port = free_port()
    async with aiohttp.ClientSession() as session:
        made = Server(session, port)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", made.handle)
        runner = web.AppRunner(app, shutdown_timeout=0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield made
        await runner.cleanup()


@pytest.fixture
def tracking(server: Server) -> MlflowTracking:
    return MlflowTracking(server.mlflow)


@pytest.fixture
def registry(server: Server) -> MlflowRegistry:
    return MlflowRegistry(server.mlflow)


async def tracked(tracking: MlflowTracking, max_age: float = 0) -> Tracked | None:
    return await tracking.tracked("team-a/weekly", "credit", "weekly-1", max_age)


async def test_a_run_and_its_version(server: Server, tracking: MlflowTracking) -> None:
    server.answers = {"/experiments/get-by-name": EXPERIMENT, "/runs/search": (200, {"runs": [RUN]})}
    server.pages = [{"model_versions": [{"version": "9", "status": "READY"}]}]
    found = await tracked(tracking)
    assert found == Tracked("abc", "RUNNING", "3 of 10", {"auc": 0.9, "n": 3.0}, "9")
    assert server.asked == [
        ("/experiments/get-by-name", {"experiment_name": "team-a/weekly"}),
        (
            "/runs/search",
            {
                "experiment_ids": ["17"],
                "filter": "tags.`trimtab.dev/run-id` = 'weekly-1'",
                "order_by": ["attributes.start_time ASC"],
                "max_results": 1,
            },
        ),
        (
            "/model-versions/search",
            {
                "filter": "name = 'credit' and tags.`trimtab.dev/run-id` = 'weekly-1'",
                "order_by": "version_number ASC",
                "max_results": "10",
            },
        ),
    ]


async def test_nothing_yet(server: Server, tracking: MlflowTracking) -> None:
    server.answers = {"/experiments/get-by-name": NOT_THERE}
    assert await tracked(tracking) is None
    server.answers = {"/experiments/get-by-name": EXPERIMENT}
    assert await tracked(tracking) is None
    server.answers["/model-versions/search"] = NOT_THERE
    assert await tracked(tracking) is None


async def test_a_version_without_a_run_counts(server: Server, tracking: MlflowTracking) -> None:
    server.answers = {"/experiments/get-by-name": NOT_THERE}
    server.pages = [{"model_versions": [{"version": 9}]}]
    assert await tracked(tracking) == Tracked(version="9")


async def test_a_version_that_is_still_being_registered_does_not_count(
    server: Server, tracking: MlflowTracking
) -> None:
    pending = {"version": "9", "status": "PENDING_REGISTRATION"}
    server.pages = [{"model_versions": [pending]}]
    assert await tracked(tracking) is None
    server.pages = [{"model_versions": [pending, {"version": "8", "status": "READY"}]}]
    assert await tracked(tracking) == Tracked(version="8")


async def test_versions_are_looked_for_on_further_pages_but_not_for_ever(
    server: Server, tracking: MlflowTracking
) -> None:
    server.pages = [
        {"model_versions": [], "next_page_token": "1"},
        {"next_page_token": "2"},
        {"model_versions": [{"version": "4"}]},
    ]
    assert await tracked(tracking) == Tracked(version="4")
    server.pages = [{"next_page_token": "0"}]
    server.asked.clear()
    assert await tracked(tracking) is None
    assert len([where for where, _ in server.asked if where == "/model-versions/search"]) == 5


async def test_one_answer_serves_until_it_is_too_old(server: Server, tracking: MlflowTracking) -> None:
    server.answers = {"/experiments/get-by-name": EXPERIMENT, "/runs/search": (200, {"runs": [RUN]})}
    for time, requests in ((0, 3), (14, 3), (15, 6)):
        server.time = time
        await tracked(tracking, 15)
        assert len(server.asked) == requests


async def test_an_alias_that_is_there_or_not(server: Server, tracking: MlflowTracking) -> None:
    where = "/registered-models/alias"
    server.answers[where] = (200, {"model_version": {"version": "7"}})
    assert await tracking.alias("credit", "champion", 0) == "7"
    server.answers[where] = (400, {"message": "Registered model alias champion not found."})
    assert await tracking.alias("credit", "champion", 0) == ""
    server.answers[where] = NOT_THERE
    assert await tracking.alias("credit", "champion", 0) == ""


async def test_tags_of_a_version(server: Server, tracking: MlflowTracking) -> None:
    where = "/model-versions/get"
    server.answers[where] = (200, {"model_version": {"tags": [{"key": "a", "value": "1"}, {"key": "b"}, 3]}})
    assert await tracking.tags("credit", "7", 0) == {"a": "1", "b": ""}
    server.answers[where] = NOT_THERE
    assert await tracking.tags("credit", "7", 0) == {}


@pytest.mark.parametrize(
    ("answer", "reason", "words"),
    [
        ((500, {}), "RegistryUnreachable", "MLflow answers HTTP 500"),
        ((403, {"message": "Invalid Host header"}), "RegistryForbidden", "Invalid Host header"),
        ((200, [1]), "RegistryConfused", "is the URL right?"),
        ((200, {"model_version": {"version": "x"}}), "RegistryConfused", "no version number"),
        ((400, {"message": "Version alias name 'v1' is reserved."}), "RegistryConfused", "'v1' is reserved"),
    ],
)
async def test_what_is_wrong_is_said(
    server: Server, tracking: MlflowTracking, answer: tuple[int, Any], reason: str, words: str
) -> None:
    server.answers["/registered-models/alias"] = answer
    with pytest.raises(TrackingError) as caught:
        await tracking.alias("credit", "champion", 0)
    assert caught.value.reason == reason
    assert words in str(caught.value)


@pytest.mark.parametrize("body", [{"runs": "x"}, {"runs": [1]}, {"runs": [{}]}, {"runs": [{"info": 1, "data": []}]}])
async def test_runs_of_another_shape_tell_nothing(server: Server, tracking: MlflowTracking, body: Any) -> None:
    server.answers = {"/experiments/get-by-name": EXPERIMENT, "/runs/search": (200, body)}
    server.pages = [{"model_versions": [{"version": "9"}]}]
    found = await tracked(tracking)
    assert found is not None
    assert (found.run_id, found.status, dict(found.metrics), found.version) == ("", "", {}, "9")


async def test_without_mlflow_the_chart_is_named() -> None:
    async with aiohttp.ClientSession() as session:
        tracking = MlflowTracking(Mlflow("", session, lambda: 0.0))
        with pytest.raises(TrackingError, match=r"set mlflow\.enabled or mlflow\.trackingUri"):
            await tracked(tracking)


class TestChanges:
    async def test_an_alias_and_tags_are_set(self, server: Server, registry: MlflowRegistry) -> None:
        await registry.set_alias("credit", "champion", "9", 5)
        await registry.set_tags("credit", "9", {"b": "2", "a": "1"}, 5)
        assert server.asked == [
            ("/registered-models/alias", {"name": "credit", "alias": "champion", "version": "9"}),
            ("/model-versions/set-tag", {"name": "credit", "version": "9", "key": "a", "value": "1"}),
            ("/model-versions/set-tag", {"name": "credit", "version": "9", "key": "b", "value": "2"}),
        ]

    async def test_what_was_known_before_a_change_is_asked_anew(
        self, server: Server, registry: MlflowRegistry, tracking: MlflowTracking
    ) -> None:
        server.answers["/registered-models/alias"] = (200, {"model_version": {"version": "7"}})
        assert await tracking.alias("credit", "champion", 60) == "7"
        await registry.set_alias("credit", "champion", "9", 5)
        server.answers["/registered-models/alias"] = (200, {"model_version": {"version": "9"}})
        assert await tracking.alias("credit", "champion", 60) == "9"

    async def test_what_is_not_there_is_an_error(self, server: Server, registry: MlflowRegistry) -> None:
        server.answers["/registered-models/alias"] = (404, {"message": "Model Version (version=99) not found"})
        with pytest.raises(MlflowError, match="version=99") as caught:
            await registry.set_alias("credit", "champion", "99", 5)
        assert (caught.value.reason, caught.value.absent) == ("Missing", True)

    async def test_a_change_ends_with_the_time_it_has(self) -> None:
        silent = await asyncio.start_server(lambda reader, writer: asyncio.Event().wait(), "127.0.0.1", 0)
        port = silent.sockets[0].getsockname()[1]
        async with aiohttp.ClientSession() as session:
            registry = MlflowRegistry(Mlflow(f"http://127.0.0.1:{port}", session, lambda: 0.0))
            with pytest.raises(MlflowError, match="MLflow does not answer in time"):
                await registry.set_alias("credit", "champion", "9", 0.05)
        silent.close()


async def test_many_questions_do_not_fill_the_memory(
    server: Server, tracking: MlflowTracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trimtab.adapters.mlflow.REMEMBERED", 8)
    for number in range(40):
        server.time += 600.0
        await tracking.tags("credit", str(number), 0)
    assert len(server.mlflow._turns) <= 9
    assert len(server.mlflow._known) <= 9
