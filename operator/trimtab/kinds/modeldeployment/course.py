"""What a strategy is: the course a candidate takes from its first pod to all of the traffic.

The strategies differ in what a course holds and in nothing else. One walker (`walk`) leads along all of them:

    RollingUpdate   Starting ─────────────────────────────────────────► Promoting ► Baking, 10 s, unjudged
    BlueGreen       Starting, smoke test ─────────────────────────────► Promoting ► Baking, absolute limits
    Canary          Starting ► [Shadowing] ► Stepping 1 ► … ► Stepping n ► Promoting ► Baking, all gates
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from trimtab.evidence.canary import Gates
from trimtab.kinds.modeldeployment import strategy
from trimtab.kinds.modeldeployment.progress import Strategy
from trimtab.kinds.modeldeployment.strategy import GatewayRoute, RolloutSpec, Step

RETIRE_AFTER = timedelta(seconds=10)
"""How long after a move every node has learned of it, and nobody asks the old pods any more."""


@dataclass(frozen=True)
class Course:
    """The way of one strategy, as this spec sets it."""

    strategy: Strategy
    bake: timedelta = RETIRE_AFTER
    """How long the previous revision stays after all traffic has moved."""
    steps: tuple[Step, ...] = ()
    shadow_percent: int = 0
    shadow_seconds: int = 0
    routed: bool = False
    """Routers split the traffic; otherwise the front Service moves all of it."""
    gateway: GatewayRoute | None = None
    """They are not our own, but Gateways'."""
    smoke: bool = False
    """The candidate must answer its own example first."""
    judged: bool = False
    """The candidate is sent back by itself; otherwise it only waits to become ready."""
    gates: Gates | None = None
    """What counts as harm; None when nothing is measured."""
    max_seconds: int | None = None
    """Seconds with traffic, without a verdict, after which the candidate goes."""


def course(spec: RolloutSpec, *, has_example: bool = True) -> Course:
    """The course that a spec asks for; a container of the user's own has no example to be tested with."""
    bake = timedelta(seconds=spec.bake_seconds)
    if spec.strategy == "RollingUpdate":
        return Course("RollingUpdate")
    if spec.strategy == "BlueGreen":
        gates = _gates(spec.gates) if spec.gates else None
        return Course("BlueGreen", bake, smoke=has_example, judged=True, gates=gates)
    return Course(
        "Canary",
        bake,
        steps=spec.shares,
        shadow_percent=spec.shadow_percent,
        shadow_seconds=spec.shadow_seconds,
        routed=True,
        gateway=spec.gateway,
        judged=True,
        gates=_gates(spec.gates or strategy.Gates()),
        max_seconds=spec.max_seconds,
    )


def _gates(given: strategy.Gates) -> Gates:
    return Gates(
        max_error_percent=float(given.max_error_percent) if given.max_error_percent is not None else None,
        max_latency_milliseconds=given.max_latency_milliseconds,
        confidence_percent=float(given.confidence_percent),
        min_requests=given.min_requests,
    )
