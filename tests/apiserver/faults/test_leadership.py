"""Two replicas: one writes. The other takes over from one that died, slept, lost its Lease or was asked to go."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from typing import NamedTuple

import pytest

from tests.faultproxy import FaultProxy
from tests.faults import WRITES, Call
from tests.kube import Kube, until
from tests.kubelet import imports
from tests.life import Life
from tests.operators import Nest, Operator

log = logging.getLogger(__name__)
LEASE = "trimtab-operator"
HANDOVER_SECONDS = 20.0


class Arrival(NamedTuple):
    """A write as it reached the proxy, on this machine's monotonic clock."""

    at: float
    call: Call


class Pair:
    """A leader and a follower in one namespace, with the Lease's real times, and what they write."""

    def __init__(self, nest: Nest, proxy: FaultProxy, kube: Kube, namespace: str) -> None:
        self.kube, self.namespace = kube, namespace
        self._nest, self._proxy = nest, proxy
        self.arrivals: list[Arrival] = []

    async def start(self) -> None:
        """Start the one that will lead, then the other."""
        self._proxy.before.append(self._see)
        self.leader = self._nest.start(self._proxy, self.namespace, caller=self._nest.caller("leader"))
        await self.leader.said('"leading"')
        self.follower = self._nest.start(self._proxy, self.namespace, caller=self._nest.caller("follower"))
        await until(self._follows, 30, "the follower looks at the lease")

    async def taken_over(self, since: float) -> float:
        """Wait until the follower writes; the seconds from `since` to its first write."""

        async def writes() -> list[Arrival]:
            return self.writes_of(self.follower)

        return (await until(writes, HANDOVER_SECONDS + 10, "the follower's first write"))[0].at - since

    def writes_of(self, operator: Operator) -> list[Arrival]:
        """All writes of a replica, but for those that concern leadership itself."""
        return [a for a in self.arrivals if a.call.caller == operator.caller and a.call.resource != "leases"]

    def assert_one_writer(self) -> None:
        """The leader's last write came before the follower's first."""
        assert self.writes_of(self.leader)[-1].at < self.writes_of(self.follower)[0].at

    async def _follows(self) -> bool:
        return bool(self._proxy.calls(caller=self.follower.caller, resource="leases", verb="get"))

    def _see(self, call: Call) -> None:
        if call.namespace == self.namespace and call.verb in WRITES:
            self.arrivals.append(Arrival(time.monotonic(), call))


@pytest.fixture
async def pair(nest: Nest, proxy: FaultProxy, kube: Kube, namespace: str) -> Pair:
    made = Pair(nest, proxy, kube, namespace)
    await made.start()
    return made


@pytest.mark.usefixtures("quiet")
async def test_follower_takes_over_from_a_dead_and_from_a_sleeping_leader(
    nest: Nest, proxy: FaultProxy, kube: Kube
) -> None:
    async with imports(kube):
        pairs = [Pair(nest, proxy, kube, await kube.fresh_namespace()) for _ in range(2)]
        await asyncio.gather(*(pair.start() for pair in pairs))
        await asyncio.gather(_lose(proxy, pairs[0], signal.SIGKILL), _lose(proxy, pairs[1], signal.SIGSTOP))


async def _lose(proxy: FaultProxy, pair: Pair, how: signal.Signals) -> None:
    """The leader is struck in the middle of a life; the follower ends it, and the leader never writes again."""
    struck = _strike(proxy, pair, how, "networkpolicies")
    left = asyncio.create_task(Life(pair.kube, pair.namespace).create())
    seconds = await pair.taken_over(since=await struck)
    assert seconds <= HANDOVER_SECONDS
    log.info("%s of the leader: the follower's first write came %.1f s later", how.name, seconds)
    await left
    if how == signal.SIGSTOP:
        pair.leader.send(signal.SIGCONT)
        assert await pair.leader.ended() == 3
    pair.assert_one_writer()
    assert pair.follower.exit_code is None


async def _strike(proxy: FaultProxy, pair: Pair, how: signal.Signals, resource: str) -> float:
    """Send the leader a signal when it has written a certain resource and does not know yet; when that was."""
    struck: list[float] = []

    def after(call: Call, _: int) -> None:
        if not struck and call.caller == pair.leader.caller and call.resource == resource and call.verb in WRITES:
            pair.leader.send(how)
            struck.append(time.monotonic())

    proxy.after.append(after)

    async def done() -> list[float]:
        return struck

    return (await until(done, 60, f"{resource} written"))[0]


async def test_a_leader_that_is_asked_to_go_hands_over_at_once(pair: Pair) -> None:
    async with imports(pair.kube):
        life = Life(pair.kube, pair.namespace)
        await life.create()
        asked = time.monotonic()
        pair.leader.send(signal.SIGTERM)
        scaled = asyncio.create_task(life.scale(3, version=1))
        seconds = await pair.taken_over(since=asked)
        assert await pair.leader.ended() == 0
        gone = time.monotonic() - asked
        await scaled
    log.info("SIGTERM: the follower's first write came %.1f s later, the leader was gone after %.1f s", seconds, gone)
    assert seconds < 5
    assert gone < 5
    pair.assert_one_writer()


async def test_a_leader_whose_lease_was_taken_stops(pair: Pair) -> None:
    spec = {"holderIdentity": "thief", "leaseDurationSeconds": 15}
    await pair.kube.patch("Lease", pair.namespace, LEASE, {"spec": spec})
    assert await pair.leader.ended(5) == 3
    await Life(pair.kube, pair.namespace).begin()
    assert pair.writes_of(pair.leader) == []
    assert pair.follower.exit_code is None


async def test_a_lone_replica_is_its_own_successor(nest: Nest, proxy: FaultProxy, kube: Kube, namespace: str) -> None:
    """A container that restarts in place after a clean stop does not wait for its own lease."""
    first = nest.start(proxy, namespace)
    await first.said('"leading"')
    assert await first.stop() == 0
    second = nest.start(proxy, namespace)
    await second.said('"leading"', 5)
