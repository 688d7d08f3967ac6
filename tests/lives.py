"""A full life in which nothing goes wrong: how it ends, and every call that the operator made in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.controlplane import ControlPlane
from tests.faultproxy import FaultProxy
from tests.faults import Call
from tests.kube import Kube
from tests.kubelet import imports
from tests.life import Life
from tests.operators import Nest


@dataclass(frozen=True)
class Undisturbed:
    """What was left after each step, and the calls in their order."""

    left: dict[str, Any]
    calls: Sequence[Call]


async def undisturbed_life(plane: ControlPlane, nest: Nest) -> Undisturbed:
    """Lead it, with an operator of its own."""
    with FaultProxy(plane) as proxy:
        async with Kube(plane) as kube, imports(kube):
            namespace = await kube.fresh_namespace()
            operator = nest.start(proxy, namespace)
            try:
                left = await Life(kube, namespace).lead()
            finally:
                nest.clear([operator])
        return Undisturbed(left, [record.call for record in proxy.calls()])
