"""The API server, as the operator talks to it: raw dicts, server-side apply, no reads on the way to a write.

The typed models of the client library would parse and copy every object once more, so its aio ApiClient (TLS,
credentials, token refresh) is used with raw bodies. Before each write the fence is asked whether this replica is
still the leader: a process that slept through its lease must not write when it wakes.
"""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
from kubernetes.aio.client import ApiClient

from trimtab.core.metadata import MANAGER
from trimtab.core.objects import Object, Resource
from trimtab.runtime.metrics import Metrics

TIMEOUT = 30.0
CONNECT_TIMEOUT = 5.0
PAGE = 100  # what a page becomes in memory, the process keeps for ever
JSON = "application/json"
METADATA = f"{JSON};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
APPLY = "application/apply-patch+yaml"
UNREADABLE = "failed to create typed patch object"


class ApiError(Exception):
    """The API server (or the way to it) said no. `code` is 0 when there was no answer at all."""

    def __init__(self, code: int, reason: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.retry_after = retry_after

    @property
    def transient(self) -> bool:
        """True when the same request may succeed later without anybody changing anything."""
        # What server-side apply cannot read as the kind's schema comes back as a 500, and will each time.
        return self.code in (0, 408, 425, 429) or (self.code >= 500 and not str(self).startswith(UNREADABLE))

    @property
    def conflict(self) -> bool:
        """True when others hold the fields, or the object is another one than expected."""
        return self.code == 409


class NotLeader(Exception):  # noqa: N818 - a state, not an error
    """A write was held back because this replica no longer leads."""


def path(resource: Resource, namespace: str | None, name: str | None = None, sub: str | None = None) -> str:
    """The URL path of a resource, a list of them, or a subresource."""
    root = f"/apis/{resource.api_version}" if resource.group else f"/api/{resource.api_version}"
    spaces = f"/namespaces/{quote(namespace)}" if namespace else ""
    tail = "".join(f"/{quote(part)}" for part in (name, sub) if part)
    return f"{root}{spaces}/{resource.plural}{tail}"


class Cluster:
    """One connection pool to one API server.

    `may_write` says for how many seconds writes are allowed, 0 for not at all: one that still waits for its connection
    when they are over is never sent.
    """

    def __init__(self, client: ApiClient, metrics: Metrics, may_write: Callable[[], float] = lambda: math.inf) -> None:
        self._client = client
        self._metrics = metrics
        self.may_write = may_write

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Object:
        """One object; ApiError 404 if it is not there."""
        return await self._call("GET", path(resource, namespace, name))

    async def find(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """One object or None, by listing: what may be listed need not also be granted for getting."""
        query = {"fieldSelector": f"metadata.name={name}"}
        for item in (await self._call("GET", path(resource, namespace), query))["items"]:
            return {"apiVersion": resource.api_version, "kind": resource.kind, **item}
        return None

    async def pages(
        self, resource: Resource, namespace: str | None, selector: str = "", *, whole: bool = True
    ) -> AsyncIterator[Object]:
        """A list, in pages of raw List objects, from one consistent version; only their metadata if not `whole`."""
        query: dict[str, Any] = {"limit": PAGE}
        if selector:
            query["labelSelector"] = selector
        while True:
            page = await self._call("GET", path(resource, namespace), query, accept=JSON if whole else METADATA)
            yield {**page, "items": page["items"] or []}  # null is what an empty list of metadata holds
            following = page["metadata"].get("continue")
            if not following:
                return
            query["continue"] = following

    async def apply(self, resource: Resource, obj: Object, *, force: bool) -> Object:
        """Server-side apply of a child; the object as it is now."""
        meta = obj["metadata"]
        query = {"fieldManager": MANAGER, "force": str(force).lower()}
        return await self._write("PATCH", path(resource, meta["namespace"], meta["name"]), query, obj, APPLY)

    async def apply_status(self, resource: Resource, obj: Object, status: Object) -> Object:
        """Server-side apply of a whole status; the uid keeps it from reaching a namesake born meanwhile."""
        meta = {key: obj["metadata"][key] for key in ("name", "namespace", "uid")}
        body = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": meta, "status": status}
        query = {"fieldManager": MANAGER, "force": "true"}
        where = path(resource, meta["namespace"], meta["name"], "status")
        return await self._write("PATCH", where, query, body, APPLY)

    async def delete(self, resource: Resource, obj: Object) -> None:
        """Delete exactly this object, if it is still there; its dependents follow in the background.

        ApiError 409 if it is a namesake that is there, or somebody was faster: news of it is on its way.
        """
        meta = obj["metadata"]
        body = {"propagationPolicy": "Background", "preconditions": {"uid": meta["uid"]}}
        try:
            await self._write("DELETE", path(resource, meta["namespace"], meta["name"]), {}, body)
        except ApiError as error:
            if error.code != 404:
                raise

    async def create(self, resource: Resource, namespace: str, obj: Object) -> Object:
        """Create an object; ApiError 409 if the name is taken."""
        return await self._write("POST", path(resource, namespace), {"fieldManager": MANAGER}, obj)

    async def replace(self, resource: Resource, obj: Object) -> Object:
        """Put an object at its resourceVersion; ApiError 409 if somebody was faster."""
        meta = obj["metadata"]
        return await self._write("PUT", path(resource, meta["namespace"], meta["name"]), {}, obj)

    async def _write(
        self, method: str, where: str, query: Mapping[str, Any], body: Object, content: str = "application/json"
    ) -> Object:
        allowed = self.may_write()
        if allowed <= 0:
            raise NotLeader(f"{method} {where}")
        return await self._call(method, where, query, body, content, allowed)

    async def _call(
        self,
        method: str,
        where: str,
        query: Mapping[str, Any] | None = None,
        body: Object | None = None,
        content: str = "application/json",
        seconds: float = math.inf,
        accept: str = JSON,
    ) -> Object:
        headers = {"Content-Type": content, "Accept": accept, "User-Agent": MANAGER}
        url = self._client.configuration.host + where + (f"?{urlencode(query)}" if query else "")
        try:
            await self._client.update_params_for_auth(headers, [], ["BearerToken"], where, method, body)
            response = await self._client.rest_client.request(
                method, url, headers=headers, body=body, _request_timeout=_timeout(min(seconds, TIMEOUT))
            )
            text = await response.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            self._metrics.requests.labels("<error>", method).inc()
            raise _unanswered(method, where, str(error) or type(error).__name__) from error
        self._metrics.requests.labels(str(response.status), method).inc()
        if response.status >= 400:
            raise _refusal(response.status, response.getheaders(), text)
        parsed = _parsed(text)
        if parsed is None:  # something in between said "200 OK" in the API server's place
            raise _unanswered(method, where, f"this is no object: {text[:200].decode(errors='replace')!r}")
        return parsed


def _timeout(seconds: float) -> aiohttp.ClientTimeout:
    # Above ceil_threshold aiohttp would round up to a whole second, on which a write might no longer be allowed.
    return aiohttp.ClientTimeout(total=seconds, connect=CONNECT_TIMEOUT, ceil_threshold=TIMEOUT)


def _parsed(text: bytes) -> Object | None:
    try:
        parsed = json.loads(text)
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None


def _unanswered(method: str, where: str, what: str) -> ApiError:
    return ApiError(0, "Unreachable", f"the API server did not answer {method} {where}: {what}")


def _refusal(code: int, headers: Mapping[str, str], text: bytes) -> ApiError:
    status = _parsed(text) or {"message": text[:200].decode(errors="replace")}
    reason, message = status.get("reason") or "", status.get("message") or ""
    after = headers.get("Retry-After")
    return ApiError(code, reason, message or f"HTTP {code}", float(after) if after and after.isdigit() else None)
