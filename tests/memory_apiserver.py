"""The API server in memory behind a socket: discovery, lists, watches and writes, as far as the operator needs them.

With it the whole process can be run inside a test: its watch engine, its client and its signals are the real ones. It
has a thread to itself, because kopf takes every task on its own loop for one of its own.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from aiohttp import web

from tests.memory_cluster import Happening, MemoryCluster
from tests.processes import free_port
from trimtab.core.objects import Object, Ref, Resource
from trimtab.kinds import watched
from trimtab.runtime.archive import CONFIG_MAP
from trimtab.runtime.cluster import ApiError
from trimtab.runtime.events import EVENT
from trimtab.runtime.leader import LEASE

T = TypeVar("T")
NAMESPACE = Resource("v1", "Namespace", "namespaces")
RESOURCES = {(r.api_version, r.plural): r for r in (*watched(), LEASE, EVENT, NAMESPACE, CONFIG_MAP)}


class _Log(list[Happening]):
    """A log that wakes whoever follows it."""

    def __init__(self, happenings: Iterable[Happening]) -> None:
        super().__init__(happenings)
        self.more: Callable[[], None] = lambda: None

    def append(self, happening: Happening) -> None:
        super().append(happening)
        self.more()


class MemoryApiServer:
    """Serves one MemoryCluster, which from then on is touched through `do` only."""

    def __init__(self, cluster: MemoryCluster) -> None:
        self.cluster = cluster
        self.url = f"http://127.0.0.1:{free_port()}"
        self._log = cluster.log = _Log(cluster.log)
        self._news: set[asyncio.Event] = set()
        self._log.more = self._wake
        self.watching: set[str] = set()
        self._broken = asyncio.Event()
        self._loop = asyncio.new_event_loop()

    def do(self, act: Callable[[MemoryCluster], T]) -> T:
        """Look at the cluster or change it, between two requests."""

        async def between() -> T:
            return act(self.cluster)

        return asyncio.run_coroutine_threadsafe(between(), self._loop).result(10)

    def break_watches(self) -> None:
        """End all watches, as a restart of the API server would."""
        self._loop.call_soon_threadsafe(self._break)

    def _break(self) -> None:
        self.watching.clear()
        self._broken.set()
        self._broken = asyncio.Event()
        self._wake()

    def _wake(self) -> None:
        for event in self._news:
            event.set()

    @contextmanager
    def serving(self) -> Iterator[MemoryApiServer]:
        """Serve until the end of the block."""
        thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        thread.start()
        runner = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        try:
            yield self
        finally:
            self.break_watches()
            asyncio.run_coroutine_threadsafe(runner.cleanup(), self._loop).result(10)
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join(10)
            self._loop.close()

    async def _start(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_get("/{root:api|apis}", self._groups)
        app.router.add_get("/{root:api}/{version}", self._resources)
        app.router.add_get("/{root:apis}/{group}/{version}", self._resources)
        for prefix in ("/api/{version}", "/apis/{group}/{version}"):
            space = prefix + "/namespaces/{namespace}/{plural}"
            app.router.add_route("*", prefix + "/{plural}", self._collection)
            app.router.add_route("*", space, self._collection)
            app.router.add_route("*", space + "/{name}", self._one)
            app.router.add_route("*", space + "/{name}/{sub}", self._one)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", int(self.url.rpartition(":")[2])).start()
        return runner

    # Discovery.

    async def _groups(self, request: web.Request) -> web.Response:
        if request.match_info["root"] == "api":
            return web.json_response({"versions": ["v1"]})
        named = sorted({api.rpartition("/")[::2] for api, _ in RESOURCES if "/" in api})
        versions = [(group, {"groupVersion": f"{group}/{version}", "version": version}) for group, version in named]
        groups = [{"name": group, "versions": [v], "preferredVersion": v} for group, v in versions]
        return web.json_response({"groups": groups})

    async def _resources(self, request: web.Request) -> web.Response:
        api = _api(request)
        verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
        found = [
            {
                "name": r.plural,
                "singularName": r.kind.lower(),
                "namespaced": r != NAMESPACE,
                "kind": r.kind,
                "verbs": verbs,
            }
            for (version, _), r in RESOURCES.items()
            if version == api
        ]
        return web.json_response({"groupVersion": api, "resources": [{**item, "verbs": verbs} for item in found]})

    # Objects.

    async def _collection(self, request: web.Request) -> web.StreamResponse:
        resource = RESOURCES[_api(request), request.match_info["plural"]]
        namespace = request.match_info.get("namespace")
        if request.query.get("watch") == "true":
            return await self._watch(request, resource, namespace)
        if request.method == "POST":
            return await self._answer(self.cluster.create(resource, namespace or "", await request.json()))
        return await self._answer(self._list(resource, namespace, request.query))

    async def _list(self, resource: Resource, namespace: str | None, query: Mapping[str, str]) -> Object:
        selector = query.get("labelSelector", "")
        pages = [page async for page in self.cluster.pages(resource, namespace, selector)]
        items = [item for page in pages for item in page["items"]]
        name = query.get("fieldSelector", "").removeprefix("metadata.name=")
        meta = {"resourceVersion": pages[0]["metadata"]["resourceVersion"]}
        found = [item for item in items if name in ("", item["metadata"]["name"])]
        return {"kind": f"{resource.kind}List", "apiVersion": resource.api_version, "metadata": meta, "items": found}

    async def _one(self, request: web.Request) -> web.Response:
        resource = RESOURCES[_api(request), request.match_info["plural"]]
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        body = await request.json() if request.can_read_body else {}
        if request.method == "GET":
            return await self._answer(self.cluster.get(resource, namespace, name))
        if request.method == "PUT":
            return await self._answer(self.cluster.replace(resource, body))
        if request.method == "DELETE":
            return await self._answer(self._delete(resource, Ref(resource.kind, namespace, name), body))
        if request.match_info.get("sub") == "status":
            return await self._answer(self.cluster.apply_status(resource, body, body["status"]))
        return await self._answer(self.cluster.apply(resource, body, force=request.query["force"] == "true"))

    async def _delete(self, resource: Resource, ref: Ref, body: Object) -> Object:
        meta = {"namespace": ref.namespace, "name": ref.name, **body["preconditions"]}
        await self.cluster.delete(resource, {"kind": ref.kind, "metadata": meta})
        return {"kind": "Status", "status": "Success"}

    async def _answer(self, outcome: Any) -> web.Response:
        try:
            return web.json_response(await outcome)
        except ApiError as error:
            status = {"kind": "Status", "reason": error.reason, "message": str(error), "code": error.code}
            return web.json_response(status, status=error.code)

    async def _watch(self, request: web.Request, resource: Resource, namespace: str | None) -> web.StreamResponse:
        response, news, broken = web.StreamResponse(), asyncio.Event(), self._broken
        await response.prepare(request)
        since = int(request.query.get("resourceVersion") or self.cluster.version)
        self._news.add(news)
        self.watching.add(resource.plural)
        position = 0
        try:
            while not broken.is_set():
                news.clear()
                for happening in self._log[position:]:
                    if _wanted(happening.obj, resource, namespace, since, request.query.get("labelSelector", "")):
                        await response.write(_event(happening) + b"\n")
                position = len(self._log)
                await news.wait()
        finally:
            self._news.discard(news)
        return response


def _api(request: web.Request) -> str:
    group, version = request.match_info.get("group"), request.match_info["version"]
    return f"{group}/{version}" if group else version


def _wanted(obj: Object, resource: Resource, namespace: str | None, since: int, selector: str) -> bool:
    labels = dict(term.split("=") for term in selector.split(",") if term)
    return (
        obj["kind"] == resource.kind
        and namespace in (None, obj["metadata"]["namespace"])
        and int(obj["metadata"]["resourceVersion"]) > since
        and labels.items() <= obj["metadata"].get("labels", {}).items()
    )


def _event(happening: Happening) -> bytes:
    new = happening.obj["metadata"].get("generation") == 1 and "status" not in happening.obj
    kind = "DELETED" if happening.gone else "ADDED" if new else "MODIFIED"
    return json.dumps({"type": kind, "object": happening.obj}).encode()
