"""The Gateway API's own definitions on a control plane, and somebody who plays its implementation."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

from tests.controlplane import ControlPlane
from tests.kube import Kube, Object, RefusedError

MODULE = Path(__file__).parent / "apiserver" / "gateway"


def install(plane: ControlPlane) -> None:
    """The standard channel's HTTPRoute, as its makers publish it."""
    done = subprocess.run(
        ["go", "mod", "download", "-json", "sigs.k8s.io/gateway-api"],
        cwd=MODULE,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    crd = Path(json.loads(done.stdout)["Dir"]) / "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml"
    plane.define(crd)


@contextlib.asynccontextmanager
async def implementation(kube: Kube, namespace: str) -> AsyncIterator[list[list[int]]]:
    """Accept all routes of a namespace while the context lasts; the weights that were accepted, in their order."""
    weights: list[list[int]] = []
    task = asyncio.create_task(_accept_all(kube, namespace, weights))
    try:
        yield weights
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _accept_all(kube: Kube, namespace: str, weights: list[list[int]]) -> None:
    while True:
        for route in await kube.list("HTTPRoute", namespace):
            if route.get("status") != (said := _said(route)):
                told = [backend["weight"] for backend in route["spec"]["rules"][0]["backendRefs"]]
                weights += [told] if weights[-1:] != [told] else []
                with contextlib.suppress(RefusedError):  # it may be gone by now
                    await kube.patch("HTTPRoute", namespace, route["metadata"]["name"], {"status": said}, sub="status")
        await asyncio.sleep(0.1)


def _said(route: Object) -> Object:
    common = {
        "status": "True",
        "message": "",
        "observedGeneration": route["metadata"]["generation"],
        "lastTransitionTime": route["metadata"]["creationTimestamp"],
    }
    conditions = [{"type": name, "reason": name, **common} for name in ("Accepted", "ResolvedRefs")]
    controller = "example.com/gateway"
    parents = route["spec"]["parentRefs"]
    return {"parents": [{"parentRef": p, "controllerName": controller, "conditions": conditions} for p in parents]}
