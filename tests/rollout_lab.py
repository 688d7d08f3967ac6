"""A deployment in a bottle: its model gets new versions, its pods start or crash, routers obey, users ask.

The operator's parts are real, the API server is in memory, routers do at once what status tells them. The laws of a
rollout are checked at the very write that would break them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from tests import crdcheck
from tests.memory_cluster import Call, MemoryCluster
from tests.memory_operator import PLATFORM, Clock, MemoryOperator, MemorySources
from tests.unit.kinds import kubelet
from trimtab.core import metadata
from trimtab.core.objects import API_VERSION, Object, Ref
from trimtab.core.platform import Platform
from trimtab.evidence.sources import ArmCounts, Cells, ModelReport, RouterReport, SmokeReport
from trimtab.traffic.change import live
from trimtab.traffic.state import SLOTS, RouterStatus

SPACE = "team-a"
MODEL, MDEP = Ref("MLModel", SPACE, "credit"), Ref("ModelDeployment", SPACE, "risk")
FRONT = Ref("Service", SPACE, "risk")
ROUTERS = Ref("Deployment", SPACE, "risk-router")
EDGES = (0.01, 0.1, 1.0)


class Killed(BaseException):
    """The operator's process ended here."""


def digest(version: int) -> str:
    return f"sha256:{version:064x}"


class Lab:
    """One ModelDeployment and everybody around it."""

    platform: Platform = PLATFORM

    def __init__(self, rollout: Mapping[str, Any] | None = None, **spec: Any) -> None:
        self.cluster, self.clock, self.counts = MemoryCluster(), Clock(), MemorySources()
        self.cluster.after = self._written
        self.kill_in: int | None = None
        self.writes = 0
        self._judged: set[object] = set()
        self.crashing: set[int] = set()
        self.failing: dict[int, float] = {}
        self.slow: dict[int, float] = {}
        self.deaf: set[str] = set()
        self.blind = False
        self.unfit: dict[int, str] = {}
        self._sent: Counter[tuple[str, str]] = Counter()
        self._fraction: Counter[str] = Counter()
        self.told: set[int] = {0, 100}
        self.cluster.put(self._model(1))
        given = {"model": {"name": "credit"}, "replicas": 4, "rollout": dict(rollout or {}), **spec}
        self.cluster.put(crdcheck.defaulted({**named(MDEP), "spec": given}))
        self.told |= {step["weight"] for step in given["rollout"].get("steps", ())} or {5, 25, 50}
        self.restart()

    # What the test does.

    def restart(self) -> None:
        """A new process, with nothing but what the API server tells it."""
        # Models and experiments are what the test says they are; nobody else looks at them.
        self.operator = MemoryOperator(
            self.cluster, clock=self.clock, platform=self.platform, counts=self.counts, kinds=(MDEP.kind,)
        )
        self.operator.look()

    def deploy(self, version: int) -> None:
        """Another version becomes current."""
        self.cluster.put(self._model(version))

    def note(self, **notes: str) -> None:
        """Set annotations; an empty value takes one away."""
        names = {f"trimtab.dev/{name.replace('_', '-')}": value for name, value in notes.items()}
        kept = self.cluster.objects[MDEP]["metadata"].get("annotations", {})
        given = {name: value for name, value in {**kept, **names}.items() if value}
        self.cluster.edit(MDEP, lambda obj: obj["metadata"].update(annotations=given))

    def spec(self, **fields: Any) -> None:
        self.cluster.edit(MDEP, lambda obj: obj["spec"].update(fields))

    def run(self, seconds: float, requests: float = 0, pace: float = 1.0) -> None:
        """Let everybody live for so long, with so many requests a second."""
        for _ in range(round(seconds / pace)):
            self._act()
            self._answer(requests * pace)
            self._work(pace)

    def until(self, verdict: str, requests: float = 100, seconds: int = 200) -> None:
        """Live until the rollout is there."""
        for _ in range(seconds):
            if str(self.rollout.get("verdict", "")).startswith(verdict):
                return
            self.run(1, requests)
        raise AssertionError(f"never {verdict}: {self.rollout.get('verdict')}: {self.condition()}")

    # What the test looks at.

    @property
    def status(self) -> Object:
        found: Object = self.cluster.objects[MDEP].get("status", {})
        return found

    @property
    def rollout(self) -> Object:
        found: Object = self.status.get("rollout", {})
        return found

    def condition(self) -> tuple[str, str, str]:
        """Ready: its status, reason and message."""
        ready = next(item for item in self.status["conditions"] if item["type"] == "Ready")
        return ready["status"], ready["reason"], ready["message"]

    def name(self, version: int) -> str:
        """The revision that serves a version."""
        return next(row["name"] for row in self.status["revisions"] if row["version"] == str(version))

    def serving(self) -> int:
        return int(self.status["version"])

    def weights(self) -> dict[int, int]:
        """What routers are told, by version, in percent; nobody without weight."""
        versions = {f"r{row['name']}": int(row["version"]) for row in self.status["revisions"]}
        weights = self.router().weights()
        return {versions[arm]: slots * 100 // SLOTS for arm, slots in weights.items() if slots}

    def router(self) -> RouterStatus:
        return RouterStatus.model_validate(self.status["router"])

    def pods(self) -> dict[int, int]:
        """The wanted pods of each version that has a Deployment."""
        return {self._version(obj): obj["spec"]["replicas"] for obj in self._deployments()}

    def fronted(self) -> str:
        """Whom the front selects: `routers`, or a version."""
        selector = self.cluster.objects[FRONT]["spec"]["selector"]
        if metadata.ROUTER in selector:
            return "routers"
        owner = self.cluster.objects.get(Ref("Deployment", SPACE, f"risk-{selector[metadata.REVISION]}"))
        return str(self._version(owner)) if owner else "nobody"

    def history(self) -> list[tuple[str, str, str]]:
        return [(row["version"], row["outcome"], row["reason"]) for row in self.status.get("history", ())]

    # Everybody else.

    def _model(self, current: int) -> Object:
        entries = [
            {"digest": digest(number), "version": str(number), "runtime": "onnx", "approved": True}
            for number in range(1, 10)
        ]
        status = {"current": digest(current), "version": str(current), "revisions": entries}
        return {**named(MODEL), "spec": {}, "status": status}

    def _deployments(self) -> list[Object]:
        """The revisions' Deployments."""
        return [obj for ref, obj in sorted(self.cluster.objects.items()) if ref.kind == "Deployment" and ref != ROUTERS]

    def _version(self, workload: Object) -> int:
        return int(workload["metadata"]["annotations"]["trimtab.dev/version"])

    def _act(self) -> None:
        """Autoscalers, controllers and kubelets finish their work."""
        for ref, obj in sorted(self.cluster.objects.items()):
            if ref.kind == "HorizontalPodAutoscaler":
                self._scale(Ref("Deployment", SPACE, ref.name), obj["spec"])
        for ref in [ref for ref in sorted(self.cluster.objects) if ref.kind == "Deployment"]:
            self._start(ref)
        self._obey()

    def _scale(self, ref: Ref, spec: Object) -> None:
        if ref in self.cluster.objects:
            wanted = min(max(self.cluster.objects[ref]["spec"]["replicas"], spec["minReplicas"]), spec["maxReplicas"])
            self.cluster.edit(ref, lambda obj: obj["spec"].update(replicas=wanted))

    def _start(self, ref: Ref) -> None:
        workload = self.cluster.objects[ref]
        wanted = workload["spec"]["replicas"]
        sick = ref != ROUTERS and self._version(workload) in self.crashing
        labels = workload["spec"]["template"]["metadata"]["labels"]
        names = {f"{ref.name}-{number}" for number in range(wanted)}
        for gone in [r for r in self.cluster.objects if r.kind == "Pod" and _set(r.name) == ref.name]:
            if gone.name not in names:
                self.cluster.remove(gone)
        for name in sorted(names):
            self.cluster.put(_pod(name, labels, workload, sick))
        status = {"observedGeneration": workload["metadata"]["generation"], "replicas": wanted}
        ready = 0 if sick else wanted
        self.cluster.edit(ref, lambda obj: obj.update(status={**status, "availableReplicas": ready}))

    def _obey(self) -> None:
        """Routers do as they are told, but for the deaf ones; model pods answer their example."""
        told = self.cluster.objects[MDEP].get("status", {}).get("router")
        for pod in self._pods(metadata.ROUTER):
            uid = pod["metadata"]["uid"]
            if told and pod["metadata"]["name"] not in self.deaf:
                known = RouterStatus.model_validate(told)
                self._apply(uid, known)
        for pod in self._pods(metadata.DEPLOYMENT):
            uid, version = pod["metadata"]["uid"], self._of(pod)
            self.counts.smoke_reports[uid] = SmokeReport(
                uid, version not in self.unfit, 0.1, self.unfit.get(version, "")
            )

    def _apply(self, uid: str, known: RouterStatus) -> None:
        before = self.counts.router_reports.get(uid)
        self.counts.router_reports[uid] = RouterReport(
            pod=uid,
            epoch="1",
            clusters_version=known.clusters_version,
            routes_version=known.routes_version,
            arms=before.arms if before else {},
            shadows=before.shadows if before else {},
            endpoints={arm.name: 0 if self.blind else self._ready(arm.revision) for arm in known.arms},
        )

    def _ready(self, revision: str) -> int:
        workload = self.cluster.objects.get(Ref("Deployment", SPACE, f"risk-{revision}"), {})
        return int(workload.get("status", {}).get("availableReplicas", 0))

    def _pods(self, label: str) -> list[Object]:
        found = [obj for ref, obj in sorted(self.cluster.objects.items()) if ref.kind == "Pod"]
        return [pod for pod in found if label in pod["metadata"]["labels"] and live(pod)]

    def _of(self, pod: Object) -> int:
        name = pod["metadata"]["labels"][metadata.REVISION]
        return self._version(self.cluster.objects[Ref("Deployment", SPACE, f"risk-{name}")])

    def _answer(self, requests: float) -> None:
        """So many requests arrive at the front, and copies at the shadow."""
        if not requests or FRONT not in self.cluster.objects:
            return
        if self.fronted() != "routers":
            for pod in self._pods(metadata.DEPLOYMENT):
                if str(self._of(pod)) == self.fronted():
                    self._count_pod(pod, requests / 4)
            return
        routers = [pod["metadata"]["uid"] for pod in self._pods(metadata.ROUTER)]
        told = self.router()
        versions = {
            f"r{obj['metadata']['name'].removeprefix('risk-')}": self._version(obj) for obj in self._deployments()
        }
        for uid in routers:
            for arm, slots in told.weights().items():
                self._count(uid, "arms", arm, versions.get(arm, 0), requests * slots / SLOTS / len(routers))
            if told.shadow is not None:
                copies = requests * told.shadow.percent / 100 / len(routers)
                self._count(uid, "shadows", told.shadow.arm, versions.get(told.shadow.arm, 0), copies)

    def _count(self, uid: str, where: str, arm: str, version: int, requests: float) -> None:
        whole = self._whole(f"{uid}{where}{arm}", requests)
        errors = self._whole(f"{uid}{where}{arm}!", whole * self.failing.get(version, 0))
        slow = self._whole(f"{uid}{where}{arm}~", whole * self.slow.get(version, 0))
        report = self.counts.router_reports[uid]
        arms = dict(getattr(report, where))
        had = arms.get(arm, ArmCounts(latency=Cells(EDGES, (0, 0, 0, 0))))
        cells = Cells(EDGES, tuple(a + b for a, b in zip(had.latency.counts, (whole - slow, 0, slow, 0), strict=True)))
        arms[arm] = ArmCounts(had.requests + whole, had.errors + errors, cells)
        fields = {name: getattr(report, name) for name in report.__dataclass_fields__}
        self.counts.router_reports[uid] = RouterReport(**{**fields, where: arms})

    def _count_pod(self, pod: Object, requests: float) -> None:
        uid, version = pod["metadata"]["uid"], self._of(pod)
        whole = self._whole(uid, requests)
        errors = self._whole(f"{uid}!", whole * self.failing.get(version, 0))
        had = self.counts.model_reports.get(uid, ModelReport(uid, "1", "r"))
        self.counts.model_reports[uid] = ModelReport(uid, "1", "r", had.requests + whole, had.errors + errors)

    def _whole(self, key: str, amount: float) -> int:
        """Whole numbers that add up to what was asked for."""
        self._fraction[key] += amount  # type: ignore[assignment]
        whole = int(self._fraction[key] + 1e-9)
        self._fraction[key] -= whole
        return whole

    def _work(self, seconds: float) -> None:
        try:
            self.operator.hear()
            self.operator.wait(seconds)
        except Killed:
            self.restart()
            self.operator.work()

    # The laws.

    def _written(self, call: Call) -> None:
        if call.verb in ("get", "list"):
            return
        if call.ref == MDEP and call.verb == "status":
            self._status_written()
        if call.verb == "delete" and call.ref.kind == "Deployment" and call.changed and call.ref != ROUTERS:
            gone = call.ref.name.removeprefix("risk-")
            assert self.cluster.objects[FRONT]["spec"]["selector"].get(metadata.REVISION) != gone
            arms = (self.status.get("router") or {"arms": []})["arms"]
            assert gone not in {arm["revision"] for arm in arms}, "routers still know the pods that were deleted"
        if call.changed:
            self._counted()

    def _counted(self) -> None:
        """Something was changed, after which the operator may die."""
        self.writes += 1
        if self.kill_in is not None:
            self.kill_in -= 1
            if self.kill_in <= 0:
                self.kill_in = None
                raise Killed

    def _status_written(self) -> None:
        obj = self.cluster.objects[MDEP]
        stage = (self.rollout.get("stage"), self.rollout.get("step"), len(self.status.get("history", ())))
        if stage not in self._judged:  # it takes long, and the form changes with the stage
            self._judged.add(stage)
            assert crdcheck.violations(obj) == [], "the API server would not take this status"
        assert sum(row["weight"] for row in self.status["revisions"]) in (0, 100)
        if not self.status.get("router"):
            return
        for arm in self.router().arms:
            percent = arm.weight * 100 // SLOTS
            assert percent in self.told | {100 - weight for weight in self.told}, "a weight that nobody asked for"
            if arm.name != self.router().control and arm.weight:
                held = self.operator.store.get(Ref("Deployment", SPACE, f"risk-{arm.revision}")) or {}
                assert held.get("status", {}).get("availableReplicas", 0), "a revision without pods has traffic"


def named(ref: Ref) -> Object:
    meta = {"name": ref.name, "namespace": ref.namespace, "annotations": {}}
    return {"apiVersion": API_VERSION, "kind": ref.kind, "metadata": meta}


def _set(pod: str) -> str:
    return pod.rpartition("-")[0]


def _pod(name: str, labels: Mapping[str, str], workload: Object, sick: bool) -> Object:
    container = (
        kubelet.crash_looping(kubelet.ended(1, "no weights"))
        if sick
        else kubelet.container(kubelet.STARTED, ready=True)
    )
    pod = kubelet.pod(name, labels, container, phase="Running")
    pod["status"]["conditions"].append({"type": "Ready", "status": "False" if sick else "True"})
    pod["status"]["podIP"] = "10.0.0.1"
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": workload["metadata"]["name"], "controller": True}
    pod["metadata"]["ownerReferences"] = [{**owner, "uid": workload["metadata"]["uid"]}]
    return pod
