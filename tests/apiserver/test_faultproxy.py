"""The fault proxy does to a real API server's traffic exactly what it was told, and nothing else."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest
import yaml

from tests.controlplane import ControlPlane
from tests.faultproxy import FaultProxy
from tests.faults import WRITES, Call, Delay, Expire, Reset, Status, drop, duplicate, reorder


@pytest.fixture
def proxy(plane: ControlPlane) -> Iterator[FaultProxy]:
    with FaultProxy(plane) as running:
        yield running


@pytest.fixture
async def client(proxy: FaultProxy) -> AsyncIterator[aiohttp.ClientSession]:
    token = yaml.safe_load(proxy.kubeconfig("tester").read_text())["users"][0]["user"]["token"]
    async with aiohttp.ClientSession(
        proxy.url, headers={"Authorization": f"Bearer {token}"}, timeout=aiohttp.ClientTimeout(total=10)
    ) as session:
        yield session


def maps(namespace: str, name: str = "") -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps" + (f"/{name}" if name else "")


async def create(client: aiohttp.ClientSession, namespace: str, name: str) -> aiohttp.ClientResponse:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
    return await client.post(maps(namespace), json=body)


async def names(client: aiohttp.ClientSession, namespace: str) -> set[str]:
    async with client.get(maps(namespace)) as response:
        return {item["metadata"]["name"] for item in (await response.json())["items"]} - {"kube-root-ca.crt"}


async def watched(response: aiohttp.ClientResponse, count: int) -> list[str]:
    lines = [json.loads(await asyncio.wait_for(response.content.readline(), 5)) for _ in range(count)]
    return [line["object"]["metadata"]["name"] for line in lines]


async def test_passes_everything_on_and_counts(
    proxy: FaultProxy, client: aiohttp.ClientSession, namespace: str
) -> None:
    assert (await create(client, namespace, "a")).status == 201
    assert (await create(client, namespace, "a")).status == 409
    assert await names(client, namespace) == {"a"}
    created = proxy.calls(verb="create", resource="configmaps", caller="tester")
    assert [record.status for record in created] == [201, 409]
    assert len(proxy.calls(verb=WRITES)) == 2
    assert len(proxy.calls()) == 3
    assert proxy.calls(verb="create")[0].call.user_agent.startswith("Python")


async def test_acts_as_the_user_the_kubeconfig_was_made_for(proxy: FaultProxy, namespace: str) -> None:
    proxy.kubeconfig("weak", user=f"system:serviceaccount:{namespace}:default")
    async with aiohttp.ClientSession(proxy.url, headers={"Authorization": "Bearer weak"}) as weak:
        async with weak.get(maps(namespace)) as response:
            assert response.status == 403
            assert f"system:serviceaccount:{namespace}:default" in (await response.json())["message"]
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        async with weak.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", json=review) as response:
            assert "system:serviceaccounts" in (await response.json())["status"]["userInfo"]["groups"]


@pytest.mark.parametrize("code", [409, 429, 500, 503])
async def test_answers_in_the_api_servers_stead(
    proxy: FaultProxy, client: aiohttp.ClientSession, namespace: str, code: int
) -> None:
    rule = proxy.inject(Status(code, retry_after=3), verb="create")
    refused = await create(client, namespace, "a")
    assert refused.status == code
    assert refused.headers["Retry-After"] == "3"
    assert (await refused.json())["details"] == {"retryAfterSeconds": 3}
    assert await names(client, namespace) == set()
    assert (await create(client, namespace, "a")).status == 201
    assert rule.hits == 1
    assert [(record.status, record.upstream) for record in proxy.calls(verb="create")] == [(code, 0), (201, 201)]


@pytest.mark.parametrize("done", [False, True])
async def test_loses_the_request_or_only_the_answer(
    proxy: FaultProxy, client: aiohttp.ClientSession, namespace: str, done: bool
) -> None:
    proxy.inject(Reset(done), verb="create")
    with pytest.raises(aiohttp.ClientError):
        await create(client, namespace, "a")
    assert await names(client, namespace) == ({"a"} if done else set())
    assert proxy.calls(verb="create")[0][1:] == (0, 201 if done else 0)


async def test_an_error_after_the_deed(proxy: FaultProxy, client: aiohttp.ClientSession, namespace: str) -> None:
    proxy.inject(Status(500, done=True), verb="create")
    assert (await create(client, namespace, "a")).status == 500
    assert await names(client, namespace) == {"a"}


async def test_delays_and_then_goes_on_to_the_next_rule(
    proxy: FaultProxy, client: aiohttp.ClientSession, namespace: str
) -> None:
    proxy.inject(Delay(0.2), verb="create")
    proxy.inject(Status(503), verb="create")
    start = time.monotonic()
    assert (await create(client, namespace, "a")).status == 503
    assert time.monotonic() - start >= 0.2


async def test_heals(proxy: FaultProxy, client: aiohttp.ClientSession, namespace: str) -> None:
    proxy.inject(Status(500), times=None)
    assert [(await create(client, namespace, "a")).status for _ in range(3)] == [500] * 3
    proxy.heal()
    assert (await create(client, namespace, "a")).status == 201


async def test_hooks_see_a_write_before_and_after_it_is_done(
    proxy: FaultProxy, client: aiohttp.ClientSession, namespace: str, plane: ControlPlane
) -> None:
    seen: list[Any] = []

    def exists(call: Call) -> bool:
        return plane.kubectl("get", "configmap", "-n", call.namespace, "a").returncode == 0

    proxy.before.append(lambda call: seen.append(("before", call.verb, exists(call))))
    proxy.after.append(lambda call, status: seen.append(("after", status, exists(call))))
    await create(client, namespace, "a")
    assert seen == [("before", "create", False), ("after", 201, True)]


@pytest.mark.parametrize(
    ("make", "expected"),
    [(drop, ["c", "d"]), (duplicate, ["a", "a", "b", "b", "c", "d"]), (reorder, ["b", "a", "c", "d"])],
)
async def test_watch_events_are_lost_doubled_and_swapped(
    proxy: FaultProxy, client: aiohttp.ClientSession, namespace: str, make: Any, expected: list[str]
) -> None:
    resource_version = await version(client, namespace)
    proxy.inject(make(), times=2, verb="watch", resource="configmaps")
    async with client.get(maps(namespace), params={"watch": "1", "resourceVersion": resource_version}) as watch:
        for name in "abcd":
            assert (await create(client, namespace, name)).status == 201
        assert await watched(watch, len(expected)) == expected


async def test_a_cut_watch_breaks_and_a_new_one_works(
    proxy: FaultProxy, client: aiohttp.ClientSession, namespace: str
) -> None:
    query = {"watch": "1", "resourceVersion": await version(client, namespace)}
    async with client.get(maps(namespace), params=query) as watch:
        await create(client, namespace, "a")
        assert await watched(watch, 1) == ["a"]
        assert proxy.cut_watches(resource="pods") == 0
        assert proxy.cut_watches(resource="configmaps") == 1
        with pytest.raises(aiohttp.ClientError):
            await watched(watch, 1)
    async with client.get(maps(namespace), params=query) as watch:
        assert await watched(watch, 1) == ["a"]


async def test_a_watch_can_be_told_that_its_version_expired(
    proxy: FaultProxy, client: aiohttp.ClientSession, namespace: str
) -> None:
    proxy.inject(Expire(), verb="watch")
    async with client.get(maps(namespace), params={"watch": "1"}) as watch:
        event = json.loads(await watch.content.readline())
        assert (event["type"], event["object"]["code"]) == ("ERROR", 410)
        assert await watch.content.read() == b""


async def test_a_watch_ends_upstream_when_its_reader_goes(
    proxy: FaultProxy, client: aiohttp.ClientSession, namespace: str
) -> None:
    async with client.get(maps(namespace), params={"watch": "1"}):
        assert len(proxy.calls(verb="watch")) == 1
    for _ in range(100):
        if proxy.cut_watches() == 0:
            return
        await asyncio.sleep(0.02)
    pytest.fail("the proxy still holds the watch of a reader that has gone")


async def test_an_api_server_that_is_away_looks_like_a_broken_connection(
    proxy: FaultProxy, client: aiohttp.ClientSession, namespace: str, plane: ControlPlane
) -> None:
    query = {"watch": "1", "resourceVersion": await version(client, namespace)}
    async with client.get(maps(namespace), params=query) as watch:
        plane.stop_apiserver()
        try:
            with pytest.raises(aiohttp.ClientError):
                await create(client, namespace, "a")
            with pytest.raises(aiohttp.ClientError):
                await watched(watch, 1)
        finally:
            plane.start_apiserver()
    assert (await create(client, namespace, "a")).status == 201


async def version(client: aiohttp.ClientSession, namespace: str) -> str:
    async with client.get(maps(namespace)) as response:
        return str((await response.json())["metadata"]["resourceVersion"])
