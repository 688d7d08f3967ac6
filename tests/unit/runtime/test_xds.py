"""Routers ask, and are told what the store says: at once, when it changes, or that nothing did."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from trimtab.core.objects import API_VERSION, Object, Ref
from trimtab.runtime.store import Store
from trimtab.runtime.xds import CLUSTERS, ROUTES, Xds
from trimtab.traffic.envoy import clusters, routes
from trimtab.traffic.state import RouterArm, RouterStatus

REF = Ref("ABTest", "shop", "choice")
Client = TestClient[web.Request, web.Application]


def told(weight: int) -> RouterStatus:
    arms = [
        RouterArm(name="old", host="old.svc", port=8080),
        RouterArm(name="a", host="a.svc", port=8080, reserved=5_000, weight=weight),
    ]
    return RouterStatus(salt="s1", header="u", control="old", arms=arms).checked()


class World:
    """A store, its server, and a router that asks."""

    def __init__(self, client: Client, store: Store, xds: Xds) -> None:
        self.client, self.store, self.xds = client, store, xds
        self.version = 0

    def write(self, status: dict[str, Any], *, hint: bool = True, gone: bool = False) -> None:
        """A new status of the object, with or without word of it."""
        self.version += 1
        meta = {"name": "choice", "namespace": "shop", "uid": "u1", "resourceVersion": str(self.version)}
        obj: Object = {"kind": "ABTest", "apiVersion": API_VERSION, "metadata": meta, "status": status}
        concerned = self.store.absorb(obj, gone=gone)
        if hint:
            self.xds.changed(concerned)

    def tell(self, weight: int, *, hint: bool = True) -> RouterStatus:
        self.write({"router": told(weight).dump()}, hint=hint)
        return told(weight)

    async def ask(
        self, path: str = ROUTES, version: str = "", cluster: str = "abtests/shop/choice"
    ) -> aiohttp.ClientResponse:
        body = {"version_info": version, "node": {"id": "r1", "cluster": cluster}, "resource_names": ["router"]}
        return await self.client.post(path, json=body)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    store = Store({"ABTest": lambda obj: ()})
    xds = Xds(store, {"abtests": "ABTest"}, hold_seconds=0.05)
    async with TestClient(TestServer(xds.application())) as client:
        yield World(client, store, xds)


def patient(world: World) -> None:
    """Hold questions for as long as a test may take."""
    world.xds._hold = 600.0


async def waiting(world: World) -> None:
    """Until a question waits."""
    while not world.xds._waiting:  # noqa: ASYNC110 - the server has no event for it
        await asyncio.sleep(0)


async def test_the_first_question_is_answered_with_everything(world: World) -> None:
    status = world.tell(1_000)
    for path, version, resources in (
        (CLUSTERS, status.clusters_version, clusters(status)),
        (ROUTES, status.routes_version, routes(status)),
    ):
        answer = await world.ask(path)
        found = await answer.json()
        assert found["version_info"] == version
        assert found["resources"] == resources
        assert {resource["@type"] for resource in resources} == {found["type_url"]}


async def test_a_question_waits_for_news(world: World) -> None:
    patient(world)
    before = world.tell(1_000)
    asked = asyncio.create_task(world.ask(version=before.routes_version))
    await waiting(world)
    after = world.tell(2_000)
    assert (await (await asked).json())["version_info"] == after.routes_version
    assert world.xds._waiting == {}


async def test_news_without_word_of_it_is_found_all_the_same(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trimtab.runtime.xds.LOOK_SECONDS", 0.01)
    patient(world)
    before = world.tell(1_000)
    asked = asyncio.create_task(world.ask(version=before.routes_version))
    await waiting(world)
    after = world.tell(2_000, hint=False)
    assert (await (await asked).json())["version_info"] == after.routes_version


async def test_without_news_the_answer_is_that_there_are_none(world: World) -> None:
    status = world.tell(1_000)
    answer = await world.ask(version=status.routes_version)
    assert answer.status == 304
    world.write({"router": status.dump(), "conditions": []})
    assert (await world.ask(version=status.routes_version)).status == 304


async def test_weights_are_no_news_for_clusters(world: World) -> None:
    before = world.tell(1_000)
    world.tell(2_000)
    assert (await world.ask(CLUSTERS, before.clusters_version)).status == 304


@pytest.mark.parametrize(
    "status",
    [{}, {"router": {}}, {"router": {**told(0).dump(), "control": "nobody"}}, {"router": 7}],
    ids=["none", "empty", "no control", "no object"],
)
async def test_what_makes_no_sense_is_never_told_as_nothing(world: World, status: dict[str, Any]) -> None:
    world.write(status)
    answer = await world.ask()
    assert answer.status == 404
    assert "ABTest/shop/choice has no routes yet" in await answer.text()


async def test_an_object_that_is_gone_is_forgotten(world: World) -> None:
    world.tell(1_000)
    assert (await world.ask()).status == 200
    world.write({}, gone=True)
    assert world.xds._told == {}
    assert (await world.ask()).status == 404
    assert world.xds._told == {}


@pytest.mark.parametrize("cluster", ["", "abtests/shop", "mlmodels/shop/x", "a/b/c/d"])
async def test_strangers_are_turned_away(world: World, cluster: str) -> None:
    assert (await world.ask(cluster=cluster)).status == 400


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"{}", b'{"node": 5}', b'{"node": {"cluster": 5}}', b"[" * 100_000, b" " * (1 << 21)]
)
async def test_what_is_no_question_is_refused(world: World, body: bytes) -> None:
    assert (await world.client.post(ROUTES, data=body)).status == 400


async def test_at_the_end_nobody_is_kept_waiting(world: World) -> None:
    patient(world)
    status = world.tell(1_000)
    asked = asyncio.create_task(world.ask(version=status.routes_version))
    await waiting(world)
    world.xds.end()
    assert (await asked).status == 304


async def test_an_object_is_read_once_for_each_of_its_versions(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.tell(1_000)
    await world.ask()
    monkeypatch.setattr(world.store, "get", lambda ref: pytest.fail("it was read again"))
    assert json.loads(await (await world.ask(CLUSTERS)).text())["resources"]
