"""Children that were deleted or edited by hand are as before within five seconds; what others added stays."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.controlplane import ControlPlane
from tests.faultproxy import FaultProxy
from tests.faults import WRITES
from tests.kube import APPLY, MERGE, PATHS, STRATEGIC, Kube, Object, until
from tests.kubelet import imports
from tests.life import AUTOSCALING, CHILDREN, MANAGED, Life, deployment, model
from tests.operators import Nest

log = logging.getLogger(__name__)
REPAIR_SECONDS = 5.0


@dataclass(frozen=True)
class Child:
    """One child, by what it is for."""

    kind: str
    name: str


@dataclass(frozen=True)
class Settled:
    """A namespace in which all is done: a plain deployment, an autoscaled one, and an import that takes long."""

    proxy: FaultProxy
    caller: str
    namespace: str
    children: dict[str, Child]

    def writes(self, child: Child) -> int:
        """How often the operator has written a child."""
        resource = PATHS[child.kind][1]
        return len(self.proxy.calls(verb=WRITES, caller=self.caller, resource=resource, name=child.name))


@pytest.fixture(scope="module")
def settled(cluster: ControlPlane, hatchery: Nest) -> Iterator[Settled]:
    with FaultProxy(cluster) as proxy:
        operator, namespace, children = asyncio.run(_settle(cluster, hatchery, proxy))
        try:
            yield Settled(proxy, operator, namespace, children)
        finally:
            hatchery.clear([o for o in hatchery.operators if o.caller == operator])


async def _settle(cluster: ControlPlane, nest: Nest, proxy: FaultProxy) -> tuple[str, str, dict[str, Child]]:
    async with Kube(cluster) as kube:
        namespace = await kube.fresh_namespace()
        operator = nest.start(proxy, namespace)
        await kube.create(model(namespace))
        await kube.create(deployment(namespace, "plain"))
        await kube.create(deployment(namespace, "scaled", autoscaling=AUTOSCALING))
        async with imports(kube):
            await Life(kube, namespace, "m", "plain").settled(version=1, pods=2)
            await Life(kube, namespace, "m", "scaled").settled(version=1, pods=2, scalers=1)
        await kube.create(model(namespace, "slow"))

        async def importing() -> list[Object]:
            return await kube.list("Pod", namespace, "app.kubernetes.io/component=import")

        await until(importing, 30, "the import's pod")
        return (
            operator.caller,
            namespace,
            {_role(o): Child(o["kind"], o["metadata"]["name"]) for o in await _all(kube, namespace)},
        )


async def _all(kube: Kube, namespace: str) -> list[Object]:
    return [o for kind in CHILDREN for o in await kube.list(kind, namespace, MANAGED)]


def _role(child: Object) -> str:
    owner = child["metadata"]["ownerReferences"][0]["name"]
    headless = child["kind"] == "Service" and child["spec"].get("clusterIP") == "None"
    return f"{owner} {'headless' if headless else ''}{child['kind']}"


def test_every_kind_of_child_is_there(settled: Settled) -> None:
    assert {child.kind for child in settled.children.values()} == set(CHILDREN)
    assert len(settled.children) == 5 + 6 + 1


ROLES = [
    f"{owner} {kind}"
    for owner in ("plain", "scaled")
    for kind in ("Deployment", "Service", "headlessService", "PodDisruptionBudget", "NetworkPolicy")
] + ["scaled HorizontalPodAutoscaler", "slow Job"]


@pytest.mark.parametrize("role", ROLES)
async def test_a_deleted_child_is_made_again(settled: Settled, kube: Kube, role: str) -> None:
    child = settled.children[role]
    before = await _look(kube, settled, child)
    started = time.monotonic()
    await kube.delete(child.kind, settled.namespace, child.name)

    async def back() -> bool:
        now = await kube.get(child.kind, settled.namespace, child.name)
        return now is not None and now["metadata"]["uid"] != before["metadata"]["uid"] and _shape(now) == _shape(before)

    await until(back, REPAIR_SECONDS, f"{child} made again")
    log.info("deleted %s: made again after %.2f s", child, time.monotonic() - started)


PORT_22 = {"port": 22, "protocol": "TCP"}
SPREAD = {
    "maxSkew": 5,
    "topologyKey": "example.com/rack",
    "whenUnsatisfiable": "ScheduleAnyway",
    "labelSelector": {"matchLabels": {"a": "b"}},
}
EDITS: dict[str, tuple[str, Object]] = {
    "scaled by hand": ("plain Deployment", {"spec": {"replicas": 7}}),
    "another image": ("plain Deployment", {"server": {"image": "registry.example.com/other:1"}}),
    "another digest": ("plain Deployment", {"server": {"env": [{"name": "TRIMTAB_DIGEST", "value": "other"}]}}),
    "no probe": ("plain Deployment", {"server": {"readinessProbe": None}}),
    "privileges": ("plain Deployment", {"server": {"securityContext": {"allowPrivilegeEscalation": True}}}),
    "another strategy": ("plain Deployment", {"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}}}),
    "no hash": ("plain Deployment", {"metadata": {"annotations": {"trimtab.dev/desired-hash": None}}}),
    "traffic elsewhere": ("plain Service", {"spec": {"selector": {"trimtab.dev/revision": "other"}}}),
    "traffic to nobody": ("plain Service", {"spec": {"selector": {"nobody": "home"}}}),
    "a node port": ("plain Service", {"spec": {"type": "NodePort"}}),
    "another target port": ("plain Service", {"spec": {"ports": [{"port": 80, "targetPort": 9}]}}),
    "another port": (
        "plain Service",
        {"merge": {"spec": {"ports": [{"name": "http", "port": 81, "targetPort": 8080}]}}},
    ),
    "names of nobody": ("plain headlessService", {"spec": {"selector": {"nobody": "home"}}}),
    "more pods": ("scaled HorizontalPodAutoscaler", {"spec": {"maxReplicas": 50}}),
    "one more metric": (
        "scaled HorizontalPodAutoscaler",
        {
            "spec": {
                "metrics": [
                    {
                        "type": "Resource",
                        "resource": {"name": n, "target": {"type": "Utilization", "averageUtilization": 70}},
                    }
                    for n in ("cpu", "memory")
                ]
            }
        },
    ),
    "more disruption": ("plain PodDisruptionBudget", {"spec": {"maxUnavailable": 2}}),
    "the other half of the budget": (
        "plain PodDisruptionBudget",
        {"spec": {"maxUnavailable": None, "minAvailable": 0}},
    ),
    "a budget for nobody": ("plain PodDisruptionBudget", {"spec": {"selector": {"matchLabels": {"nobody": "home"}}}}),
    "one more open port": (
        "plain NetworkPolicy",
        {"spec": {"ingress": [{"ports": [{"port": 8080, "protocol": "TCP"}, PORT_22]}]}},
    ),
    "all ports open": ("plain NetworkPolicy", {"spec": {"ingress": [{}]}}),
    "a policy for nobody": ("plain NetworkPolicy", {"spec": {"podSelector": {"matchLabels": {"nobody": "home"}}}}),
    "no rules for what goes out": ("plain NetworkPolicy", {"spec": {"policyTypes": ["Ingress"], "egress": None}}),
    "less time": ("slow Job", {"spec": {"activeDeadlineSeconds": 10_000}}),
    "more tries": ("slow Job", {"spec": {"backoffLimit": 99}}),
}
EVERY_KIND: dict[str, Object] = {
    "another label": {"metadata": {"labels": {"app.kubernetes.io/component": "other"}}},
    "no label that the operator finds it by": {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}},
    "no owner": {"metadata": {"ownerReferences": None}},
}
for role in (*(r for r in ROLES if r.startswith("plain")), "scaled HorizontalPodAutoscaler", "slow Job"):
    EDITS |= {f"{what} of {role}": (role, edit) for what, edit in EVERY_KIND.items()}


@pytest.mark.parametrize("what", EDITS)
async def test_an_edited_child_is_mended(settled: Settled, kube: Kube, what: str) -> None:
    role, change = EDITS[what]
    child = settled.children[role]
    before = await _look(kube, settled, child)
    started = time.monotonic()
    await _edit(kube, settled, child, change)
    await _mended(kube, settled, child, before)
    log.info("%s: mended after %.2f s", what, time.monotonic() - started)


ADDED: dict[str, tuple[str, Object]] = {
    "environment": ("plain Deployment", {"server": {"env": [{"name": "PROXY", "value": "http://proxy"}]}}),
    "container": ("plain Deployment", {"pod": {"containers": [{"name": "sidecar", "image": "mesh:1"}]}}),
    "rule of spreading": ("plain Deployment", {"pod": {"topologySpreadConstraints": [SPREAD]}}),
    "restart by hand": ("plain Deployment", {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}),
    "port": ("plain Service", {"spec": {"ports": [{"name": "grpc", "port": 9000, "protocol": "TCP"}]}}),
    "affinity of sessions": ("plain Service", {"spec": {"sessionAffinity": "ClientIP"}}),
    "behaviour": (
        "scaled HorizontalPodAutoscaler",
        {"spec": {"behavior": {"scaleDown": {"selectPolicy": "Disabled"}}}},
    ),
    "suspension": ("slow Job", {"spec": {"suspend": True}}),
}
for role in (*(r for r in ROLES if r.startswith("plain")), "scaled HorizontalPodAutoscaler", "slow Job"):
    note = {"metadata": {"labels": {"team": "blue"}, "annotations": {"example.com/cost": "7"}}}
    ADDED[f"label and annotation of {role}"] = (role, note)


@pytest.mark.parametrize("what", ADDED)
async def test_what_others_add_stays(settled: Settled, kube: Kube, what: str) -> None:
    role, change = ADDED[what]
    child = settled.children[role]
    added = await _edit(kube, settled, child, change, how=APPLY)
    held = _shape(added)
    writes = settled.writes(child)
    # A wrong label on top of it is mended in one write, which shows that the operator looked, and changed nothing else.
    await _edit(kube, settled, child, {"metadata": {"labels": {"app.kubernetes.io/part-of": "other"}}})
    after = await _mended(kube, settled, child, added)
    assert _shape(after) == held

    async def recorded() -> bool:  # the proxy notes a call when its answer has gone out, which may be after we saw it
        return settled.writes(child) > writes

    await until(recorded, REPAIR_SECONDS, f"the write to {child}")
    assert settled.writes(child) == writes + 1


async def _edit(kube: Kube, settled: Settled, child: Child, change: Object, how: str = STRATEGIC) -> Object:
    if "merge" in change:
        change, how = change["merge"], MERGE
    change = _spelt_out(change)
    if how == APPLY:
        change = {"apiVersion": PATHS[child.kind][0], "kind": child.kind, **change}
    return await kube.patch(child.kind, settled.namespace, child.name, change, how=how)


def _spelt_out(change: Object) -> Object:
    """The short forms used above."""
    if "server" in change:
        change = {"pod": {"containers": [{"name": "server", **change["server"]}]}}
    if "pod" in change:
        change = {"spec": {"template": {"spec": change["pod"]}}}
    if "annotations" in change:
        change = {"spec": {"template": {"metadata": change}}}
    return change


async def _mended(kube: Kube, settled: Settled, child: Child, before: Object) -> Object:
    async def same() -> Object:
        now = await _look(kube, settled, child)
        assert _shape(now) == _shape(before)
        return now

    return await until(same, REPAIR_SECONDS, f"{child} mended")


async def _look(kube: Kube, settled: Settled, child: Child) -> Object:
    found = await kube.get(child.kind, settled.namespace, child.name)
    assert found is not None, f"{child} is not there"
    return found


def _shape(child: Object) -> Any:
    """What the operator or anybody else wants of a child; not what controllers say of it."""
    meta, spec = child["metadata"], child["spec"]
    notes = {k: v for k, v in meta["annotations"].items() if not k.startswith("deployment.kubernetes.io/")}
    if child["kind"] == "Service":
        spec = {k: v for k, v in spec.items() if k not in ("clusterIP", "clusterIPs")}
    if child["kind"] == "Job":
        spec = {k: v for k, v in spec.items() if k != "selector"}
        labels = {k: v for k, v in spec["template"]["metadata"]["labels"].items() if "controller-uid" not in k}
        spec = {**spec, "template": {**spec["template"], "metadata": {"labels": labels}}}
    return {"labels": meta["labels"], "annotations": notes, "owners": meta.get("ownerReferences"), "spec": spec}
