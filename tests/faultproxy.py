"""A proxy between operator and API server that makes the network misbehave on purpose, and keeps count.

It runs in a thread of its own, so that it works beside an operator in the test's event loop as well as
beside one in a process of its own. Clients reach it over plain HTTP with a kubeconfig from `kubeconfig()`,
whose token is nothing but the caller's name; the proxy speaks to the API server as administrator, or as
the user the kubeconfig was made for.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import TracebackType

import aiohttp
import yaml
from aiohttp import web

from tests.controlplane import ControlPlane
from tests.faults import WRITES, Call, Delay, Events, Expire, Fault, Record, Reset, Rule, Status, describe

PATIENCE = 60.0
HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "host", "authorization", "content-length"})


class FaultProxy:
    """Use as a context manager. Rules are tried in the order they were added; a call suffers the first that
    takes it, after any number of delays.

    `before` hooks see each call as it arrives. `after` hooks see each call but watches when the API server has
    answered it and the caller does not know yet: the moment to kill the caller at. Both run in the proxy's
    thread and hold everything up until they return.
    """

    def __init__(self, plane: ControlPlane) -> None:
        self.records: list[Record] = []
        self.before: list[Callable[[Call], None]] = []
        self.after: list[Callable[[Call, int], None]] = []
        self.url = ""
        self._plane = plane
        self._rules: list[Rule] = []
        self._users: dict[str, str] = {}
        self._writing: set[asyncio.Future[web.StreamResponse]] = set()
        self._watches: list[tuple[Call, web.Request]] = []  # requests cannot be hashed
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)

    def __enter__(self) -> FaultProxy:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(PATIENCE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    def kubeconfig(self, caller: str = "operator", user: str = "") -> Path:
        """A kubeconfig for one client; `user` (as RBAC names it) is who the API server sees, or administrator."""
        self._users[caller] = user
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "proxy", "cluster": {"server": self.url}}],
            "users": [{"name": "caller", "user": {"token": caller}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "caller"}}],
            "current-context": "proxy",
        }
        path = self._plane.folder / f"proxy-{self.url.rpartition(':')[2]}-{caller}.kubeconfig"
        path.write_text(yaml.safe_dump(config))
        return path

    def inject(self, fault: Fault, times: int | None = 1, **when: str | Collection[str]) -> Rule:
        """Let the next calls that match suffer a fault; `times=None` for all to come, until `heal`."""
        rule = Rule(fault, lambda call: call.matches(**when), times)
        self._rules.append(rule)
        return rule

    def heal(self) -> None:
        """Forget all rules."""
        self._rules.clear()

    def cut_watches(self, **which: str | Collection[str]) -> int:
        """Break the watches that are open now; the number of those that match."""
        found = [request for call, request in list(self._watches) if call.matches(**which)]
        for request in found:
            self._loop.call_soon_threadsafe(_abort, request)
        return len(found)

    def calls(self, **which: str | Collection[str]) -> list[Record]:
        """The calls so far that match, oldest first; a watch is one call, from when it was opened."""
        return [record for record in list(self.records) if record.call.matches(**which)]

    async def _start(self) -> None:
        connector = aiohttp.TCPConnector(ssl=self._plane.tls(), limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        self._upstream = aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False)
        app = web.Application(client_max_size=8 * 1024**2)
        app.router.add_route("*", "/{path:.*}", self._handle)
        # A watch that nobody reads any more must end upstream too.
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _stop(self) -> None:
        for _, request in list(self._watches):
            _abort(request)
        await self._runner.cleanup()
        if self._writing:
            await asyncio.wait(self._writing, timeout=PATIENCE / 2)
        await self._upstream.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        caller = request.headers.get("Authorization", "").removeprefix("Bearer ")
        agent = request.headers.get("User-Agent", "")
        call = describe(caller, request.method, request.path, dict(request.query), agent)
        for hook in self.before:
            hook(call)
        fault = self._fault(call)
        while isinstance(fault, Delay):
            await asyncio.sleep(fault.seconds)
            fault = self._fault(call)
        if fault is not None and not (isinstance(fault, Status | Reset) and fault.done):
            return self._fail(request, call, fault, 0)
        forwarding = self._forward(request, call, fault)
        if call.verb not in WRITES:
            return await forwarding
        # A write that is on its way is done and seen by the hooks, even when its caller dies meanwhile.
        writing = asyncio.ensure_future(forwarding)
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)
        return await asyncio.shield(writing)

    def _fault(self, call: Call) -> Fault | None:
        for rule in list(self._rules):
            if not isinstance(rule.fault, Events) and rule.take(call):
                return rule.fault
        return None

    def _fail(self, request: web.Request, call: Call, fault: Fault, upstream: int) -> web.StreamResponse:
        if isinstance(fault, Reset):
            self.records.append(Record(call, 0, upstream))
            _abort(request)
            return web.Response(status=500)
        gone = isinstance(fault, Expire)
        code = fault.code if isinstance(fault, Status) else 410
        body: dict[str, object] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": f"injected fault: {code}",
            "reason": {409: "Conflict", 410: "Expired", 429: "TooManyRequests"}.get(code, "InternalError"),
            "code": code,
        }
        headers = {}
        if isinstance(fault, Status) and fault.retry_after is not None:
            headers["Retry-After"] = str(fault.retry_after)
            body["details"] = {"retryAfterSeconds": fault.retry_after}
        self.records.append(Record(call, 200 if gone else code, upstream))
        if gone:
            return web.json_response(text=json.dumps({"type": "ERROR", "object": body}) + "\n")
        return web.json_response(body, status=code, headers=headers)

    async def _forward(self, request: web.Request, call: Call, fault: Fault | None) -> web.StreamResponse:
        body = await request.read()
        try:
            async with self._upstream.request(
                request.method,
                self._plane.url + request.raw_path,
                data=body,
                skip_auto_headers=["Accept-Encoding", "Content-Type"],
                headers=self._headers(request, call),
            ) as answer:
                if call.verb == "watch" and answer.status == 200:
                    return await self._stream(request, call, answer)
                content = await answer.read()
        except aiohttp.ClientError:
            return self._fail(request, call, Reset(), 0)
        for hook in self.after:
            hook(call, answer.status)
        if fault is not None:
            return self._fail(request, call, fault, answer.status)
        self.records.append(Record(call, answer.status, answer.status))
        return web.Response(body=content, status=answer.status, headers=_end_to_end(answer.headers))

    async def _stream(self, request: web.Request, call: Call, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, headers=_end_to_end(answer.headers))
        self._watches.append((call, request))
        self.records.append(Record(call, answer.status, answer.status))
        try:
            await response.prepare(request)
            buffer = b""
            async for chunk in answer.content.iter_any():
                *lines, buffer = (buffer + chunk).split(b"\n")
                for line in lines:
                    for event in self._rewrite(call, line):
                        await response.write(event + b"\n")
        except (aiohttp.ClientError, ConnectionError):
            _abort(request)
        finally:
            self._watches = [item for item in self._watches if item[1] is not request]
        return response

    def _rewrite(self, call: Call, event: bytes) -> Collection[bytes]:
        for rule in list(self._rules):
            if isinstance(rule.fault, Events) and rule.take(call):
                return tuple(rule.fault.rewrite(event))
        return (event,)

    def _headers(self, request: web.Request, call: Call) -> dict[str, str]:
        headers = _end_to_end(request.headers)
        user = self._users.get(call.caller, "")
        if user:
            headers["Impersonate-User"] = user
        return headers


def _end_to_end(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in dict(headers).items() if name.lower() not in HOP_BY_HOP}


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
