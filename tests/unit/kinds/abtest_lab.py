"""An experiment in a bottle: arms, routers and users that a test moves by hand, and passes that keep a status."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from tests import crdcheck
from tests.memory_operator import PLATFORM, START, MemoryEvents, MemorySources, drive
from tests.unit.kinds.builders import NAMESPACE, condition, digest, meta
from trimtab.core import conditions, metadata
from trimtab.core.objects import API_VERSION, Object
from trimtab.core.plan import Plan
from trimtab.evidence.sources import ArmCounts, Cells, ModelReport, RouterReport
from trimtab.evidence.tally import Bucket
from trimtab.kinds.abtest.api import ABTest
from trimtab.kinds.abtest.observe import deployment_refs, observe
from trimtab.kinds.abtest.plan import plan
from trimtab.runtime.store import Store
from trimtab.traffic.state import RouterStatus

DAY = 86_400
BUCKETS = 100
REFERENCES = {"ABTest": deployment_refs, "ModelDeployment": lambda obj: ()}


def abtest_object(*weights: int, **spec: Any) -> Object:
    """An experiment `exp` with arms a, b, c …, each a ModelDeployment of its name; a is the control."""
    arms = [
        {"name": name, "deployment": f"mdep-{name}", "weight": weight}
        for name, weight in zip("abcdefgh", weights or (50, 50), strict=False)
    ]
    whole = {"arms": arms, "control": "a", "objective": {"metric": "Outcome"}, "minSeconds": 0, **spec}
    bare = {"apiVersion": API_VERSION, "kind": "ABTest", "metadata": meta("exp", annotations={}), "spec": whole}
    return crdcheck.defaulted(bare)


class Lab:
    """One experiment and its surroundings. Two routers, one pod an arm; counts are exact unless a test spoils them."""

    def __init__(self, *weights: int, routers: int = 2, **spec: Any) -> None:
        self.test = abtest_object(*weights, **spec)
        self.now = START
        self.dice = random.Random(7)
        self.sources, self.events = MemorySources(), MemoryEvents()
        self.deployments = {name: self._deployment(name) for name in self.names}
        self.routers = [self._router(f"router-{i}") for i in range(routers)]
        self.deaf: set[str] = set()
        self.writes = 0
        for name in self.names:
            self.sources.model_reports[f"uid-pod-{name}"] = self._silence(name)

    @property
    def names(self) -> list[str]:
        return [arm["name"] for arm in self.test["spec"]["arms"]]

    @property
    def status(self) -> Object:
        found: Object = self.test.get("status", {})
        return found

    def weights(self) -> dict[str, int]:
        """What the routers are told, in percent."""
        return {name: slots // 100 for name, slots in self.told().weights().items()}

    def told(self) -> RouterStatus:
        return RouterStatus.model_validate(self.status["router"])

    def condition(self, type_: str) -> Object:
        return next((c for c in self.status["conditions"] if c["type"] == type_), {})

    def reason(self, type_: str = "Ready") -> str:
        return str(self.condition(type_).get("reason", ""))

    def verdict(self) -> str:
        return str(self.status["verdict"]["decision"])

    # What the operator does.

    def plan(self) -> Plan:
        """One look, without any effect."""
        store = Store(REFERENCES)
        for obj in (self.test, *self.deployments.values(), *self.routers, *map(self._arm_pod, self.names)):
            store.absorb(obj)
        test = ABTest.parse(json.loads(json.dumps(self.test)))
        return plan(test, drive(observe(test, store, PLATFORM, self.sources, self.events)), self.now)

    def step(self) -> Plan:
        """One pass, with its status written."""
        done = self.plan()
        if done.status != self.test.get("status"):
            self.writes += 1
            self.test = json.loads(json.dumps({**self.test, "status": done.status}))
        return done

    def settle(self, passes: int = 10) -> None:
        """Passes and routers that do what they are told, until both rest."""
        for _ in range(passes):
            before = self.test.get("status", {}).get("router")
            self.step()
            self.obey()
            if self.status.get("router") == before and self.step() and self.condition("TrafficApplied"):
                return

    def wait(self, seconds: float, passes: int = 1) -> None:
        for _ in range(passes):
            self.now += timedelta(seconds=seconds / passes)
            self.step()

    def annotate(self, **notes: str) -> None:
        self.test["metadata"]["annotations"] = {f"trimtab.dev/{name}": value for name, value in notes.items()}

    def edit(self, **spec: Any) -> None:
        self.test = crdcheck.defaulted({**self.test, "spec": {**self.test["spec"], **spec}})
        self.test["metadata"]["generation"] += 1

    # What everybody else does.

    def obey(self) -> None:
        """Every router that listens applies what the status tells."""
        if "router" not in self.status:
            return
        told = self.told()
        for pod in self.routers:
            uid = pod["metadata"]["uid"]
            if uid in self.deaf:
                continue
            known = self.sources.router_reports.get(uid)
            self.sources.router_reports[uid] = RouterReport(
                pod=uid,
                epoch=known.epoch if known else "e1",
                clusters_version=told.clusters_version,
                routes_version=told.routes_version,
                arms=known.arms if known else {},
                endpoints={arm.name: 1 for arm in told.arms},
            )

    def serve(self, arm: str, requests: int, *, errors: int = 0, slow: int = 0, yes: int | None = None) -> None:
        """So many requests of as many users to one arm, and what came of them."""
        uid = next(pod["metadata"]["uid"] for pod in self.routers if pod["metadata"]["uid"] not in self.deaf)
        report = self.sources.router_reports[uid]
        old = report.arms.get(arm, ArmCounts(latency=Cells((0.1,), (0, 0))))
        quick, late = old.latency.counts
        latency = Cells((0.1,), (quick + requests - slow, late + slow))
        counts = ArmCounts(old.requests + requests, old.errors + errors, latency)
        self.sources.router_reports[uid] = replace(report, arms={**report.arms, arm: counts})
        self._predict(f"uid-pod-{arm}", requests - errors, yes)

    def forget_users(self, arm: str) -> None:
        """The pod has not been told who its users were."""
        uid = f"uid-pod-{arm}"
        self.sources.model_reports[uid] = replace(self.sources.model_reports[uid], buckets=(Bucket(),) * BUCKETS)

    def tell(self, arm: str, feedback: int) -> None:
        """So many reports of outcomes, by way of the routers."""
        uid = next(pod["metadata"]["uid"] for pod in self.routers if pod["metadata"]["uid"] not in self.deaf)
        report = self.sources.router_reports[uid]
        counts = replace(report.arms[arm], requests=report.arms[arm].requests + feedback)
        self.sources.router_reports[uid] = replace(report, arms={**report.arms, arm: counts})

    def traffic(self, requests: int, yes: Mapping[str, float] | None = None, **more: Mapping[str, float]) -> None:
        """Requests of all arms by their weights; each of the maps gives an arm's rate of something."""
        rates = {name: dict(rate) for name, rate in more.items()}
        for arm, percent in self.weights().items():
            count = requests * percent // 100
            if count:
                events = {name: round(count * rate.get(arm, 0)) for name, rate in rates.items()}
                self.serve(arm, count, yes=round(count * yes.get(arm, 0)) if yes else None, **events)

    def restart_pod(self, arm: str) -> None:
        """The model server's counts begin anew."""
        uid = f"uid-pod-{arm}"
        lives = int(self.sources.model_reports[uid].epoch.removeprefix("e"))
        self.sources.model_reports[uid] = replace(self._silence(arm), epoch=f"e{lives + 1}")

    def vanish(self, arm: str) -> None:
        del self.deployments[arm]

    def fall(self, arm: str) -> None:
        """No pod of the arm is ready."""
        obj = self.deployments[arm]
        obj["status"]["revisions"][0]["available"] = 0
        obj["status"]["conditions"] = [condition("Ready", "False", "CrashLooping", "it ended with exit code 1")]

    def rise(self, arm: str, revision: int = 0) -> None:
        self.deployments[arm] = self._deployment(arm, revision)

    def _predict(self, uid: str, requests: int, yes: int | None) -> None:
        """Rows fall to the buckets as users of a good hash do: by chance."""
        report = self.sources.model_reports[uid]
        rows, outcomes, total = ([0] * BUCKETS for _ in range(3))
        for user, place in enumerate(self.dice.choices(range(BUCKETS), k=requests)):
            rows[place] += 1
            if yes is not None:
                outcomes[place] += 1
                total[place] += user < yes
        added = zip(report.buckets, rows, outcomes, total, strict=True)
        buckets = tuple(Bucket(b.rows + r, b.outcomes + o, b.total + t, b.squares + t) for b, r, o, t in added)
        self.sources.model_reports[uid] = replace(
            report,
            requests=report.requests + requests,
            answered=report.answered + requests,
            rows=report.rows + requests,
            buckets=buckets,
        )

    def _silence(self, arm: str) -> ModelReport:
        return ModelReport(f"uid-pod-{arm}", "e1", f"r-{arm}", buckets=(Bucket(),) * BUCKETS)

    def _deployment(self, arm: str, revision: int = 0) -> Object:
        name, row = f"mdep-{arm}", {"name": f"rev{revision}{arm}", "digest": digest(ord(arm)), "available": 1}
        status = {"serving": row["name"], "revisions": [row], "conditions": [condition("Ready", "True", "Reconciled")]}
        bare = {"apiVersion": API_VERSION, "kind": "ModelDeployment", "metadata": meta(name), "spec": {}}
        return {**bare, "status": status}

    def _arm_pod(self, arm: str) -> Object:
        mdep = self.deployments.get(arm)
        revision = mdep["status"]["serving"] if mdep else "gone"
        labels = {metadata.DEPLOYMENT: f"mdep-{arm}", metadata.REVISION: revision}
        return self._pod(f"pod-{arm}", labels)

    def _router(self, name: str) -> Object:
        """Younger than the run it is made for."""
        pod = self._pod(name, {metadata.ROUTER: "exp"})
        pod["metadata"]["creationTimestamp"] = conditions.timestamp(START + timedelta(seconds=1))
        return pod

    def _pod(self, name: str, labels: Mapping[str, str]) -> Object:
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": conditions.timestamp(START)}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {**meta(name), "namespace": NAMESPACE, "labels": dict(labels)},
            "status": {"phase": "Running", "conditions": [ready]},
        }
