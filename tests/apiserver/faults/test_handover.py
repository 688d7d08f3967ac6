"""The leader dies in the middle of a canary's step and of an experiment; the follower goes on where it was.

The API server, the Lease and both operators are real; routers' pods answer as Envoy would. Same slots, same end, and
each request is counted once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.faultproxy import FaultProxy
from tests.kube import Kube, Object, condition, until
from tests.kubelet import imports
from tests.life import deployment, model, uri
from tests.operators import Nest, Operator
from tests.routed_pods import World
from trimtab.evidence.ledger import LedgerStatus, restore
from trimtab.traffic.slots import assign

LEASE = {
    "TRIMTAB_LEASE_DURATION_SECONDS": "6",
    "TRIMTAB_LEASE_RENEW_SECONDS": "5",
    "TRIMTAB_LEASE_RETRY_SECONDS": "0.5",
}
USERS = [f"user-{number}" for number in range(500)]
ROLLOUT: dict[str, Any] = {
    "strategy": "Canary",
    "steps": [{"weight": 20, "seconds": 6}, {"weight": 60, "seconds": 2}],
    "gates": {"minRequests": 100},
    "bakeSeconds": 10,
}
TEST: Object = {
    "arms": [{"name": "a", "deployment": "da", "weight": 50}, {"name": "b", "deployment": "db", "weight": 50}],
    "control": "a",
    "objective": {"metric": "Errors"},
}


@asynccontextmanager
async def pair(nest: Nest, proxy: FaultProxy, namespace: str) -> AsyncIterator[tuple[Operator, Operator]]:
    """One that leads, and one that is ready to."""
    leader = nest.start(proxy, namespace, caller=nest.caller("leader"), settings=LEASE)
    await leader.said('"leading"')
    follower = nest.start(proxy, namespace, caller=nest.caller("follower"), settings=LEASE)

    async def looks() -> bool:
        return bool(proxy.calls(caller=follower.caller, resource="leases", verb="get"))

    await until(looks, 60, "the follower looks at the lease")
    yield leader, follower


async def test_an_experiment_goes_on_and_counts_each_request_once(
    nest: Nest, proxy: FaultProxy, kube: Kube, namespace: str
) -> None:
    world = World(kube, "ABTest", namespace, "exp")
    async with imports(kube), world.alive(), pair(nest, proxy, namespace) as (leader, follower):
        await kube.create(model(namespace))
        for name in ("da", "db"):
            await kube.create(deployment(namespace, name))
        meta = {"name": "exp", "namespace": namespace}
        await kube.create({"apiVersion": "trimtab.dev/v1alpha1", "kind": "ABTest", "metadata": meta, "spec": TEST})
        await until(lambda: _has(world, "TrafficApplied", "True"), 120, "the routers confirm the shares")
        world.requests_a_tick = 100
        await until(lambda: _counted(world, 1), 60, "something was counted and written")
        written, slots = sum(_ledger(world).values()), _slots(world)
        await until(lambda: _asked(world, written + 2_000), 30, "more was counted than is written")
        leader.kill()
        await follower.said('"leading"')
        assert _slots(world) == slots
        world.requests_a_tick = 0
        asked, looks = dict(world.total()), dict(world.looks)
        await until(lambda: _looked(world, looks), 60, "the follower has seen all of it")
        await kube.patch("ABTest", namespace, "exp", {"metadata": {"annotations": {"trimtab.dev/promote": "b"}}})
        await until(lambda: _has(world, "Concluded", "True"), 30, "a person decides")
        assert _ledger(world) == asked, "whoever leads, nothing is counted twice"


async def test_a_canary_goes_on_with_the_step_it_was_at(
    nest: Nest, proxy: FaultProxy, kube: Kube, namespace: str
) -> None:
    world = World(kube, "ModelDeployment", namespace, "d")
    async with imports(kube), world.alive(), pair(nest, proxy, namespace) as (leader, follower):
        await kube.create(model(namespace))
        await kube.create(deployment(namespace, rollout=ROLLOUT))
        await until(lambda: _has(world, "Ready", "True"), 120, "the first version serves")
        world.requests_a_tick = 100
        await kube.patch("MLModel", namespace, "m", {"spec": {"source": {"uri": uri("m", 2)}}})
        await until(lambda: _stepping(world), 120, "the first step has counted something")
        begun, slots = world.status["rollout"]["startedAt"], _slots(world)
        leader.kill()
        await follower.said('"leading"')
        assert (world.status["rollout"]["startedAt"], _slots(world)) == (begun, slots)
        await until(lambda: _promoted(world), 120, "the second version is promoted")
        assert [(row["outcome"], row["startedAt"]) for row in world.status["history"]] == [("Promoted", begun)]
        candidate = f"r{world.status['serving']}"
        shares = [told.weights().get(candidate, 0) // 100 for told in world.path]
        assert shares == sorted(shares), "it never lost what it had"
        assert set(shares) == {0, 20, 60, 100}
        (errors,) = [row for row in world.status["rollout"]["compared"] if row["metric"] == "Errors"]
        assert 100 < errors["candidateRequests"] <= world.total()[candidate]


async def _has(world: World, type_: str, status: str) -> bool:
    return condition(world.obj, type_).get("status") == status


async def _counted(world: World, requests: int) -> bool:
    assert sum(_ledger(world).values()) >= requests, (_ledger(world), world.total())
    return True


async def _looked(world: World, before: dict[str, int]) -> bool:
    """The second look at each router since then began when the first had ended."""
    return all(world.looks[address] >= looks + 2 for address, looks in before.items())


async def _asked(world: World, requests: int) -> bool:
    return sum(world.total().values()) >= requests


async def _stepping(world: World) -> bool:
    record = world.status.get("rollout", {})
    counted = [row["candidateRequests"] for row in record.get("compared", ())]
    return record.get("step") == 1 and bool(record.get("clockAt")) and max(counted, default=0) > 0


async def _promoted(world: World) -> bool:
    assert world.status.get("rollout", {}).get("outcome") == "Promoted", world.status.get("rollout")
    return True


def _ledger(world: World) -> dict[str, int]:
    """The requests that were counted, by arm, over all segments."""
    ledger = world.status.get("ledger")
    found: dict[str, int] = {}
    for segment in restore(LedgerStatus.model_validate(ledger)).segments if ledger else ():
        for arm, tally in segment.tallies.items():
            found[arm] = found.get(arm, 0) + int(tally.requests)
    return found


def _slots(world: World) -> list[str]:
    """Whose each user is."""
    assert world.told is not None
    return [assign(world.told, user) for user in USERS]
