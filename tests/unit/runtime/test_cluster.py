"""Requests as the API server gets them, and its refusals as the operator understands them, over a real socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio.client import ApiClient, Configuration

from tests.processes import free_port
from trimtab.core.objects import DEPLOYMENT, JOB, POD, SERVICE, Object, Resource
from trimtab.runtime import cluster as module
from trimtab.runtime.cluster import PAGE, ApiError, Cluster, NotLeader, path
from trimtab.runtime.metrics import Metrics

MDEP = Resource("trimtab.dev/v1alpha1", "ModelDeployment", "modeldeployments")
CHILD: Object = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "risk", "namespace": "team-a", "uid": "u1", "resourceVersion": "7"},
    "spec": {"clusterIP": "None"},
}
OWNER: Object = {
    "apiVersion": MDEP.api_version,
    "kind": MDEP.kind,
    "metadata": {"name": "risk", "namespace": "team-a", "uid": "u2", "generation": 3, "labels": {"a": "b"}},
    "spec": {},
}


class ApiServer:
    """One server whose answer a test sets, and what it was asked."""

    def __init__(self) -> None:
        self.port = free_port()
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self.headers: list[dict[str, str]] = []
        self.answer: Callable[[web.Request], Awaitable[web.StreamResponse]] = lambda _: answer({"kind": "Stored"})

    async def handle(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        self.requests.append((request.method, request.path, dict(request.query), json.loads(text) if text else None))
        self.headers.append(dict(request.headers))
        return await self.answer(request)


async def answer(body: Any, status: int = 200, **headers: str) -> web.Response:
    text = body if isinstance(body, str) else json.dumps(body)
    return web.Response(text=text, status=status, headers={k.replace("_", "-"): v for k, v in headers.items()})


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    made = ApiServer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", made.port).start()
    yield made
    await runner.cleanup()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def cluster(server: ApiServer, metrics: Metrics) -> AsyncIterator[Cluster]:
    configuration = Configuration(host=f"http://127.0.0.1:{server.port}")
    configuration.api_key["BearerToken"] = "Bearer t0ken"
    async with ApiClient(configuration) as client:
        yield Cluster(client, metrics)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((POD, None), "/api/v1/pods"),
        ((POD, "a"), "/api/v1/namespaces/a/pods"),
        ((DEPLOYMENT, "a", "b"), "/apis/apps/v1/namespaces/a/deployments/b"),
        ((MDEP, "a", "b", "status"), "/apis/trimtab.dev/v1alpha1/namespaces/a/modeldeployments/b/status"),
        ((JOB, None, "a b"), "/apis/batch/v1/jobs/a%20b"),
    ],
)
def test_paths_are_those_of_the_api(arguments: tuple[Any, ...], expected: str) -> None:
    assert path(*arguments) == expected


APPLY = {"fieldManager": "trimtab", "force": "false"}
FORCE = {**APPLY, "force": "true"}
SERVICES = "/api/v1/namespaces/team-a/services"
IDENTITY = {"name": "risk", "namespace": "team-a", "uid": "u2"}
STATUS = {"apiVersion": MDEP.api_version, "kind": MDEP.kind, "metadata": IDENTITY, "status": {"url": "x"}}
DELETION = {"propagationPolicy": "Background", "preconditions": {"uid": "u1"}}
ASKED: dict[str, tuple[Callable[[Cluster], Awaitable[Any]], tuple[str, str, dict[str, str], Any]]] = {
    "get": (lambda c: c.get(SERVICE, "team-a", "risk"), ("GET", f"{SERVICES}/risk", {}, None)),
    "apply": (lambda c: c.apply(SERVICE, CHILD, force=False), ("PATCH", f"{SERVICES}/risk", APPLY, CHILD)),
    "apply by force": (lambda c: c.apply(SERVICE, CHILD, force=True), ("PATCH", f"{SERVICES}/risk", FORCE, CHILD)),
    "status": (
        lambda c: c.apply_status(MDEP, OWNER, {"url": "x"}),
        ("PATCH", f"/apis/{MDEP.api_version}/namespaces/team-a/modeldeployments/risk/status", FORCE, STATUS),
    ),
    "delete": (lambda c: c.delete(SERVICE, CHILD), ("DELETE", f"{SERVICES}/risk", {}, DELETION)),
    "create": (
        lambda c: c.create(SERVICE, "team-a", CHILD),
        ("POST", SERVICES, {"fieldManager": "trimtab"}, CHILD),
    ),
    "replace": (lambda c: c.replace(SERVICE, CHILD), ("PUT", f"{SERVICES}/risk", {}, CHILD)),
}


@pytest.mark.parametrize("case", ASKED)
async def test_requests_say_what_is_meant(cluster: Cluster, server: ApiServer, metrics: Metrics, case: str) -> None:
    call, expected = ASKED[case]
    done = await call(cluster)
    assert server.requests == [expected]
    assert done in ({"kind": "Stored"}, None)
    (headers,) = server.headers
    assert headers["Authorization"] == "Bearer t0ken"
    assert headers["User-Agent"] == "trimtab"
    patch = expected[0] == "PATCH"
    assert headers["Content-Type"] == ("application/apply-patch+yaml" if patch else "application/json")
    counted = metrics.registry.get_sample_value("rest_client_requests_total", {"code": "200", "method": expected[0]})
    assert counted == 1


@pytest.mark.parametrize("case", [case for case in ASKED if case != "get"])
async def test_who_does_not_lead_writes_nothing(cluster: Cluster, server: ApiServer, case: str) -> None:
    cluster.may_write = lambda: 0.0
    with pytest.raises(NotLeader):
        await ASKED[case][0](cluster)
    assert server.requests == []
    await cluster.get(SERVICE, "team-a", "risk")


async def test_a_write_is_given_up_when_leadership_ends(cluster: Cluster, server: ApiServer) -> None:
    never = asyncio.Event()

    async def silent(_: web.Request) -> web.Response:
        await never.wait()
        return await answer({})

    server.answer = silent
    cluster.may_write = lambda: 0.05
    with pytest.raises(ApiError, match="did not answer PATCH"):
        await cluster.apply(SERVICE, CHILD, force=True)
    never.set()


class TestLists:
    async def test_all_pages_are_read(self, cluster: Cluster, server: ApiServer) -> None:
        async def paged(request: web.Request) -> web.Response:
            number = int(request.query.get("continue", "0"))
            meta = {"resourceVersion": "9", **({"continue": str(number + 1)} if number < 2 else {"continue": ""})}
            return await answer({"metadata": meta, "items": [number]})

        server.answer = paged
        found = [page["items"] async for page in cluster.pages(SERVICE, None, "a=b,c")]
        assert found == [[0], [1], [2]]
        assert {at for _, at, _, _ in server.requests} == {"/api/v1/services"}
        first = {"limit": str(PAGE), "labelSelector": "a=b,c"}
        assert [query for _, _, query, _ in server.requests] == [
            first,
            {**first, "continue": "1"},
            {**first, "continue": "2"},
        ]

    async def test_a_list_of_metadata_that_is_empty_holds_null(self, cluster: Cluster, server: ApiServer) -> None:
        server.answer = lambda _: answer({"metadata": {"resourceVersion": "9"}, "items": None})
        assert [page["items"] async for page in cluster.pages(SERVICE, None, whole=False)] == [[]]

    async def test_a_list_that_expires_half_way_is_an_error(self, cluster: Cluster, server: ApiServer) -> None:
        gone = {"kind": "Status", "reason": "Expired", "message": "The provided continue parameter is too old"}
        server.answer = lambda _: answer(gone, 410)
        with pytest.raises(ApiError) as caught:
            [page async for page in cluster.pages(SERVICE, None)]
        assert (caught.value.code, caught.value.reason) == (410, "Expired")

    async def test_one_object_can_be_found_by_listing(self, cluster: Cluster, server: ApiServer) -> None:
        bare = {"metadata": CHILD["metadata"]}
        server.answer = lambda _: answer({"metadata": {}, "items": [bare]})
        assert await cluster.find(SERVICE, "team-a", "risk") == {"apiVersion": "v1", "kind": "Service", **bare}
        assert server.requests == [("GET", SERVICES, {"fieldSelector": "metadata.name=risk"}, None)]
        server.answer = lambda _: answer({"metadata": {}, "items": []})
        assert await cluster.find(SERVICE, "team-a", "risk") is None


def refusal(reason: str, message: str) -> Object:
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message}


CONFLICT = 'Apply failed with 1 conflict: conflict with "kubectl": .spec.ports'
ERRORS: dict[str, tuple[Any, int, dict[str, str], tuple[str, str, bool, bool, float | None]]] = {
    "not found": (refusal("NotFound", "no"), 404, {}, ("NotFound", "no", False, False, None)),
    "conflict": (refusal("Conflict", CONFLICT), 409, {}, ("Conflict", CONFLICT, False, True, None)),
    "forbidden": (refusal("Forbidden", "may not"), 403, {}, ("Forbidden", "may not", False, False, None)),
    "invalid": (refusal("Invalid", "bad"), 422, {}, ("Invalid", "bad", False, False, None)),
    "too many": (refusal("Slow", "wait"), 429, {"Retry_After": "7"}, ("Slow", "wait", True, False, 7)),
    "a date": ("", 503, {"Retry_After": "Wed, 21 Oct 2015 07:28:00 GMT"}, ("", "HTTP 503", True, False, None)),
    "broken": ("<html>Bad gateway</html>", 502, {}, ("", "<html>Bad gateway</html>", True, False, None)),
    "timeout": (refusal("Timeout", "slow"), 504, {}, ("Timeout", "slow", True, False, None)),
    "empty": ("", 500, {}, ("", "HTTP 500", True, False, None)),
    "a list": ("[]", 500, {}, ("", "[]", True, False, None)),
    "null": ("null", 500, {}, ("", "null", True, False, None)),
    "no text": ({"reason": None, "message": None}, 500, {}, ("", "HTTP 500", True, False, None)),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS)
async def test_refusals_are_understood(cluster: Cluster, server: ApiServer, metrics: Metrics, case: str) -> None:
    body, status, headers, expected = ERRORS[case]
    server.answer = lambda _: answer(body, status, **headers)
    with pytest.raises(ApiError) as caught:
        await cluster.apply(SERVICE, CHILD, force=True)
    error = caught.value
    assert error.code == status
    assert (error.reason, str(error), error.transient, error.conflict, error.retry_after) == expected
    labels = {"code": str(status), "method": "PATCH"}
    assert metrics.registry.get_sample_value("rest_client_requests_total", labels) == 1


async def test_deleting_what_is_gone_is_done(cluster: Cluster, server: ApiServer) -> None:
    server.answer = lambda _: answer(refusal("NotFound", "no"), 404)
    await cluster.delete(SERVICE, CHILD)


@pytest.mark.parametrize("status", [403, 409, 500])
async def test_deleting_may_fail(cluster: Cluster, server: ApiServer, status: int) -> None:
    server.answer = lambda _: answer(refusal("Forbidden", "no"), status)
    with pytest.raises(ApiError):
        await cluster.delete(SERVICE, CHILD)


class TestNoAnswer:
    async def failure(self, cluster: Cluster) -> ApiError:
        with pytest.raises(ApiError) as caught:
            await cluster.get(SERVICE, "team-a", "risk")
        assert (caught.value.code, caught.value.transient) == (0, True)
        assert str(caught.value).startswith(f"the API server did not answer GET {SERVICES}/risk: ")
        return caught.value

    async def test_nobody_listens(self, metrics: Metrics) -> None:
        async with ApiClient(Configuration(host=f"http://127.0.0.1:{free_port()}")) as client:
            assert "Cannot connect" in str(await self.failure(Cluster(client, metrics)))
        labels = {"code": "<error>", "method": "GET"}
        assert metrics.registry.get_sample_value("rest_client_requests_total", labels) == 1

    async def test_silence_ends(self, cluster: Cluster, server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "TIMEOUT", 0.05)

        async def silent(_: web.Request) -> web.StreamResponse:
            await asyncio.Event().wait()
            raise AssertionError

        server.answer = silent
        await self.failure(cluster)

    async def test_an_answer_that_breaks_off(self, cluster: Cluster, server: ApiServer) -> None:
        async def breaking(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Length": "100"})
            await response.prepare(request)
            await response.write(b'{"kind":')
            assert request.transport
            request.transport.close()
            return response

        server.answer = breaking
        await self.failure(cluster)

    @pytest.mark.parametrize("text", ["", "<html>welcome to the proxy</html>", '{"kind": ', "[1]", "null"])
    async def test_an_answer_that_is_no_object(self, cluster: Cluster, server: ApiServer, text: str) -> None:
        """Something between here and the API server may answer 200 in its place."""
        server.answer = lambda _: answer(text)
        await self.failure(cluster)

    async def test_a_token_that_cannot_be_read(self, cluster: Cluster) -> None:
        def unreadable(_: Configuration) -> None:
            raise FileNotFoundError("/var/run/secrets/token")

        cluster._client.configuration.refresh_api_key_hook = unreadable
        assert "/var/run/secrets/token" in str(await self.failure(cluster))
