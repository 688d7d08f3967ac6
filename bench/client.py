"""The bench's own way to the API server: as administrator, in plain JSON."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from tests.controlplane import ControlPlane
from trimtab.core.objects import Object, Resource


class Client:
    """One connection pool; use `connect`."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    @classmethod
    @asynccontextmanager
    async def connect(cls, plane: ControlPlane) -> AsyncIterator[Client]:
        """Talk to the API server of a control plane."""
        connector = aiohttp.TCPConnector(ssl=plane.tls(), limit=0)
        async with aiohttp.ClientSession(plane.url, connector=connector) as session:
            yield cls(session)

    async def create(self, resource: Resource, obj: Object) -> Object:
        """Create an object in the namespace its metadata names, or in none."""
        return await self._call("POST", path(resource, obj["metadata"].get("namespace", "")), obj)

    async def patch_status(self, resource: Resource, obj: Object, status: Object) -> Object:
        """Merge a status into an object."""
        meta = obj["metadata"]
        where = f"{path(resource, meta['namespace'])}/{meta['name']}/status"
        return await self._call("PATCH", where, {"status": status}, "application/merge-patch+json")

    async def list(self, resource: Resource, selector: str = "") -> list[Object]:
        """All objects of a resource that match a label selector."""
        found = await self._call("GET", f"{path(resource, '')}?resourceVersion=0&labelSelector={selector}")
        items: list[Object] = found["items"]
        return items

    async def _call(
        self, method: str, where: str, body: Object | None = None, content: str = "application/json"
    ) -> dict[str, Any]:
        async with self._session.request(method, where, json=body, headers={"Content-Type": content}) as response:
            if response.status >= 400:
                raise RuntimeError(f"{method} {where} was answered with {response.status}: {await response.text()}")
            answer: dict[str, Any] = await response.json()
            return answer


def path(resource: Resource, namespace: str) -> str:
    """The URL path of a resource."""
    root = f"/apis/{resource.api_version}" if resource.group else f"/api/{resource.api_version}"
    return f"{root}/namespaces/{namespace}/{resource.plural}" if namespace else f"{root}/{resource.plural}"
