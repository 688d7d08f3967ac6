"""A small world around the operator: controllers that act, versions that come, and laws watched at each write.

The operator's parts are real, the API server is in memory. What breaks a law is an AssertionError at the very write
that breaks it, not a wrong state some steps later.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests import crdcheck
from tests.memory_cluster import Call, MemoryCluster
from tests.memory_operator import PLATFORM, Clock, MemoryOperator, MemoryRegistry
from trimtab.core.metadata import MODEL as MODEL_LABEL
from trimtab.core.objects import API_VERSION, Object, Ref
from trimtab.kinds.mlmodel.children import IMPORT_KEY

SPACE = "ns"
MODEL = Ref("MLModel", SPACE, "credit")
MDEP = Ref("ModelDeployment", SPACE, "risk")
FRONT = Ref("Service", SPACE, "risk")
REVISION = "trimtab.dev/revision"
CHILDREN = ("Deployment", "Service", "HorizontalPodAutoscaler", "NetworkPolicy", "PodDisruptionBudget", "Job")


class Killed(BaseException):
    """The operator's process ended here."""


def digest(version: str) -> str:
    return f"sha256:{int(version):064x}"


class World:
    """One model, one deployment of it, and everybody else."""

    def __init__(self) -> None:
        self.cluster = MemoryCluster()
        self.cluster.after = self._written
        self.registry, self.clock = MemoryRegistry(), Clock()
        self.registry.versions[("credit", "champion")] = "1"
        self.broken_imports: set[str] = set()
        self.broken_pods: set[str] = set()
        self.kill_in: int | None = None
        self._known_good: set[str] = set()
        self._approved: set[str] = set()
        self._served = ""
        self._judged: set[str] = set()
        self.cluster.put(_object(MODEL, {"source": {"uri": "models:/credit@champion"}}))
        self.cluster.put(_object(MDEP, {"model": {"name": "credit"}, "replicas": 2}))
        self.restart()

    # The operator.

    def restart(self) -> None:
        """A new process, with nothing but what the API server tells it."""
        self.operator = MemoryOperator(self.cluster, self.registry, self.clock, PLATFORM)
        self.operator.look()

    def work(self) -> None:
        """Let the operator do all it wants to; if it is killed on the way, another takes its place."""
        try:
            self.operator.work()
        except Killed:
            self.restart()

    # Everybody else.

    def act(self) -> None:
        """Controllers and kubelets do one round of their work."""
        for ref in sorted(self.cluster.objects):
            if ref in self.cluster.objects:
                ROUNDS.get(ref.kind, _nothing)(self, ref)

    def version(self) -> str:
        return self.registry.versions["credit", "champion"]

    def get(self, ref: Ref) -> Object:
        return self.cluster.objects[ref]

    def status(self, ref: Ref) -> Object:
        found: Object = self.get(ref).get("status", {})
        return found

    def digests(self) -> set[str]:
        """The bundles that the model's status knows."""
        return {revision["digest"] for revision in self.status(MODEL).get("revisions", ())}

    def deployments(self) -> dict[str, Object]:
        """Deployments by revision, as the API server has them."""
        return {
            ref.name.removeprefix("risk-"): obj for ref, obj in self.cluster.objects.items() if ref.kind == "Deployment"
        }

    def children(self) -> list[Ref]:
        return sorted(ref for ref in self.cluster.objects if ref.kind in CHILDREN)

    def selected(self) -> str:
        """Whom the front selects; nobody if there is none."""
        front = self.cluster.objects.get(FRONT, {"spec": {}})
        return str(front["spec"].get("selector", {}).get(REVISION, ""))

    # The laws.

    def _written(self, call: Call) -> None:
        if call.verb in ("get", "list"):
            return
        if call.ref == FRONT and call.verb == "apply" and call.changed:
            self._front_moved()
        if call.ref.kind == "Deployment" and call.verb == "delete" and call.changed:
            gone = call.ref.name.removeprefix("risk-")
            assert gone != self.selected(), f"{gone} was deleted while the front sends traffic to it"
            assert gone != self.status(MDEP).get("serving"), f"{gone} was deleted while it serves"
        if call.verb == "status":
            self._status_written(call.ref)
        if self.kill_in is not None:
            self.kill_in -= 1
            if self.kill_in <= 0:
                self.kill_in = None
                raise Killed

    def _front_moved(self) -> None:
        """Judged by what the operator could know: its own memory."""
        chosen, serving = self.selected(), self.status(MDEP).get("serving", "")
        pods = {name: _available(self._remembered(name)) for name in self.deployments()}
        if chosen == serving or pods.get(chosen, 0) >= self._enough(serving):
            return
        before = pods.get(serving, 0) if serving else max(pods.values(), default=0)
        assert pods.get(chosen, 0) >= before, (
            f"the front was given to {chosen}: {pods}, serving {serving}, enough {self._enough(serving)}"
        )

    def _remembered(self, revision: str) -> Object:
        return self.operator.store.get(Ref("Deployment", SPACE, f"risk-{revision}")) or {}

    def _enough(self, serving: str) -> int:
        spec = (self.operator.store.get(MDEP) or self.get(MDEP))["spec"]
        scaling = spec.get("autoscaling")
        if not scaling:
            return int(spec["replicas"])
        there = self._remembered(serving).get("status", {}).get("replicas", 0)
        return int(min(max(there, scaling["minReplicas"]), scaling["maxReplicas"]))

    def _status_written(self, ref: Ref) -> None:
        obj = self.get(ref)
        text = json.dumps(obj["status"], sort_keys=True)
        if text not in self._judged:
            self._judged.add(text)
            whole = {**obj, "status": obj["status"]}
            assert crdcheck.violations(whole) == [], "the API server would not take this status"
            assert obj["status"]["conditions"][0]["type"] == "Ready"
        if ref == MODEL:
            self._current_is_good(obj["status"])
            self._approved_by_somebody(obj["status"])
        elif obj["status"]["serving"] != self._served:
            before, self._served = self._served, obj["status"]["serving"]
            front = self.operator.store.get(FRONT) or {"spec": {"selector": {}}}
            follows = front["spec"]["selector"].get(REVISION, "") == self._served
            assert follows or not before, f"{self._served} is said to serve, but the front does not know"

    def _current_is_good(self, status: Object) -> None:
        current = status["current"]
        assert current or not self._known_good, "what was current was given up"
        if current:
            entry = [r for r in status["revisions"] if r["digest"] == current]
            assert entry, f"{current} is current but not among the revisions"
            assert all(r["approved"] for r in entry), f"{current} is current but not approved"
            self._known_good.add(current)

    def _approved_by_somebody(self, status: Object) -> None:
        model = self.operator.store.get(MODEL) or self.get(MODEL)
        note = model["metadata"].get("annotations", {}).get("trimtab.dev/approve")
        for entry in status["revisions"]:
            if entry["approved"] and entry["digest"] not in self._approved:
                assert model["spec"]["approval"] == "Auto" or entry["digest"] == note, "nobody approved this"
                self._approved.add(entry["digest"])

    def wipe(self, ref: Ref) -> None:
        """Lose a status; nobody can hold the operator to what was in it."""
        self.cluster.edit(ref, lambda obj: obj.pop("status", None))
        if ref == MODEL:
            self._known_good.clear()
        else:
            self._served = ""


def _object(ref: Ref, spec: Object) -> Object:
    meta = {"name": ref.name, "namespace": ref.namespace, "annotations": {}}
    bare = {"apiVersion": API_VERSION, "kind": ref.kind, "metadata": meta, "spec": spec}
    return crdcheck.defaulted(bare)


def _available(workload: Object) -> int:
    return int(workload.get("status", {}).get("availableReplicas", 0))


def _nothing(_: World, __: Ref) -> None:
    """What is not a workload needs nobody to act."""


def _deployment_round(world: World, ref: Ref) -> None:
    """One more pod gets ready in each round, unless the bundle is bad; those beyond the wanted number go."""

    def work(obj: Object) -> None:
        wanted, there = obj["spec"]["replicas"], _available(obj)
        bad = obj["metadata"]["annotations"].get("trimtab.dev/digest") in world.broken_pods
        ready = 0 if bad else min(wanted, there + 1)
        obj["status"] = {
            "observedGeneration": obj["metadata"]["generation"],
            "replicas": wanted,
            "availableReplicas": ready,
        }

    world.cluster.edit(ref, work)


def _scaler_round(world: World, ref: Ref) -> None:
    spec = world.get(ref)["spec"]
    target = Ref("Deployment", SPACE, spec["scaleTargetRef"]["name"])
    if target in world.cluster.objects:
        now = world.get(target)["spec"]["replicas"]
        wanted = min(max(now, spec["minReplicas"]), spec["maxReplicas"])
        world.cluster.edit(target, lambda obj: obj["spec"].update(replicas=wanted))


def _job_round(world: World, ref: Ref) -> None:
    job = world.get(ref)
    if job.get("status", {}).get("conditions"):
        return
    version = _env(job)["TRIMTAB_SOURCE_URI"].rpartition("/")[2]
    bad = version in world.broken_imports
    words: Object = {"schema": 1, "digest": digest(version), "format": "MLflow", "runtime": "onnx", "sizeBytes": 9}
    if bad:
        words = {"schema": 1, "reason": "LoadFailed", "message": "the model cannot be loaded"}
    labels = {**job["metadata"]["labels"], MODEL_LABEL: "credit"}
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": ref.name, "uid": job["metadata"]["uid"]}
    name = f"{ref.name}-x"
    meta = {"name": name, "namespace": SPACE, "labels": labels}
    ended = {"exitCode": 10 if bad else 0, "message": json.dumps(words)}
    status = {"phase": "Failed" if bad else "Succeeded", "containerStatuses": [
        {"name": "import", "ready": False, "state": {"terminated": ended}}]}  # fmt: skip
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {**meta, "ownerReferences": [{**owner, "controller": True}]}}
    assert IMPORT_KEY in labels
    if Ref("Pod", SPACE, name) not in world.cluster.objects:
        world.cluster.put({**pod, "spec": {}, "status": status})
    verdict = {"type": "Failed" if bad else "Complete", "status": "True", "reason": "Done", "message": "done"}
    at = world.clock.now.strftime("%Y-%m-%dT%H:%M:%SZ")
    world.cluster.edit(ref, lambda obj: obj.update(status={"conditions": [{**verdict, "lastTransitionTime": at}]}))


def _env(job: Object) -> dict[str, str]:
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return {entry["name"]: entry.get("value", "") for entry in container["env"]}


ROUNDS: dict[str, Callable[[World, Ref], Any]] = {
    "Deployment": _deployment_round,
    "HorizontalPodAutoscaler": _scaler_round,
    "Job": _job_round,
}
