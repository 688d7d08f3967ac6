"""Leadership under any weather: slow answers, errors, deaths; and never two at once."""

from __future__ import annotations

import asyncio
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.memory_cluster import MemoryCluster
from tests.virtual_time import VirtualLoop, clock
from trimtab.core.objects import Object, Resource
from trimtab.runtime.cluster import ApiError
from trimtab.runtime.leader import Elector, Timing

TIMING = Timing(duration=15, renew=10, retry=2)


class Weather(MemoryCluster):
    """An API server that takes its time before and after it acts, and sometimes fails or only seems to."""

    def __init__(self, dice: random.Random, trouble: float) -> None:
        super().__init__()
        self.dice = dice
        self.trouble = trouble

    async def _wait(self) -> None:
        rough = self.dice.random() < self.trouble
        await asyncio.sleep(self.dice.uniform(0, 25) if rough else self.dice.uniform(0, 0.2))
        if self.dice.random() < self.trouble / 3:
            raise ApiError(0, "Unreachable", "connection reset")

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Object:
        await self._wait()
        found = await super().get(resource, namespace, name)
        await self._wait()
        return found

    async def replace(self, resource: Resource, obj: Object) -> Object:
        await self._wait()
        done = await super().replace(resource, obj)
        await self._wait()
        return done

    async def create(self, resource: Resource, namespace: str, obj: Object) -> Object:
        await self._wait()
        done = await super().create(resource, namespace, obj)
        await self._wait()
        return done


async def live(server: Weather, number: int, electors: dict[str, Elector], until: float) -> None:
    """A replica's lives: lead, lose or die, be started again under another name."""
    life = 0
    while clock() < until:
        life += 1
        name = f"{number}-{life}"
        elector = electors[name] = Elector(server, name, "ns", TIMING, clock)
        task = asyncio.create_task(lead(elector, gracefully=server.dice.random() < 0.5))
        await asyncio.wait({task}, timeout=server.dice.uniform(1, 120))
        task.cancel()
        await asyncio.wait({task})
        del electors[name]
        await asyncio.sleep(server.dice.uniform(0, 5))


async def lead(elector: Elector, gracefully: bool) -> None:
    try:
        await elector.acquire()
        await elector.hold()
    finally:
        if gracefully:
            await elector.release()


async def watch(server: Weather) -> int:
    """Run three replicas for twenty minutes; how many different leaders there were."""
    electors: dict[str, Elector] = {}
    until = clock() + 1_200
    replicas = [asyncio.create_task(live(server, n, electors, until)) for n in range(3)]
    seen: set[str] = set()
    while clock() < until:
        await asyncio.sleep(server.dice.uniform(0, 0.5))
        leaders = {name for name, elector in electors.items() if elector.held()}
        assert len(leaders) <= 1, "two leaders at once"
        seen |= leaders
    for replica in replicas:
        replica.cancel()
    return len(seen)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32), trouble=st.sampled_from([0.0, 0.1, 0.4]))
def test_never_two_leaders_and_not_none(seed: int, trouble: float) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        leaders = runner.run(watch(Weather(random.Random(seed), trouble)))
    assert leaders >= 1
