"""The operator is killed after each single write of a full life, and started again: nobody can tell afterwards.

An undisturbed life tells which writes there are. They are dealt out to LIVES further lives, and in each the operator
dies right after each of those dealt to it, so that every write has a life in which it is an operator's last. In one
more life every write is.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections import Counter
from collections.abc import Collection
from typing import Any, NamedTuple

from tests.faultproxy import FaultProxy
from tests.faults import WRITES, Call
from tests.kube import Kube
from tests.kubelet import imports
from tests.life import Life
from tests.operators import Nest, Operator

log = logging.getLogger(__name__)
LIVES = 12


class Write(NamedTuple):
    """The n-th write of its sort in a life; the same in all lives, as names of children are."""

    verb: str
    resource: str
    subresource: str
    name: str
    nth: int


class Reaper:
    """Writes down what operators write in one life, and kills them after some of it, before they learn of success."""

    def __init__(self, after: Collection[Write] | None) -> None:
        self.operator: Operator | None = None
        self.writes: list[Write] = []
        self.deaths: list[Write] = []
        self._after = after
        self._counts: Counter[tuple[str, ...]] = Counter()

    def see(self, call: Call, _: int) -> None:
        """A hook for the proxy."""
        if self.operator is None or call.caller != self.operator.caller:
            return
        if call.verb not in WRITES or call.resource == "leases":
            return
        sort = (call.verb, call.resource, call.subresource, call.name)
        self._counts[sort] += 1
        write = Write(*sort, self._counts[sort])
        self.writes.append(write)
        if self._after is None or write in self._after:
            self.operator.kill()
            self.deaths.append(write)


async def test_same_end_whichever_write_was_the_last(nest: Nest, proxy: FaultProxy, kube: Kube) -> None:
    async with imports(kube):
        undisturbed, always = Reaper(()), Reaper(None)
        expected = await _lead(nest, proxy, kube, undisturbed)
        dealt = [Reaper(undisturbed.writes[n::LIVES]) for n in range(LIVES)]
        ends = await asyncio.gather(*(_lead(nest, proxy, kube, reaper) for reaper in (*dealt, always)))
    for reaper, end in zip((*dealt, always), ends, strict=True):
        assert end == expected, f"killed after {reaper.deaths}"
    deaths = {write for reaper in dealt for write in reaper.deaths}
    figures = (len(undisturbed.writes), len(deaths), LIVES, len(always.deaths))
    log.info("%d writes; %d deaths in %d lives, %d in one", *figures)
    # How often a status passes through the same moment is chance; everything else must have been the last once.
    missed = {write for write in set(undisturbed.writes) - deaths if write.subresource != "status" and write.name}
    assert not missed, "writes that nobody was killed after"
    assert len(deaths) > 0.8 * len(undisturbed.writes)
    # Which write is the last one before each death of the one who dies after every write is chance, too.
    assert {write.resource for write in always.deaths} <= {write.resource for write in undisturbed.writes}
    assert always.deaths


async def _lead(nest: Nest, proxy: FaultProxy, kube: Kube, reaper: Reaper) -> dict[str, Any]:
    """A full life with as many operators as it takes; what was left after each step."""
    namespace = await kube.fresh_namespace()
    living = asyncio.create_task(Life(kube, namespace).lead())
    proxy.after.append(reaper.see)
    operator = reaper.operator = nest.start(proxy, namespace)
    while not living.done():
        await asyncio.wait({living}, timeout=0.1)
        if (code := operator.exit_code) is not None:
            assert code == -signal.SIGKILL, f"{operator.caller} ended by itself with {code}:\n{operator.log[-3_000:]}"
            # The dead one's lease would have to be waited for, which is another test's matter.
            await kube.delete("Lease", namespace, "trimtab-operator")
            operator = reaper.operator = nest.start(proxy, namespace)
    operator.kill()
    return living.result()
