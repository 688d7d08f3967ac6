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
from collections.abc import Container
from typing import Any, NamedTuple

from tests.faultproxy import FaultProxy
from tests.faults import WRITES, Call
from tests.kube import Kube
from tests.kubelet import imports
from tests.life import Life
from tests.lives import Undisturbed
from tests.operators import Nest, Operator

log = logging.getLogger(__name__)
LIVES = 10


class Write(NamedTuple):
    """The n-th write of its sort in a life; the same in all lives, as names of children are."""

    verb: str
    resource: str
    subresource: str
    name: str
    nth: int


class Counted:
    """Numbers the writes of one life."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, ...]] = Counter()

    def write(self, call: Call) -> Write | None:
        """The write that a call is; None if it is not one that matters here."""
        if call.verb not in WRITES or call.resource == "leases":
            return None
        sort = (call.verb, call.resource, call.subresource, call.name)
        self._counts[sort] += 1
        return Write(*sort, self._counts[sort])


class Reaper:
    """Kills the operators of one life after some (None: all) of their writes, before they learn of success."""

    def __init__(self, after: Container[Write] | None) -> None:
        self.operator: Operator | None = None
        self.callers: set[str] = set()
        self.deaths: list[Write] = []
        self._after = after
        self._counted = Counted()

    def see(self, call: Call, _: int) -> None:
        """A hook for the proxy."""
        if self.operator is None or call.caller not in self.callers:
            return
        write = self._counted.write(call)
        if write is not None and (self._after is None or write in self._after):
            if call.caller == self.operator.caller:
                self.operator.kill()
            self.deaths.append(write)  # also when the write was under way while its operator died of another

    def watch(self, operator: Operator) -> Operator:
        """Reap this one from now on."""
        self.operator = operator
        self.callers.add(operator.caller)
        return operator


async def test_same_end_whichever_write_was_the_last(
    nest: Nest, proxy: FaultProxy, kube: Kube, undisturbed: Undisturbed
) -> None:
    writes = list(filter(None, map(Counted().write, undisturbed.calls)))
    dealt, always = [Reaper(writes[n::LIVES]) for n in range(LIVES)], Reaper(None)
    async with imports(kube):
        ends = await asyncio.gather(*(_lead(nest, proxy, kube, reaper) for reaper in (*dealt, always)))
    for reaper, end in zip((*dealt, always), ends, strict=True):
        assert end == undisturbed.left, f"killed after {reaper.deaths}"
    deaths = {write for reaper in dealt for write in reaper.deaths}
    figures = (len(writes), len(deaths), LIVES, len(always.deaths))
    log.info("%d writes; %d deaths in %d lives, %d in one", *figures)
    # How often a status passes through the same moment, or a deletion is asked for before it shows, is chance.
    missed = {write for write in set(writes) - deaths if write.nth == 1}
    assert not missed, "writes that nobody was killed after"
    assert len(deaths) > 0.8 * len(writes)
    # An event is about a status just written, so who dies after every write hardly lives to tell of one.
    assert {write.resource for write in writes} - {"events"} <= {write.resource for write in always.deaths}


async def _lead(nest: Nest, proxy: FaultProxy, kube: Kube, reaper: Reaper) -> dict[str, Any]:
    """A full life with as many operators as it takes; what was left after each step."""
    namespace = await kube.fresh_namespace()
    living = asyncio.create_task(Life(kube, namespace).lead())
    proxy.after.append(reaper.see)
    operator = reaper.watch(nest.start(proxy, namespace))
    while not living.done():
        await asyncio.wait({living}, timeout=0.1)
        if (code := operator.exit_code) is not None:
            assert code == -signal.SIGKILL, f"{operator.caller} ended by itself with {code}:\n{operator.log[-3_000:]}"
            # The dead one's lease would have to be waited for, which is another test's matter.
            await kube.delete("Lease", namespace, "trimtab-operator")
            operator = reaper.watch(nest.start(proxy, namespace))
    operator.kill()
    return living.result()
