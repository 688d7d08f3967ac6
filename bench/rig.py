"""What the operator is measured against: a real API server and real controllers, with pods that only pretend.

kube-controller-manager limits itself to 20 requests a second by default, at which the Deployment controller alone
needs minutes for 1,000 Deployments, whoever made them. The limit is lifted, so that the figures tell of the operator.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import audit, machine, objects
from bench.client import Client
from tests.controlplane import ControlPlane
from trimtab.core.objects import Resource
from trimtab.kinds import MLMODEL

NAMESPACE = Resource("v1", "Namespace", "namespaces")
CLIENTS = 16
CALM_SECONDS = 60
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
        """Namespaces, each with an MLModel whose one revision is current; then wait until the rig has digested it."""
        async with Client.connect(self.plane) as client:
            for number in range(objects.NAMESPACES):
                await client.create(NAMESPACE, {"metadata": {"name": objects.namespace(number)}})
                made = await client.create(MLMODEL.resource, objects.model(number))
                await client.patch_status(MLMODEL.resource, made, objects.imported(made))
        for _ in range(CALM_SECONDS):
            before = sum(self.processor_seconds().values())
            await asyncio.sleep(1)
            if sum(self.processor_seconds().values()) - before < 0.15:
                return

    async def in_parallel(
        self, count: int, work: Callable[[Client, int], Coroutine[Any, Any, None]]
    ) -> tuple[float, float]:
        """Do something for each number below `count`, as fast as the API server takes it; when it began and ended."""
        numbers = iter(range(count))

        async def one(client: Client) -> None:
            for number in numbers:
                await work(client, number)

        async with Client.connect(self.plane) as client:
            started = time.time()
            await asyncio.gather(*(one(client) for _ in range(CLIENTS)))
            return started, time.time()

    async def list(self, resource: Resource, selector: str = "") -> list[dict[str, Any]]:
        """All objects of a resource, as a stranger to the operator sees them."""
        async with Client.connect(self.plane) as client:
            return await client.list(resource, selector)

    def processor_seconds(self) -> dict[str, float]:
        """Processor time each program of the rig has used so far, this bench among them."""
        used = {name: machine.processor_seconds(self.plane.processes.pid(name)) for name in PROGRAMS}
        return {**used, "this bench": time.process_time()}
