"""What the operator is measured against: a real API server and real controllers, with pods that only pretend.

kube-controller-manager limits itself to 20 requests a second by default, at which the Deployment controller alone
needs minutes for 1,000 Deployments, whoever made them. The limit is lifted, so that the figures tell of the operator.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp

from bench import audit, machine
from tests.controlplane import ControlPlane
from trimtab.core.objects import API_VERSION
from trimtab.kinds.mlmodel.api import MLModel
from trimtab.kinds.mlmodel.children import import_key

NAMESPACES = 10
MODEL = "credit-risk"
SOURCE = "https://models.example.org/credit-risk.onnx"
DIGEST = "sha256:" + "5e" * 32
CLIENTS = 16
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok")
LIMITS = ("--kube-api-qps=2000", "--kube-api-burst=4000")


class Rig:
    """A control plane with an audit log of the operator's requests."""

    def __init__(self, plane: ControlPlane, log: Path) -> None:
        self.plane = plane
        self.audit = audit.AuditLog(log)
        self.kubeconfig = plane.kubeconfig_for(audit.USER, ["system:masters"])

    @classmethod
    @contextmanager
    def start(cls) -> Iterator[Rig]:
        """The rig with the project's CRDs in it; everything is ended and removed on leaving."""
        with tempfile.TemporaryDirectory(prefix="trimtab-bench-") as folder:
            policy, log = Path(folder) / "policy.yaml", Path(folder) / "audit.log"
            audit.policy(policy)
            flags = {
                "kube-apiserver": [f"--audit-policy-file={policy}", f"--audit-log-path={log}"],
                "kube-controller-manager": LIMITS,
                "kube-scheduler": LIMITS,
            }
            plane = ControlPlane.start(controllers=True, kwok=True, flags=flags)
            try:
                plane.install_crds()
                yield cls(plane, log)
            finally:
                plane.stop()

    async def prepare(self) -> None:
        """Namespaces, each with an MLModel whose one revision is current."""
        async with self._session() as session:
            for number in range(NAMESPACES):
                space = namespace(number)
                await self._post(session, "/api/v1/namespaces", {"metadata": {"name": space}})
                made = await self._post(session, _path(space, "mlmodels"), _model())
                where = _path(space, "mlmodels") + f"/{MODEL}/status"
                await self._call(session, "PATCH", where, {"status": _imported(made)}, "application/merge-patch+json")

    async def load(self, objects: int) -> tuple[float, float]:
        """Create ModelDeployments as fast as possible; when the first was sent and the last one answered."""
        numbers = iter(range(objects))

        async def client(session: aiohttp.ClientSession) -> None:
            for number in numbers:
                await self._post(session, _path(namespace(number), "modeldeployments"), _deployment(number))

        async with self._session() as session:
            started = time.time()
            await asyncio.gather(*(client(session) for _ in range(CLIENTS)))
            return started, time.time()

    async def count(self, resource: str, selector: str = "") -> int:
        """How many objects of a resource (its URL path) there are."""
        async with self._session() as session:
            return len((await self._list(session, resource, selector))["items"])

    async def ready(self) -> int:
        """How many ModelDeployments say Ready=True for their present generation."""
        async with self._session() as session:
            found = await self._list(session, f"/apis/{API_VERSION}/modeldeployments", "")
        return sum(_is_ready(item) for item in found["items"])

    def processor_seconds(self) -> dict[str, float]:
        """Processor time each program of the rig has used so far, this bench among them."""
        used = {name: machine.processor_seconds(self.plane.processes.pid(name)) for name in PROGRAMS}
        return {**used, "this bench": time.process_time()}

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(self.plane.url, connector=aiohttp.TCPConnector(ssl=self.plane.tls(), limit=0))

    async def _list(self, session: aiohttp.ClientSession, resource: str, selector: str) -> dict[str, Any]:
        query = f"?resourceVersion=0&labelSelector={selector}"
        return await self._call(session, "GET", resource + query)

    async def _post(self, session: aiohttp.ClientSession, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return await self._call(session, "POST", path, body)

    async def _call(
        self,
        session: aiohttp.ClientSession,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        content: str = "application/json",
    ) -> dict[str, Any]:
        async with session.request(method, path, json=body, headers={"Content-Type": content}) as response:
            if response.status >= 400:
                raise RuntimeError(f"{method} {path} was answered with {response.status}: {await response.text()}")
            answer: dict[str, Any] = await response.json()
            return answer


def namespace(number: int) -> str:
    """The namespace that the object of that number lives in."""
    return f"bench-{number % NAMESPACES}"


def _path(space: str, plural: str) -> str:
    return f"/apis/{API_VERSION}/namespaces/{space}/{plural}"


def _model() -> dict[str, Any]:
    spec = {"source": {"uri": SOURCE}}
    return {"apiVersion": API_VERSION, "kind": "MLModel", "metadata": {"name": MODEL}, "spec": spec}


def _imported(model: dict[str, Any]) -> dict[str, Any]:
    """The status that a finished import leaves. The bench measures serving; no Job has to run for it."""
    revision = {
        "importKey": import_key(MLModel.parse(model), SOURCE),
        "digest": DIGEST,
        "uri": SOURCE,
        "version": DIGEST[7:19],
        "format": "ONNX",
        "runtime": "onnx",
        "sizeBytes": 1_000_000,
        "importedAt": "2026-01-01T00:00:00Z",
        "approved": True,
    }
    return {"current": DIGEST, "version": revision["version"], "runtime": "onnx", "revisions": [revision]}


def _deployment(number: int) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "ModelDeployment",
        "metadata": {"name": f"scorer-{number:04}"},
        "spec": {"model": {"name": MODEL}, "replicas": 1},
    }


def _is_ready(item: dict[str, Any]) -> bool:
    return any(
        condition["type"] == "Ready"
        and condition["status"] == "True"
        and condition["observedGeneration"] == item["metadata"]["generation"]
        for condition in item.get("status", {}).get("conditions", ())
    )
