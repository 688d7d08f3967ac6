"""When to look at a ModelDeployment again without being told: soon where pods are asked, else when a time is up."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from trimtab.core.conditions import parse_time
from trimtab.evidence.drift.pace import wait
from trimtab.kinds.modeldeployment.api import ModelDeployment
from trimtab.kinds.modeldeployment.course import RETIRE_AFTER
from trimtab.kinds.modeldeployment.observe import Observed
from trimtab.kinds.modeldeployment.progress import RolloutStatus
from trimtab.kinds.modeldeployment.rollout import Rollout
from trimtab.kinds.modeldeployment.walk import PATIENCE

AT_LEAST = timedelta(milliseconds=100)
CHANGING = timedelta(milliseconds=500)
"""While routers learn of something: as often as they ask."""
COUNTING = timedelta(seconds=1)
"""While a candidate is judged: what is proven must be acted upon within two seconds."""
HELD = timedelta(seconds=10)


def requeue(mdep: ModelDeployment, seen: Observed, state: Rollout, now: datetime) -> timedelta | None:
    """The first of all appointments, or None when only news can change anything."""
    times = [*_drain(state, now), *_routers(mdep, seen, state), *_watched(mdep, seen, now)]
    if state.waiting:
        times.append(HELD)
    if state.record is not None and state.record.under_way:
        times += _rollout(state, state.record, now)
    return max(min(times), AT_LEAST) if times else None


def _drain(state: Rollout, now: datetime) -> Iterator[timedelta]:
    leaves_routers = state.router is not None and (not state.course.routed or (state.course.gateway and state.draining))
    if state.switched_at is not None and (state.retiring or leaves_routers):
        yield state.switched_at + RETIRE_AFTER - now


def _watched(mdep: ModelDeployment, seen: Observed, now: datetime) -> Iterator[timedelta]:
    """Pods are read often enough to lose little with one of them, and at the end of each period."""
    if seen.finding is not None:
        period = mdep.spec.monitoring.drift.period_seconds
        yield timedelta(seconds=wait(mdep.metadata["uid"], period, now.timestamp()))


def _routers(mdep: ModelDeployment, seen: Observed, state: Rollout) -> Iterator[timedelta]:
    """Routers are asked until they do as told; that they are ready is news by itself."""
    if state.course.routed and state.router is not None:
        waits = bool(seen.routers) and not state.routed
        if waits or state.router != mdep.status.router or (len(state.router.arms) > 1 and not state.under_way):
            yield CHANGING


def _rollout(state: Rollout, record: RolloutStatus, now: datetime) -> Iterator[timedelta]:
    judged = state.course.gates is not None
    if record.stage == "Starting" and record.troubled_at and state.course.judged:
        yield parse_time(record.troubled_at) + PATIENCE - now
    if record.stage == "Starting" and (state.course.smoke or state.course.routed):
        yield COUNTING
    if record.stage in ("Shadowing", "Stepping", "Promoting"):
        yield COUNTING if record.clock_at else CHANGING
    if record.stage == "Baking" and record.clock_at and record.paused_at is None:
        yield parse_time(record.clock_at) + state.course.bake - now
    if record.stage == "Baking" and judged:
        yield COUNTING
