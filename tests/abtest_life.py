"""An experiment's whole life on an API server in memory: routers obey, users ask, the operator dies after any write.

The operator's parts are real. The laws are checked at the very write that would break them; the one of the ledger is
exact: it holds what the sources have told since a segment was open, by segment and arm, not one request more or less.
Only a source that begins anew takes with it what had not been written.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tests import crdcheck
from tests.memory_cluster import Call, MemoryCluster
from tests.memory_operator import Clock, MemoryOperator, MemorySources
from tests.unit.kinds import kubelet
from tests.unit.kinds.abtest_lab import BUCKETS, abtest_object
from tests.unit.kinds.builders import NAMESPACE, condition, digest
from trimtab.core import conditions, metadata
from trimtab.core.objects import API_VERSION, Ref
from trimtab.evidence.ledger import restore
from trimtab.evidence.sources import ArmCounts, ModelReport, RouterReport
from trimtab.evidence.tally import Bucket, Tally
from trimtab.kinds.abtest.status import Status
from trimtab.traffic.slots import assign
from trimtab.traffic.state import SLOTS, RouterStatus

TEST = Ref("ABTest", NAMESPACE, "exp")
ROUTERS = Ref("Deployment", NAMESPACE, "exp-router")
TICK = 5
"""Seconds."""
AWAY = 2
"""Ticks until another operator is there."""
USERS = [f"user-{number}" for number in range(200)]


Place = tuple[str, int, str]
"""A run, a segment of it, and an arm."""


class Killed(BaseException):
    """The operator's process ended here."""


@dataclass(frozen=True)
class Story:
    """What an experiment meets: its arms, what comes of their requests, and what its owner changes at which tick."""

    weights: tuple[int, ...]
    spec: Mapping[str, Any]
    yes: Mapping[str, float]
    errors: Mapping[str, float] = field(default_factory=dict)
    edits: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    anew: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    """The pods that count from zero again, by tick."""
    ticks: int = 50
    requests: int = 200
    """A tick."""


class Life:
    """One experiment from its first write to its last."""

    def __init__(self, story: Story, kill_in: int | None = None) -> None:
        self.story, self.kill_in, self.writes, self.ended = story, kill_in, 0, 0
        self.cluster, self.clock, self.sources = MemoryCluster(), Clock(), MemorySources()
        self.dice = random.Random(7)
        self.told: defaultdict[Place, Counter[str]] = defaultdict(Counter)
        self.lost: defaultdict[Place, Counter[str]] = defaultdict(Counter)
        self._unwritten: defaultdict[str, list[tuple[Place, Counter[str]]]] = defaultdict(list)
        self._anew: set[str] = set()
        self.path: list[RouterStatus] = []
        self._fraction: Counter[str] = Counter()
        self._judged: set[object] = set()
        self._decided: dict[str, tuple[str, str]] = {}
        test = abtest_object(*story.weights, **story.spec)
        for arm in test["spec"]["arms"]:
            self._deploy(arm["name"])
        self.cluster.put(test)
        self.cluster.after = self._written
        self._away = 0
        self._restart()

    def live(self) -> Life:
        """Everything there is to live."""
        for tick in range(self.story.ticks):
            if tick in self.story.edits:
                edit = self.story.edits[tick]
                self.cluster.edit(TEST, lambda obj, edit=edit: obj["spec"].update(edit))
            for pod in self.story.anew.get(tick, ()):
                self._begin_anew(pod)
            self._act()
            self._ask()
            self._look()
        return self

    @property
    def status(self) -> Status:
        return Status.model_validate(self.cluster.objects[TEST].get("status", {}))

    def end(self) -> dict[str, Any]:
        """What is left of it, but for times and numbers."""
        status = self.status
        assert status.run is not None
        assert status.verdict is not None
        children = {ref: obj.get("spec") for ref, obj in sorted(self.cluster.objects.items()) if ref.kind != "Pod"}
        return {
            "verdict": (status.verdict.decision, status.verdict.winner, status.verdict.final),
            "stopped": status.run.stopped,
            "router": status.router,
            "path": self.path,
            "segments": [segment.weights for segment in restore(status.ledger).segments],
            "history": [(row.decision, row.winner) for row in status.history],
            "conditions": [(c.type, c.status, c.reason) for c in status.conditions],
            "children": {ref: spec for ref, spec in children.items() if ref.kind != "Event"},
        }

    # What happens in a tick.

    def _act(self) -> None:
        """Router pods start, and do as they are told."""
        if ROUTERS in self.cluster.objects:
            workload = self.cluster.objects[ROUTERS]
            for number in range(workload["spec"]["replicas"]):
                name = f"exp-router-{number}"
                if Ref("Pod", NAMESPACE, name) not in self.cluster.objects:
                    self._pod(name, workload["spec"]["template"]["metadata"]["labels"])
        told = self.status.router
        for uid in self._routers() if told else ():
            before = self.sources.router_reports.get(uid)
            self.sources.router_reports[uid] = RouterReport(
                pod=uid,
                epoch=before.epoch if before else "1",
                clusters_version=told.clusters_version,
                routes_version=told.routes_version,
                arms=before.arms if before else {},
                endpoints={arm.name: 1 for arm in told.arms},
            )

    def _ask(self) -> None:
        """Users ask, whoever looks; what is told of it while a segment is open is what the ledger must hold."""
        status, routers = self.status, self._routers()
        if not routers or status.router is None or status.run is None:
            return
        opened = bool(status.run.counted) and status.ledger is not None
        place = len(status.ledger.segments) - 1 if status.ledger else 0
        for arm, slots in status.router.weights().items():
            whole = self._whole(arm, self.story.requests * slots / SLOTS)
            errors = self._whole(f"{arm}!", whole * self.story.errors.get(arm, 0))
            yes = self._whole(f"{arm}+", whole * self.story.yes.get(arm, 0))
            counted = (status.run.id, place, arm) if opened else None
            self._route(routers, arm, whole, errors, counted)
            self._predict(arm, whole, yes, counted)

    def _look(self) -> None:
        """The operator, if there is one."""
        self._away -= 1
        if self._away > 0:
            self.clock.advance(TICK)
            return
        try:
            if self._away == 0:
                self._restart()
            self.operator.hear()
            self.operator.wait(TICK)
        except Killed:
            self._away = AWAY

    def _restart(self) -> None:
        """A new process, with nothing but what the API server tells it."""
        # Deployments are what the story says they are.
        self.operator = MemoryOperator(self.cluster, clock=self.clock, counts=self.sources, kinds=(TEST.kind,))
        self.operator.look()

    # Everybody else.

    def _deploy(self, arm: str) -> None:
        name, row = f"mdep-{arm}", {"name": f"rev-{arm}", "digest": digest(ord(arm)), "available": 1}
        status = {"serving": row["name"], "revisions": [row], "conditions": [condition("Ready", "True", "Reconciled")]}
        meta = {"name": name, "namespace": NAMESPACE}
        bare = {"apiVersion": API_VERSION, "kind": "ModelDeployment", "metadata": meta, "spec": {}}
        self.cluster.put({**bare, "status": status})
        uid = self._pod(f"pod-{arm}", {metadata.DEPLOYMENT: name, metadata.REVISION: row["name"]})
        self.sources.model_reports[uid] = ModelReport(uid, "1", row["name"], buckets=(Bucket(),) * BUCKETS)

    def _pod(self, name: str, labels: Mapping[str, str]) -> str:
        pod = kubelet.pod(name, labels, phase="Running", conditions=[{"type": "Ready", "status": "True"}])
        pod["metadata"].update(namespace=NAMESPACE, creationTimestamp=conditions.timestamp(self.clock.now))
        return str(self.cluster.put(pod)["metadata"]["uid"])

    def _routers(self) -> list[str]:
        pods = (Ref("Pod", NAMESPACE, f"exp-router-{number}") for number in range(2))
        return [self.cluster.objects[ref]["metadata"]["uid"] for ref in pods if ref in self.cluster.objects]

    def _route(self, routers: list[str], arm: str, requests: int, errors: int, place: Place | None) -> None:
        """The first router has a third of it, the second one the rest."""
        first = (requests // 3, errors // 3)
        for uid, (more, failed) in zip(routers, (first, (requests - first[0], errors - first[1])), strict=True):
            report = self.sources.router_reports[uid]
            had = report.arms.get(arm, ArmCounts())
            now = ArmCounts(had.requests + more, had.errors + failed)
            self.sources.router_reports[uid] = replace(report, arms={**report.arms, arm: now})
            self._tell(uid, place, Counter(requests=more, errors=failed))

    def _predict(self, arm: str, requests: int, yes: int, place: Place | None) -> None:
        uid = self.cluster.objects[Ref("Pod", NAMESPACE, f"pod-{arm}")]["metadata"]["uid"]
        report = self.sources.model_reports[uid]
        buckets = [list(bucket) for bucket in report.buckets]
        for user in range(requests):
            found, liked = buckets[self.dice.randrange(BUCKETS)], user < yes
            for column, more in enumerate((1, 1, liked, liked)):
                found[column] += more
        whole = report.answered + requests
        now = replace(
            report, answered=whole, rows=report.rows + requests, buckets=tuple(Bucket(*bucket) for bucket in buckets)
        )
        self.sources.model_reports[uid] = now
        self._tell(uid, place, Counter(rows=requests, answered=requests, outcomes=requests, yes=yes))

    def _tell(self, uid: str, place: Place | None, counts: Counter[str]) -> None:
        """What a source now tells beyond what it has told before; a new life of it may first have to be noticed."""
        if place is not None:
            self.told[place] += counts
            self._unwritten[uid].append((place, counts))
            if uid in self._anew:
                self.lost[place] += counts

    def _begin_anew(self, pod: str) -> None:
        """A pod's container ends, and with it what was told and not written."""
        uid = self.cluster.objects[Ref("Pod", NAMESPACE, pod)]["metadata"]["uid"]
        for place, counts in self._unwritten.pop(uid, ()):
            self.lost[place] += counts
        self._anew.add(uid)
        routers, models = self.sources.router_reports, self.sources.model_reports
        if uid in routers:
            routers[uid] = replace(routers[uid], epoch="2", arms={})
        else:
            models[uid] = replace(models[uid], epoch="2", answered=0, rows=0, buckets=(Bucket(),) * BUCKETS)

    def _whole(self, key: str, amount: float) -> int:
        """Whole numbers that add up to what was asked for."""
        self._fraction[key] += amount  # type: ignore[assignment]
        whole = int(self._fraction[key] + 1e-9)
        self._fraction[key] -= whole
        return whole

    # The laws.

    def _written(self, call: Call) -> None:
        if call.verb in ("get", "list") or not call.changed:
            return
        if call.ref == TEST and call.verb == "status":
            self._counted_once()
            self._routed()
            self._stayed()
        self.writes += 1
        if self.writes == self.kill_in:
            self.ended += 1
            raise Killed

    def _counted_once(self) -> None:
        """The ledger of this run is what the sources told, by segment and arm, less what some may have taken along."""
        status = self.status
        assert status.run is not None
        for place, segment in enumerate(restore(status.ledger).segments):
            for arm in (share.name for share in status.run.arms):
                told, lost = (of[status.run.id, place, arm] for of in (self.told, self.lost))
                for name, number in _counts(segment.tally(arm)).items():
                    what = f"{name} of {arm} in segment {place}: {number} counted, {told[name]} told, {lost[name]} lost"
                    assert told[name] - lost[name] <= number <= told[name], what
        self._unwritten.clear()
        self._anew.clear()

    def _routed(self) -> None:
        """All slots belong to somebody, and nobody changes between two arms that are compared."""
        status = self.status
        assert status.run is not None
        router = status.router
        if router is None or (self.path and self.path[-1] == router):
            return
        assert router.salt == status.run.definition
        assert sum(router.weights().values()) == SLOTS
        before = self.path[-1] if self.path else router
        gainers = {router.control, status.verdict.winner if status.verdict else ""}
        if before.salt == router.salt:
            moved = {(assign(before, user), assign(router, user)) for user in USERS}
            assert all(left == came or gainers & {left, came} for left, came in moved), moved
        self.path.append(router)

    def _stayed(self) -> None:
        """A verdict that is final stays, and the API server takes what is written."""
        status, obj = self.status, self.cluster.objects[TEST]
        assert status.run is not None
        verdict = status.verdict
        if verdict is not None and status.run.id in self._decided:
            assert self._decided[status.run.id] == (verdict.decision, verdict.winner)
        if verdict is not None and verdict.final:
            self._decided[status.run.id] = (verdict.decision, verdict.winner)
        stage = (status.run.id, len(self.path), verdict and verdict.decision)
        if stage not in self._judged:  # it takes long, and the form changes with the stage
            self._judged.add(stage)
            assert crdcheck.violations(obj) == [], "the API server would not take this status"


def _counts(tally: Tally) -> dict[str, float]:
    """The parts of a tally that the story tells."""
    return {
        "requests": tally.requests,
        "errors": tally.errors,
        "answered": tally.answered,
        "rows": sum(bucket.rows for bucket in tally.buckets),
        "yes": sum(bucket.total for bucket in tally.buckets),
        "outcomes": sum(bucket.outcomes for bucket in tally.buckets),
    }
