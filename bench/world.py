"""Running ABTests in memory, the routers and pods behind them, and the operator's own parts that steer them.

What `bench.experiments` measures: two routers and two pods of each of three arms, and users that come once.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tests.memory_cluster import MemoryCluster
from tests.memory_operator import START, MemoryOperator, MemorySources
from trimtab.core import conditions, metadata
from trimtab.core.objects import API_VERSION, Object, Ref, Resource
from trimtab.evidence.sources import ArmCounts, Cells, ModelReport, RouterReport
from trimtab.evidence.tally import Bucket
from trimtab.kinds.abtest.plan import LOOK_AGAIN
from trimtab.runtime.xds import Xds
from trimtab.traffic.state import RouterStatus

ARMS = {"control": 50, "a": 25, "b": 25}
PODS, ROUTERS, BUCKETS = 2, 2, 100
REQUESTS_A_SECOND = 20
BEFORE_SECONDS = 3_600
CADENCE = LOOK_AGAIN.total_seconds()
OURS = dict([metadata.SELECTOR.split("=")])
SPEC: Object = {
    "control": "control",
    "objective": {"metric": "Outcome", "minimumEffectPercent": "1"},
    "guardrails": [{"metric": "Errors"}, {"metric": "Latency", "aboveMilliseconds": 100}],
}


class Server(MemoryCluster):
    """An API server that knows what its writes took."""

    spent = 0.0

    async def apply_status(self, resource: Resource, obj: Object, status: Object) -> Object:
        started = time.process_time()
        written = await super().apply_status(resource, obj, status)
        self.spent += time.process_time() - started
        return written


class Replica(MemoryOperator):
    """The operator, which tells routers as well."""

    def __init__(self, cluster: MemoryCluster, counts: MemorySources) -> None:
        super().__init__(cluster, counts=counts)
        self.xds = Xds(self.store, {"abtests": "ABTest"})

    def enqueue(self, refs: Iterable[Ref]) -> None:
        refs = set(refs)
        self.xds.changed(refs)
        super().enqueue(refs)


@dataclass(frozen=True)
class Experiment:
    """One ABTest, and the uids of the pods behind it."""

    ref: Ref
    routers: list[str]
    pods: dict[str, list[str]]


@dataclass
class Spent:
    """Processor seconds of each pass, and what was written meanwhile."""

    passes: list[float] = field(default_factory=list)
    writes: int = 0


class World:
    """Experiments, what serves them, and the operator that runs them. No arm is better than another."""

    def __init__(self, count: int, seed: int = 7) -> None:
        self.dice = np.random.default_rng(seed)
        self.server, self.sources = Server(), MemorySources()
        self.experiments = [self._experiment(f"test-{number}") for number in range(count)]
        self.operator = Replica(self.server, self.sources)
        self.operator.look()

    def begin(self) -> None:
        """Run until all routers confirm their shares, and an hour of traffic has been counted."""
        for _ in range(3):
            self.work(1.0)
            self.obey()
        self.work(CADENCE)
        self.traffic(BEFORE_SECONDS)
        self.work(BEFORE_SECONDS)

    def work(self, seconds: float) -> Spent:
        """Let time pass, and make the passes that are due."""
        found = Spent()
        for taken in self.passes(seconds):
            found.passes.append(taken)
        found.writes = len(self.server.writes())
        self.forget()
        return found

    def passes(self, seconds: float) -> Iterator[float]:
        """The same one by one: processor seconds of each, without the API server's."""
        operator, server = self.operator, self.server
        operator.clock.advance(seconds)
        operator.dirty |= {ref for ref, due in operator.appointments.items() if due <= operator.clock.now}
        while due := sorted(ref for ref in operator.dirty if ref.kind == "ABTest"):
            for ref in due:
                started = time.process_time() - server.spent
                again = operator.reconcile(ref)
                yield time.process_time() - server.spent - started
                operator.appointments.pop(ref, None)
                if again is not None:
                    operator.appointments[ref] = operator.clock.now + again
            operator.hear()

    def forget(self) -> None:
        """What only a test would want to remember of the API server."""
        self.server.log.clear()
        self.server.calls.clear()
        self.operator.miss()

    def statuses(self) -> list[dict[str, Any]]:
        """The status of each experiment, as the API server has it."""
        return [self.server.objects[experiment.ref].get("status", {}) for experiment in self.experiments]

    def obey(self) -> None:
        """All routers do what they are told."""
        for experiment, status in zip(self.experiments, self.statuses(), strict=True):
            told = RouterStatus.model_validate(status["router"])
            for uid in experiment.routers:
                report = self.sources.router_reports.get(uid, RouterReport(uid, "e1", "", "", {}, {}, {}))
                self.sources.router_reports[uid] = replace(
                    report,
                    clusters_version=told.clusters_version,
                    routes_version=told.routes_version,
                    endpoints={arm.name: PODS for arm in told.arms},
                )

    def traffic(self, seconds: float) -> None:
        """Requests of users that come once; a tenth of them do what is hoped for."""
        for experiment in self.experiments:
            mean = REQUESTS_A_SECOND * seconds / PODS / BUCKETS / 100
            sent = {arm: sum(self._predict(uid, mean * ARMS[arm]) for uid in experiment.pods[arm]) for arm in ARMS}
            for number, uid in enumerate(experiment.routers):
                report = self.sources.router_reports[uid]
                parts = {arm: count // 2 + number * (count % 2) for arm, count in sent.items()}
                grown = {arm: self._route(report.arms.get(arm), count) for arm, count in parts.items()}
                self.sources.router_reports[uid] = replace(report, arms=grown)

    def split(self, *percents: int) -> None:
        """Give all experiments other weights."""
        for experiment in self.experiments:

            def change(obj: Object) -> None:
                for arm, percent in zip(obj["spec"]["arms"], percents, strict=True):
                    arm["weight"] = percent

            self.server.edit(experiment.ref, change)
        self.operator.hear()

    def _predict(self, uid: str, mean: float) -> int:
        report, rows = self.sources.model_reports[uid], self.dice.poisson(mean, BUCKETS)
        yes = self.dice.binomial(rows, 0.1)
        added = zip(report.buckets, rows.tolist(), yes.tolist(), strict=True)
        buckets = tuple(Bucket(b.rows + n, b.outcomes + n, b.total + y, b.squares + y) for b, n, y in added)
        count = int(rows.sum())
        self.sources.model_reports[uid] = replace(
            report, requests=report.requests + count, answered=report.answered + count, buckets=buckets
        )
        return count

    def _route(self, before: ArmCounts | None, count: int) -> ArmCounts:
        known = before or ArmCounts(latency=Cells((0.1,), (0, 0)))
        errors, slow = self.dice.binomial(count, [0.005, 0.01]).tolist()
        quick, late = known.latency.counts
        cells = Cells((0.1,), (quick + count - slow, late + slow))
        return ArmCounts(known.requests + count, known.errors + errors, cells)

    def _experiment(self, name: str) -> Experiment:
        arms = [{"name": arm, "deployment": f"{name}-{arm}", "weight": ARMS[arm]} for arm in ARMS]
        made = self.server.put(_obj(API_VERSION, "ABTest", name, spec={**SPEC, "arms": arms}))
        routers = [self._pod(f"{name}-router-{i}", {metadata.ROUTER: name}) for i in range(ROUTERS)]
        pods = {arm: self._deployment(f"{name}-{arm}", number) for number, arm in enumerate(ARMS)}
        return Experiment(Ref("ABTest", made["metadata"]["namespace"], name), routers, pods)

    def _deployment(self, name: str, number: int) -> list[str]:
        revision = f"rev{number}"
        row = {"name": revision, "digest": f"sha256:{number:064x}", "available": PODS}
        status = {"serving": revision, "revisions": [row]}
        self.server.put(_obj(API_VERSION, "ModelDeployment", name, spec={}, status=status))
        labels = {metadata.DEPLOYMENT: name, metadata.REVISION: revision}
        uids = [self._pod(f"{name}-{i}", labels) for i in range(PODS)]
        sketch = self.dice.integers(3, 12, 1_024, np.uint8).tobytes()
        for uid in uids:
            self.sources.model_reports[uid] = ModelReport(
                uid, "e1", revision, sketch=sketch, buckets=(Bucket(),) * BUCKETS
            )
        return uids

    def _pod(self, name: str, labels: dict[str, str]) -> str:
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": conditions.timestamp(START)}
        pod = _obj("v1", "Pod", name, status={"phase": "Running", "conditions": [ready]})
        pod["metadata"]["labels"] = {**OURS, **labels}
        return str(self.server.put(pod)["metadata"]["uid"])


def _obj(version: str, kind: str, name: str, **parts: Any) -> Object:
    meta = {"name": name, "namespace": "shop", "creationTimestamp": conditions.timestamp(START)}
    return {"apiVersion": version, "kind": kind, "metadata": meta, **parts}
