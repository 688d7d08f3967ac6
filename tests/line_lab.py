"""Many schedules before few places: passes that overlap, writes that take their time, operators that die of it.

Store, reconcilers and kinds are real. Each request to the API server and each question to MLflow is two steps, sending
and hearing, and chance decides whose step is next. The laws are checked at the very write that would break them.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Coroutine, Generator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from tests.memory_cluster import Call, MemoryCluster
from tests.memory_operator import PLATFORM, Clock, MemoryOperator, MemoryRegistry, MemoryTracking
from tests.unit.kinds.builders import NAMESPACE
from tests.unit.kinds.retrain_lab import model_object, schedule_object
from trimtab.core.conditions import timestamp
from trimtab.core.metadata import RUN
from trimtab.core.objects import Object, Ref, Resource
from trimtab.runtime.cluster import ApiError
from trimtab.runtime.reconciler import Refused

WORKERS = 10
Pass = Coroutine[Any, Any, timedelta | None]


class _Turn:
    """Somebody else may go first here."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class _SlowCluster(MemoryCluster):
    async def apply(self, resource: Resource, obj: Object, *, force: bool) -> Object:
        await _Turn()
        written = await super().apply(resource, obj, force=force)
        await _Turn()
        return written

    async def apply_status(self, resource: Resource, obj: Object, status: Object) -> Object:
        await _Turn()
        written = await super().apply_status(resource, obj, status)
        await _Turn()
        return written


class _SlowTracking(MemoryTracking):
    async def alias(self, model: str, alias: str, max_age_seconds: float) -> str:
        await _Turn()
        return await super().alias(model, alias, max_age_seconds)


class LineLab:
    """Schedules of one namespace, by name, each with fields of its spec; every one is asked for a run at once."""

    def __init__(
        self, schedules: Mapping[str, Mapping[str, Any]], limit: int, seed: int = 0, longest: int = 100
    ) -> None:
        self.chance, self.limit = random.Random(seed), limit
        self.cluster, self.clock, registry = _SlowCluster(), Clock(), MemoryRegistry()
        registry.versions["credit", "champion"] = "1"
        self.registry, self.tracking = registry, _SlowTracking(registry)
        self.platform = replace(PLATFORM, max_concurrent_runs=limit, max_queued_runs=longest)
        self.born: Counter[str] = Counter()
        self.started: list[str] = []
        self.writes = 0
        self.kill_at = 0
        self.under_way: dict[Ref, Pass] = {}
        self._ghosts: list[Pass] = []
        self.cluster.put(model_object())
        self.refs = [Ref("RetrainSchedule", NAMESPACE, name) for name in schedules]
        for name, spec in schedules.items():
            self.cluster.put(schedule_object(name, gate=None, annotations={RUN: "now"}, **spec))
        self.cluster.after = self._written
        self.restart()

    # What the test does.

    def restart(self, late: float = 0.5) -> None:
        """Another process. Some of the old one's requests are lost, others land late: when the new one has looked."""
        for flight in self.under_way.values():
            if self.chance.random() < late:
                self._ghosts.append(flight)
            else:
                flight.close()
        self.under_way.clear()
        self.operator = MemoryOperator(
            self.cluster, self.registry, clock=self.clock, platform=self.platform, tracking=self.tracking
        )
        self.operator.look()

    def live(self, kills: int = 0, steps: int = 40_000) -> None:
        """One step after the other until all runs have ended; the process dies so many times on the way."""
        deaths = {self.chance.randrange(20, 1500) for _ in range(kills)}
        for step in range(steps):
            if step in deaths:
                self.restart()
            if self.kill_at and self.writes >= self.kill_at:
                self.kill_at = 0
                self.restart(late=0)
            if (
                not self.under_way
                and not self._ghosts
                and all(self.run(ref).get("stage") == "Ended" for ref in self.refs)
            ):
                return
            self._step()
        raise AssertionError(f"they never end: {[(ref.name, self.run(ref)) for ref in self.refs]}")

    def quiet(self, seconds: int = 30) -> None:
        """Whatever is due is done, one pass after the other."""
        for _ in range(seconds):
            self._pass_time(1)
            self._hear(len(self.cluster.log))
            while (self.operator.dirty or self.under_way) and self._work():
                pass

    def end(self, name: str) -> None:
        """The Job of that schedule's run ends, with nothing to do."""
        self._over(Ref("Job", NAMESPACE, str(self.run(Ref("RetrainSchedule", NAMESPACE, name))["name"])))

    # What the test looks at.

    def run(self, ref: Ref) -> Mapping[str, Any]:
        """The newest run of a schedule."""
        rows: Sequence[Mapping[str, Any]] = self.cluster.objects[ref].get("status", {}).get("runs", ())
        return rows[0] if rows else {}

    def of(self, name: str) -> Mapping[str, Any]:
        """The newest run of a schedule, by its name."""
        return self.run(Ref("RetrainSchedule", NAMESPACE, name))

    def training(self) -> set[str]:
        """The schedules whose Jobs are there and not over."""
        jobs = [obj for ref, obj in self.cluster.objects.items() if ref.kind == "Job" and not obj.get("status")]
        return {obj["metadata"]["ownerReferences"][0]["name"] for obj in jobs}

    # How.

    def _step(self) -> None:
        draw = self.chance.random()
        if draw < 0.1:
            self._hear(1)
        elif draw < 0.13:
            self._pass_time(self.chance.choice((1, 1, 1, 5, 30)))
        elif draw < 0.15:
            living = [ref for ref, obj in self.cluster.objects.items() if ref.kind == "Job" and not obj.get("status")]
            if living:
                self._over(self.chance.choice(sorted(living)))
        elif draw < 0.17 and self._ghosts:
            _advance(self._ghosts[-1])
            self._ghosts.pop().close()
        else:
            self._work()

    def _work(self) -> bool:
        """One step of a pass under way, or the first of another one."""
        idle = sorted(self.operator.dirty - set(self.under_way))
        fresh = idle if len(self.under_way) < WORKERS else []
        if not fresh and not self.under_way:
            return False
        ref = self.chance.choice([*sorted(self.under_way), *fresh])
        if ref not in self.under_way:
            self.operator.dirty.discard(ref)
            if ref.kind not in self.operator.reconcilers or ref.kind == "MLModel":
                return True
            self.under_way[ref] = self.operator.reconcilers[ref.kind].reconcile(ref)
        try:
            self.under_way[ref].send(None)
        except StopIteration as end:
            self._ended(ref, end.value)
        except (ApiError, Refused):
            self._ended(ref, timedelta(seconds=5))
        return True

    def _ended(self, ref: Ref, again: timedelta | None) -> None:
        del self.under_way[ref]
        if again is not None:
            self.operator.appointments[ref] = self.clock.now + again

    def _hear(self, events: int) -> None:
        self.operator.hear(events)

    def _pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        due = {ref for ref, at in self.operator.appointments.items() if at <= self.clock.now}
        self.operator.enqueue(due)

    def _over(self, ref: Ref) -> None:
        told = {"type": "Failed", "status": "True", "reason": "PodFailurePolicy"}
        told |= {"message": "it failed with exit code 3 x", "lastTransitionTime": timestamp(self.clock.now)}
        self.cluster.edit(ref, lambda obj: obj.update(status={"conditions": [told]}))

    def _written(self, call: Call) -> None:
        self.writes += call.changed
        if call.ref.kind == "Job" and call.verb == "apply" and call.changed:
            self.born[call.ref.name] += 1
            owner = self.cluster.objects[call.ref]["metadata"]["ownerReferences"][0]["name"]
            self.started.append(owner)
            assert self.born[call.ref.name] == 1, f"{call.ref.name} was made twice"
            assert not self.limit or len(self.training()) <= self.limit, f"too many train: {self.training()}"


def _advance(flight: Pass) -> None:
    """The one request that was under way arrives, or its answer does, when nobody is there for it any more."""
    try:
        flight.send(None)
    except (StopIteration, ApiError, Refused):
        return
