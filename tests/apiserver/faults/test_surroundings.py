"""What happens around the operator: quotas, names taken by others, namespaces and definitions that go."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.controlplane import ControlPlane
from tests.faultproxy import FaultProxy
from tests.faults import WRITES, Call
from tests.kube import Kube, Object, RefusedError, condition, until
from tests.kubelet import digest_of, imports
from tests.life import CHILDREN, MANAGED, Life, deployment, model, uri
from tests.operators import Nest, Operator

log = logging.getLogger(__name__)
MANY = 100


async def verdict(kube: Kube, namespace: str, reason: str, kind: str = "ModelDeployment", name: str = "d") -> Object:
    """Wait until `Ready` has this reason; the condition."""

    async def check() -> Object | None:
        obj = await kube.get(kind, namespace, name)
        found = condition(obj or {}, "Ready")
        assert found.get("reason") == reason, found
        return found

    answer = await until(check, 30, f"{kind} {name} says {reason}")
    assert answer is not None
    return answer


QUOTAS = {
    "services": ({"count/services": "0"}, {"count/services": "5"}),
    "pods": ({"pods": "1"}, {"pods": "9"}),
    "deployments": ({"count/deployments.apps": "0"}, {"count/deployments.apps": "5"}),
    "jobs": ({"count/jobs.batch": "0"}, {"count/jobs.batch": "5"}),
}

NO_SECRETS = {"count/secrets": "0"}


async def test_a_quota_that_is_full_is_named_and_waited_for(nest: Nest, proxy: FaultProxy, kube: Kube) -> None:
    async with imports(kube):
        await asyncio.gather(*(_outgrow(nest, proxy, kube, what) for what in QUOTAS))


async def _outgrow(nest: Nest, proxy: FaultProxy, kube: Kube, what: str) -> None:
    namespace = await kube.fresh_namespace()
    little, enough = QUOTAS[what]
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q", "namespace": namespace}}
    await kube.create({**quota, "spec": {"hard": {**little, **NO_SECRETS}}})
    await until(lambda: _enforced(kube, namespace), 30, "the quota is enforced")
    operator = nest.start(proxy, namespace)
    life = Life(kube, namespace)
    await life.begin()
    kind, name = ("MLModel", "m") if what == "jobs" else ("ModelDeployment", "d")
    said = await verdict(kube, namespace, "QuotaExceeded", kind, name)
    assert said["status"] == "False"
    assert "exceeded quota: q" in said["message"], said
    await kube.patch("ResourceQuota", namespace, "q", {"spec": {"hard": enough}})
    await life.settled(version=1, pods=2)
    operator.kill()


async def _enforced(kube: Kube, namespace: str) -> bool:
    """Whether the API server refuses by the quota: it learns of one a while after the quota's own status is written."""
    probe = {"apiVersion": "v1", "kind": "Secret", "metadata": {"generateName": "probe-", "namespace": namespace}}
    try:
        await kube.create(probe)
    except RefusedError as error:
        return "exceeded quota: q" in str(error)
    return False


FOREIGN: dict[str, Object] = {
    "with pods of its own": {"selector": {"app": "theirs"}, "ports": [{"port": 5432}]},
    "on our port": {"ports": [{"name": "http", "port": 80, "targetPort": 9000}], "selector": {"app": "theirs"}},
    "elsewhere": {"type": "ExternalName", "externalName": "db.example.com"},
    "without pods": {"ports": [{"name": "postgres", "port": 5432}]},
}


async def test_a_name_that_is_taken_is_left_to_its_owner(
    nest: Nest, proxy: FaultProxy, kube: Kube, namespace: str
) -> None:
    operator = nest.start(proxy, namespace)
    async with imports(kube):
        await kube.create(model(namespace))
        await asyncio.gather(*(_taken(kube, namespace, f"d{n}", FOREIGN[what]) for n, what in enumerate(FOREIGN)))
    assert operator.exit_code is None


async def _taken(kube: Kube, namespace: str, name: str, spec: Object) -> None:
    foreign = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace}, "spec": spec}
    theirs = await kube.create(foreign)
    await kube.create(deployment(namespace, name))
    said = await verdict(kube, namespace, "NameTaken", name=name)
    assert said["status"] == "False"
    assert f"there already is a Service {name} that does not belong to this resource" in said["message"]
    assert "delete it or choose another name" in said["message"]
    assert await kube.get("Service", namespace, name) == theirs
    await kube.delete("Service", namespace, name)
    await Life(kube, namespace, "m", name).settled(version=1, pods=2)


async def test_a_namesake_born_at_once_gets_children_of_its_own(
    nest: Nest, proxy: FaultProxy, kube: Kube, namespace: str
) -> None:
    """The garbage collector is still busy with the children of the first when the second wants the same names."""
    nest.start(proxy, namespace)
    life = Life(kube, namespace)
    async with imports(kube):
        await life.create()
        old = {await _uid(kube, namespace, kind) for kind in ("MLModel", "ModelDeployment")}
        await kube.delete("ModelDeployment", namespace, "d")
        await kube.delete("MLModel", namespace, "m")
        await life.create()
    new = {await _uid(kube, namespace, kind) for kind in ("MLModel", "ModelDeployment")}
    assert not old & new
    owners = {
        o["metadata"]["ownerReferences"][0]["uid"] for k in CHILDREN for o in await kube.list(k, namespace, MANAGED)
    }
    assert owners <= new
    reasons = {event["reason"] for event in await kube.list("Event", namespace) if event.get("type") == "Warning"}
    assert "NameTaken" not in reasons, "nobody is told to delete anything"


async def test_a_model_born_again_during_its_import_is_imported(
    nest: Nest, proxy: FaultProxy, kube: Kube, namespace: str
) -> None:
    nest.start(proxy, namespace)
    await kube.create(model(namespace))

    async def job() -> str:
        found = await kube.list("Job", namespace)
        return str(found[0]["metadata"]["uid"]) if found else ""

    first = await until(job, 20, "the import's Job")
    await kube.delete("MLModel", namespace, "m")
    await kube.create(model(namespace))

    async def another() -> bool:
        return await job() not in ("", first)

    await until(another, 30, "another Job")
    async with imports(kube):
        await verdict(kube, namespace, "Reconciled", "MLModel", "m")
    obj = await kube.get("MLModel", namespace, "m")
    assert obj is not None
    assert obj["status"]["current"] == digest_of(uri("m", 1))


async def _uid(kube: Kube, namespace: str, kind: str) -> str:
    (found,) = await kube.list(kind, namespace)
    return str(found["metadata"]["uid"])


async def test_a_namespace_that_is_deleted_meanwhile_goes(nest: Nest, proxy: FaultProxy, kube: Kube) -> None:
    doomed, spared = await kube.fresh_namespace(), await kube.fresh_namespace()
    operator = nest.start(proxy, spared, settings={"TRIMTAB_WATCH_NAMESPACES": f"{doomed},{spared}"})
    await operator.said('"leading"')
    written = asyncio.Event()
    loop = asyncio.get_running_loop()

    def after(call: Call, _: int) -> None:
        if call.namespace == doomed and call.verb in WRITES and call.resource == "services":
            loop.call_soon_threadsafe(written.set)

    proxy.after.append(after)
    async with imports(kube):
        await kube.create(model(doomed))
        for n in range(10):
            await kube.create(deployment(doomed, f"d{n}"))
        await asyncio.wait_for(written.wait(), 30)
        await kube.delete("Namespace", None, doomed)

        async def gone() -> bool:
            return await kube.get("Namespace", None, doomed) is None

        await until(gone, 90, f"the namespace {doomed} is gone")
        life = Life(kube, spared)
        await life.create()

        async def forgotten() -> bool:
            return await operator.metric("trimtab_store_objects", kind="ModelDeployment") == 1

        await until(forgotten, 10, "the operator knows that they are gone")
        last = len(proxy.calls(namespace=doomed, verb=WRITES))
        await life.scale(3, version=1)
        assert len(proxy.calls(namespace=doomed, verb=WRITES)) == last, "it still writes where nothing is"
    assert operator.exit_code is None


async def test_a_hundred_at_once(nest: Nest, proxy: FaultProxy, kube: Kube, namespace: str) -> None:
    operator = nest.start(proxy, namespace)
    async with imports(kube):
        await kube.create(model(namespace))
        await verdict(kube, namespace, "Reconciled", "MLModel", "m")
        started = time.monotonic()
        await asyncio.gather(*(kube.create(deployment(namespace, f"d{n}", replicas=1)) for n in range(MANY)))

        async def ready() -> bool:
            found = await kube.list("ModelDeployment", namespace)
            return [condition(obj, "Ready").get("status") for obj in found] == ["True"] * MANY

        await until(ready, 120, "a hundred deployments are ready")
        log.info("%d deployments at once were ready after %.1f s", MANY, time.monotonic() - started)
    counts = {kind: len(await kube.list(kind, namespace, MANAGED)) for kind in CHILDREN}
    assert counts == {
        "Deployment": MANY,
        "Service": 2 * MANY,
        "HorizontalPodAutoscaler": 0,
        "PodDisruptionBudget": MANY,
        "NetworkPolicy": MANY,
        "Job": 0,
    }
    assert operator.exit_code is None


@pytest.fixture
def own_plane() -> Iterator[ControlPlane]:
    """A plane whose definitions may go: nothing else lives there."""
    plane = ControlPlane.start()
    try:
        plane.install_crds()
        yield plane
    finally:
        plane.stop()


@pytest.fixture
async def own_kube(own_plane: ControlPlane) -> AsyncIterator[Kube]:
    async with Kube(own_plane) as client:
        yield client


async def test_definitions_that_go_and_come_back(hatchery: Nest, own_plane: ControlPlane, own_kube: Kube) -> None:
    """The operator may end when its definitions go, as the kubelet starts it again; it must not need a hand."""
    namespace = await own_kube.fresh_namespace()
    with FaultProxy(own_plane) as proxy:
        lives: list[Operator] = [hatchery.start(proxy, namespace)]

        async def restarted() -> None:
            while True:
                if lives[-1].exit_code is not None:
                    lives.append(hatchery.start(proxy, namespace))
                await asyncio.sleep(0.2)

        kubelet = asyncio.create_task(restarted())
        try:
            await own_kube.create(model(namespace))
            await verdict(own_kube, namespace, "Importing", "MLModel", "m")
            for plural in ("mlmodels", "modeldeployments"):
                await own_kube.delete("CustomResourceDefinition", None, f"{plural}.trimtab.dev")

            async def waits() -> bool:
                return "is the chart installed?" in lives[-1].log

            await until(waits, 60, "the operator says what is missing")
            own_plane.install_crds()

            async def served() -> bool:
                try:
                    return bool(await own_kube.create(model(namespace, "again")))
                except RefusedError:
                    return False

            await until(served, 30, "the definitions are served again")
            await verdict(own_kube, namespace, "Importing", "MLModel", "again")
        finally:
            kubelet.cancel()
            hatchery.clear(lives)
