"""HTTPRoutes as the Gateway API's own definitions judge them, on a real API server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.controlplane import ControlPlane
from tests.gateway_api import install
from trimtab.core.divergence import contains
from trimtab.core.objects import Object
from trimtab.traffic.gateway import http_route
from trimtab.traffic.state import RouterArm, RouterStatus

GATEWAY = {"name": "public", "namespace": "gateways"}


def routed(namespace: str, count: int) -> RouterStatus:
    """A control and others, with a share each."""
    hosts = [RouterArm(name=f"a{n}", host=f"model-{n}.{namespace}.svc", port=8080, revision="r1") for n in range(count)]
    share = 10_000 // count
    others = [arm.model_copy(update={"reserved": share, "weight": share}) for arm in hosts[1:]]
    return RouterStatus(salt="run-1", control="a0", arms=[hosts[0], *others]).checked()


@pytest.fixture(scope="module")
def standard(plane: ControlPlane) -> ControlPlane:
    """The API server with the standard channel's HTTPRoute."""
    install(plane)
    return plane


def applied(plane: ControlPlane, folder: Path, manifest: Object) -> Any:
    """What the API server makes of a manifest; fields it does not know are errors."""
    path = folder / "route.json"
    path.write_text(json.dumps(manifest))
    return plane.kubectl("apply", "--server-side", "--validate=strict", "-o", "json", "-f", str(path))


@pytest.mark.parametrize("count", [1, 2, 15])
def test_the_standard_takes_each_route_as_it_is(
    standard: ControlPlane, namespace: str, tmp_path: Path, count: int
) -> None:
    owner: Object = {"kind": "ModelDeployment", "metadata": {"name": "choice", "namespace": namespace, "uid": "u1"}}
    manifest = http_route(owner, "choice", [GATEWAY], ["a.example.com"], routed(namespace, count))
    done = applied(standard, tmp_path, manifest)
    assert done.returncode == 0, done.stderr
    stored = json.loads(done.stdout)
    assert contains(stored, manifest), "nothing of it was dropped or changed: it is not applied again and again"
    (rule,) = stored["spec"]["rules"]
    assert (len(rule["backendRefs"]), sum(b["weight"] for b in rule["backendRefs"])) == (count, 10_000)


def test_the_standard_would_refuse_what_it_does_not_know(
    standard: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    owner: Object = {"kind": "ModelDeployment", "metadata": {"name": "choice", "namespace": namespace, "uid": "u1"}}
    manifest = http_route(owner, "choice", [GATEWAY], [], routed(namespace, 2))
    manifest["spec"]["rules"][0]["hash"] = "x-user-id"
    done = applied(standard, tmp_path, manifest)
    assert done.returncode != 0
    assert "hash" in done.stderr
