"""Each call that the operator makes fails once, in each way there is: it recovers alone, nothing is lost or doubled.

Every fault has a few lives of its own, with an operator each. The kinds of call are dealt out to these lives, and in a
life each kind of call dealt to it fails the first time it is made. A 409 is an answer to
writes only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.faultproxy import FaultProxy
from tests.faults import WRITES, Call, Fault, Reset, Rule, Status
from tests.kube import Kube
from tests.kubelet import imports
from tests.life import Life
from tests.lives import Undisturbed
from tests.operators import Nest, Operator

LIVES = 3
FAULTS: dict[str, Fault] = {
    "409": Status(409),
    "429": Status(429, retry_after=2),
    "500": Status(500),
    "503": Status(503),
    "connection lost": Reset(),
    "answer lost": Reset(done=True),
}


@dataclass(frozen=True, order=True)
class Sort:
    """A kind of call; the watch engine's lists are told from the operator's own by who asks."""

    verb: str
    resource: str
    subresource: str
    agent: str

    @classmethod
    def of(cls, call: Call) -> Sort:
        return cls(call.verb, call.resource, call.subresource, call.user_agent)

    def fail(self, proxy: FaultProxy, fault: Fault, caller: str) -> Rule:
        """Let the next such call of one operator fail."""
        return proxy.inject(
            fault,
            caller=caller,
            verb=self.verb,
            resource=self.resource,
            subresource=self.subresource,
            user_agent=self.agent,
        )


async def test_recovers_from_every_failure_of_every_call(
    nest: Nest, proxy: FaultProxy, kube: Kube, undisturbed: Undisturbed
) -> None:
    sorts = sorted(set(map(Sort.of, undisturbed.calls)))
    assert {"get", "list", "watch", *WRITES} == {sort.verb for sort in sorts}
    async with imports(kube):
        trials = [_trial(nest, proxy, kube, fault, sorts[n::LIVES]) for fault in FAULTS for n in range(LIVES)]
        ends = await asyncio.gather(*trials)
    for what, end in ends:
        assert end == undisturbed.left, what


async def _trial(nest: Nest, proxy: FaultProxy, kube: Kube, fault: str, sorts: Sequence[Sort]) -> tuple[str, Any]:
    """One life with its faults; what happened, and what was left."""
    failing = [sort for sort in sorts if fault != "409" or sort.verb in WRITES]
    operator, left = await _lead(nest, proxy, kube, [(sort, FAULTS[fault]) for sort in failing])
    return f"{fault} for {failing}, {operator.caller}", left


async def _lead(
    nest: Nest, proxy: FaultProxy, kube: Kube, faults: Sequence[tuple[Sort, Fault]]
) -> tuple[Operator, dict[str, Any]]:
    namespace = await kube.fresh_namespace()
    caller = nest.caller()
    rules = [sort.fail(proxy, fault, caller) for sort, fault in faults]
    operator = nest.start(proxy, namespace, caller=caller)
    left = await Life(kube, namespace).lead()
    assert operator.exit_code is None, operator.log[-3_000:]
    missed = [sort for (sort, _), rule in zip(faults, rules, strict=True) if not rule.hits]
    assert not missed, "calls that were never made"
    made = [record for record in proxy.calls(caller=caller, resource="jobs", verb="patch") if record.upstream == 201]
    assert len(made) == 2, "one import for each version"
    operator.kill()
    return operator, left
