"""The user's side of the API server, for tests: whole objects in and out, and waiting for what must become true."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, TypeVar

import aiohttp

from tests.controlplane import ControlPlane

Object = dict[str, Any]
T = TypeVar("T")

PATHS = {
    "Namespace": ("v1", "namespaces"),
    "Pod": ("v1", "pods"),
    "Service": ("v1", "services"),
    "Secret": ("v1", "secrets"),
    "ServiceAccount": ("v1", "serviceaccounts"),
    "ResourceQuota": ("v1", "resourcequotas"),
    "Deployment": ("apps/v1", "deployments"),
    "Job": ("batch/v1", "jobs"),
    "HorizontalPodAutoscaler": ("autoscaling/v2", "horizontalpodautoscalers"),
    "PodDisruptionBudget": ("policy/v1", "poddisruptionbudgets"),
    "NetworkPolicy": ("networking.k8s.io/v1", "networkpolicies"),
    "HTTPRoute": ("gateway.networking.k8s.io/v1", "httproutes"),
    "ConfigMap": ("v1", "configmaps"),
    "Lease": ("coordination.k8s.io/v1", "leases"),
    "Event": ("events.k8s.io/v1", "events"),
    "MLModel": ("trimtab.dev/v1alpha1", "mlmodels"),
    "ModelDeployment": ("trimtab.dev/v1alpha1", "modeldeployments"),
    "ABTest": ("trimtab.dev/v1alpha1", "abtests"),
    "RetrainSchedule": ("trimtab.dev/v1alpha1", "retrainschedules"),
    "ClusterRole": ("rbac.authorization.k8s.io/v1", "clusterroles"),
    "ClusterRoleBinding": ("rbac.authorization.k8s.io/v1", "clusterrolebindings"),
    "Role": ("rbac.authorization.k8s.io/v1", "roles"),
    "RoleBinding": ("rbac.authorization.k8s.io/v1", "rolebindings"),
    "CustomResourceDefinition": ("apiextensions.k8s.io/v1", "customresourcedefinitions"),
    "SubjectAccessReview": ("authorization.k8s.io/v1", "subjectaccessreviews"),
}
MERGE, STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"


class RefusedError(Exception):
    """The API server said no."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class Kube:
    """A client with all rights. Use as an async context manager."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    async def __aenter__(self) -> Kube:
        connector = aiohttp.TCPConnector(ssl=self._plane.tls())
        self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=30))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def create(self, obj: Object) -> Object:
        """Create an object."""
        return await self._call("POST", _path(obj["kind"], obj["metadata"].get("namespace")), {}, obj)

    async def fresh_namespace(self) -> str:
        """A new namespace; its name."""
        name = f"f-{uuid.uuid4().hex[:8]}"
        await self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        return name

    async def get(self, kind: str, namespace: str | None, name: str) -> Object | None:
        """One object, or None."""
        try:
            return await self._call("GET", _path(kind, namespace, name))
        except RefusedError as error:
            if error.code == 404:
                return None
            raise

    async def list(self, kind: str, namespace: str | None = None, selector: str = "") -> list[Object]:
        """All objects of a kind, by name."""
        answer = await self._call("GET", _path(kind, namespace), {"labelSelector": selector} if selector else {})
        items = [{"apiVersion": PATHS[kind][0], "kind": kind, **item} for item in answer["items"]]
        return sorted(items, key=lambda item: str(item["metadata"]["name"]))

    async def patch(
        self,
        kind: str,
        namespace: str | None,
        name: str,
        change: Object,
        *,
        sub: str = "",
        how: str = MERGE,
        manager: str = "somebody",
    ) -> Object:
        """Change an object as `kubectl edit` or another controller would."""
        query = {"fieldManager": manager} | ({"force": "true"} if how == APPLY else {})
        return await self._call("PATCH", _path(kind, namespace, name, sub), query, change, how)

    async def delete(self, kind: str, namespace: str | None, name: str, orphan: bool = False) -> None:
        """Ask for an object's deletion; it need not be there."""
        policy = "Orphan" if orphan else "Background"
        try:
            await self._call("DELETE", _path(kind, namespace, name), {"propagationPolicy": policy})
        except RefusedError as error:
            if error.code != 404:
                raise

    async def events(self, kind: str, selector: str = "") -> aiohttp.ClientResponse:
        """Watch a kind in all namespaces, from what is there now; each line of the content is an event."""
        query = {"watch": "1", "resourceVersion": "0"} | ({"labelSelector": selector} if selector else {})
        timeout = aiohttp.ClientTimeout(total=None)
        return await self._session.get(self._plane.url + _path(kind, None), params=query, timeout=timeout)

    async def _call(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        body: Object | None = None,
        content: str = "application/json",
    ) -> Object:
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": content}
        async with self._session.request(
            method, self._plane.url + path, params=query, data=data, headers=headers
        ) as response:
            answer = await response.json(content_type=None)
            if response.status >= 400:
                raise RefusedError(response.status, answer.get("message", "") if answer else "")
            return dict(answer)


async def until(wanted: Callable[[], Awaitable[T]], seconds: float, what: str = "") -> T:
    """Ask again and again until the answer is true, and return it; an AssertionError inside means "not yet"."""
    deadline = time.monotonic() + seconds
    pause = 0.02
    while True:
        reason = ""
        try:
            if answer := await wanted():
                return answer
        except AssertionError as error:
            reason = str(error)
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what or wanted} {reason}")
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 0.5)


def condition(obj: Object, type_: str) -> Object:
    """A condition of an object's status, or an empty dict."""
    found: list[Object] = obj.get("status", {}).get("conditions", [])
    return next((item for item in found if item["type"] == type_), {})


def _path(kind: str, namespace: str | None, name: str = "", sub: str = "") -> str:
    api_version, plural = PATHS[kind]
    root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
    spaces = f"/namespaces/{namespace}" if namespace else ""
    return root + spaces + "".join(f"/{part}" for part in (plural, name, sub) if part)
