"""Tells routers what to do: Envoy's xDS over REST, as a pure function of `status.router` in the store.

Every replica answers, the leader and the others, so a router needs any one of them. A question is held open while there
is nothing new, which makes a change arrive within milliseconds and costs next to nothing meanwhile. An object without
`status.router` gets no answer rather than an empty one: a router never forgets what it was told for want of news.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from aiohttp import web
from pydantic import ValidationError

from trimtab.core.objects import Ref
from trimtab.runtime.store import Store
from trimtab.traffic import envoy
from trimtab.traffic.bootstrap import HOLD_SECONDS
from trimtab.traffic.state import RouterStatus

log = logging.getLogger(__name__)
CLUSTERS = "/v3/discovery:clusters"
ROUTES = "/v3/discovery:routes"
LARGEST = 1 << 20
"""Envoy sends the list of all its extensions along, some 100 KiB of it."""
LOOK_SECONDS = 0.5
"""A waiting question looks again this often by itself, so that a hint that was lost costs no more."""


class Told(NamedTuple):
    """One object's answers, by path: the version and the whole body."""

    at: int | None
    answers: Mapping[str, tuple[str, bytes]]


class Xds:
    """Answers routers from a store. `plurals` leads from the name in a URL to a kind."""

    def __init__(self, store: Store, plurals: Mapping[str, str], hold_seconds: float = HOLD_SECONDS) -> None:
        self._store = store
        self._plurals = plurals
        self._hold = hold_seconds
        self._told: dict[Ref, Told] = {}
        self._waiting: dict[Ref, set[asyncio.Event]] = {}
        self._ending = False

    def changed(self, refs: Iterable[Ref]) -> None:
        """Look again, for whoever waits for news of these."""
        for ref in refs:
            if self._store.version(ref) is None:
                self._told.pop(ref, None)
            for event in self._waiting.get(ref, ()):
                event.set()

    def end(self) -> None:
        """Let all questions go: a router that is turned away asks the next replica."""
        self._ending = True
        self.changed(list(self._waiting))

    def application(self) -> web.Application:
        """The two paths that routers ask at."""
        app = web.Application()
        for path in (CLUSTERS, ROUTES):
            app.router.add_post(path, self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.Response:
        try:
            ref, version = self._asked(await _body(request))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return web.json_response({"error": "not a DiscoveryRequest of a router"}, status=400)
        found = await self._news(ref, request.path, version)
        if found is None:
            return web.json_response({"error": f"{ref} has no routes yet"}, status=404)
        if found[0] == version:
            return web.Response(status=304)
        return web.Response(body=found[1], content_type="application/json")

    def _asked(self, body: bytes) -> tuple[Ref, str]:
        """Whose routes are asked for, and which version is known; what else Envoy says is not kept while it waits."""
        asked = json.loads(body)
        plural, namespace, name = asked["node"]["cluster"].split("/")
        return Ref(self._plurals[plural], namespace, name), str(asked.get("version_info", ""))

    async def _news(self, ref: Ref, path: str, version: str) -> tuple[str, bytes] | None:
        """What is told now, as soon as it is another version; at the end of the hold, whatever it is."""
        deadline = asyncio.get_running_loop().time() + self._hold
        event = asyncio.Event()
        self._waiting.setdefault(ref, set()).add(event)
        try:
            while True:
                event.clear()
                found = self._current(ref).get(path)
                left = deadline - asyncio.get_running_loop().time()
                if (found is not None and found[0] != version) or left <= 0 or self._ending:
                    return found
                await _either(event, min(left, LOOK_SECONDS))
        finally:
            self._waiting[ref].discard(event)
            if not self._waiting[ref]:
                del self._waiting[ref]

    def _current(self, ref: Ref) -> Mapping[str, tuple[str, bytes]]:
        """What the object says now, rendered once for each of its versions."""
        at = self._store.version(ref)
        told = self._told.get(ref)
        if told is None or told.at != at:
            obj = self._store.get(ref) or {}
            told = self._told[ref] = Told(at, rendered(obj.get("status", {}).get("router"), ref))
        if at is None:
            del self._told[ref]
        return told.answers


def rendered(status: object, ref: Ref) -> Mapping[str, tuple[str, bytes]]:
    """The answers that a `status.router` leads to, by path; none if there is none, or nobody could follow it."""
    if status is None:
        return {}
    try:
        routed = RouterStatus.model_validate(status).checked()
    except (ValidationError, ValueError) as error:
        log.error("routers cannot be told what status.router says", extra={"object": str(ref), "error": str(error)})
        return {}
    return {
        CLUSTERS: _response(routed.clusters_version, envoy.CLUSTER, envoy.clusters(routed)),
        ROUTES: _response(routed.routes_version, envoy.ROUTES, envoy.routes(routed)),
    }


def _response(version: str, kind: str, resources: list[envoy.Json]) -> tuple[str, bytes]:
    body = {"version_info": version, "type_url": kind, "resources": resources}
    return version, json.dumps(body, separators=(",", ":")).encode()


async def _body(request: web.Request) -> bytes:
    """The whole body, of which the request itself keeps nothing; ValueError if it is too large to be a router's."""
    body = bytearray()
    async for piece in request.content.iter_any():
        body += piece
        if len(body) > LARGEST:
            raise ValueError("larger than any router's question")
    return bytes(body)


async def _either(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
