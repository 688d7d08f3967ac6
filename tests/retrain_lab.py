"""The whole loop in a bottle: a run is asked for, Jobs train, grade and import, a deployment rolls out, MLflow is told.

All four kinds are real, over an API server in memory. Trainers, evaluators, imports, kubelets, MLflow and the receiver
of messages do at once what they would do. The operator may be killed after any write, and after any effect.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from tests import crdcheck
from tests.memory_cluster import Call
from tests.memory_operator import PLATFORM, MemoryNotifier, MemoryOperator, MemoryRegistry, MemoryTracking
from tests.rollout_lab import MODEL, SPACE, Lab, digest, named
from tests.unit.kinds import kubelet
from tests.unit.kinds.builders import import_result
from trimtab.core import metadata
from trimtab.core.conditions import timestamp
from trimtab.core.objects import Object, Ref
from trimtab.core.plan import Notice
from trimtab.kinds.retrainschedule.observe import Tracked

SCHEDULE = Ref("RetrainSchedule", SPACE, "weekly")
EXPERIMENT = f"{SPACE}/weekly"
CHAMPION = ("credit", "champion")
EVENTS = ["RunFailed", "Rejected", "Promoted", "RolledBack"]
HOLDOUT = {"uri": "s3://data/holdout.parquet", "digest": f"sha256:{'d' * 64}", "target": "default"}
PASSED = {"schema": 1, "verdict": "Passed", "reason": "NonInferior", "message": "it is no worse"}
REJECTED = {"schema": 1, "verdict": "Rejected", "reason": "Worse", "message": "it is worse by 0.1"}


class _Mlflow(MemoryRegistry):
    """MLflow outlives operators; a test may hear of each change, and count them."""

    def __init__(self, changed: Callable[[], None]) -> None:
        super().__init__()
        self.told: Counter[str] = Counter()
        self._changed = changed

    async def set_alias(self, model: str, alias: str, version: str, seconds: float) -> None:
        await super().set_alias(model, alias, version, seconds)
        self.told[f"{model}@{alias}={version}"] += 1
        self._changed()

    async def set_tags(self, model: str, version: str, tags: Mapping[str, str], seconds: float) -> None:
        await super().set_tags(model, version, tags, seconds)
        self.told[f"{model}/{version} tags"] += 1
        self._changed()


class _Notifier(MemoryNotifier):
    """One process's memory of messages, before a receiver that outlives it."""

    def __init__(self, received: list[Notice], changed: Callable[[], None]) -> None:
        super().__init__()
        self._received, self._changed = received, changed

    def send(self, notice: Notice, look_again: Callable[[], None]) -> None:
        if notice.key not in self.sent:
            self._received.append(notice)
        super().send(notice, look_again)
        self._changed()


class RetrainLab(Lab):
    """One RetrainSchedule, its MLModel and a ModelDeployment, and everybody around them."""

    def __init__(self, rollout: Mapping[str, Any] | None = None, **spec: Any) -> None:
        self.mlflow = _Mlflow(self._counted)
        self.mlflow.versions[CHAMPION] = "1"
        self.tracking = MemoryTracking(self.mlflow)
        self.received: list[Notice] = []
        self.made: Counter[str] = Counter()
        self.verdict: Object = PASSED
        self.refused: set[int] = set()
        self.next_version = 2
        super().__init__(rollout)
        gate = {"metric": "Accuracy", "holdout": HOLDOUT}
        template = {"image": "registry.example/train:1", "command": ["python", "train.py"]}
        notify = [{"channel": "slack", "events": EVENTS}]
        given = {"model": "credit", "job": {"template": template}, "gate": gate, "notify": notify, **spec}
        self.cluster.put(crdcheck.defaulted({**named(SCHEDULE), "spec": given}))

    # What the test does.

    def restart(self) -> None:
        """A new process, with nothing but what the API server tells it."""
        self.operator = MemoryOperator(
            self.cluster,
            self.mlflow,
            clock=self.clock,
            platform=PLATFORM,
            counts=self.counts,
            notifier=_Notifier(self.received, self._counted),
            tracking=self.tracking,
        )
        self.operator.look()

    def ask(self, word: str) -> None:
        """Annotate for a run by hand."""
        self.cluster.edit(SCHEDULE, lambda obj: obj["metadata"]["annotations"].update({metadata.RUN: word}))

    def live(self, done: Callable[[], bool], seconds: int = 2) -> None:
        """Live until it is so, in steps of so many seconds, and a little longer."""
        for _ in range(120):
            if done() and self.kill_in is None:
                break
            self.run(seconds, 100, pace=seconds / 2)
        self.run(60, pace=15)

    # What the test looks at.

    def outcome(self) -> str:
        """How the last run ended, or how far it is."""
        return str(self._status(SCHEDULE).get("lastOutcome", ""))

    def model(self) -> tuple[str, str]:
        """The version that is current, and the reference the source stands for."""
        status = self._status(MODEL)
        return str(status.get("version", "")), str(status.get("resolvedUri", ""))

    def candidate(self) -> str:
        return str((self._status(SCHEDULE).get("candidate") or {}).get("version", ""))

    def runs(self) -> list[Object]:
        found: list[Object] = self._status(SCHEDULE).get("runs", [])
        return found

    # Everybody else.

    def _status(self, ref: Ref) -> Object:
        found: Object = self.cluster.objects[ref].get("status", {})
        return found

    def _model(self, current: int) -> Object:
        return crdcheck.defaulted({**named(MODEL), "spec": {"source": {"uri": "models:/credit@champion"}}})

    def _act(self) -> None:
        for ref, job in sorted(self.cluster.objects.items()):
            if ref.kind == "Job" and not job.get("status"):
                self._end(ref, job)
        super()._act()

    def _end(self, ref: Ref, job: Object) -> None:
        """A Job's one pod does its work, and the Job is over."""
        labels = job["spec"]["template"]["metadata"]["labels"]
        part = labels["app.kubernetes.io/component"]
        words = {"import": self._imported, "trainer": self._trained, "evaluator": lambda job: self.verdict}[part](job)
        failed = "verdict" not in words and "reason" in words
        state = kubelet.ended(10 if failed else 0, json.dumps(words))
        name = job["spec"]["template"]["spec"]["containers"][0]["name"]
        self.cluster.put(kubelet.pod(f"{ref.name}-x", labels, kubelet.container(state, name=name), phase="Succeeded"))
        at = timestamp(self.clock.now)
        told = {"type": "Failed" if failed else "Complete", "status": "True", "lastTransitionTime": at}
        told |= {"reason": "PodFailurePolicy" if failed else "CompletionsReached", "message": "it is over"}
        self.cluster.edit(ref, lambda obj: obj.update(status={"conditions": [told]}))

    def _imported(self, job: Object) -> Object:
        version = int(_variable(job, "TRIMTAB_SOURCE_URI").rpartition("/")[2])
        if version in self.refused:
            return {"schema": 1, "reason": "PickleRefused", "message": "model.pkl runs code"}
        return {**import_result(version), "digest": digest(version)}

    def _trained(self, job: Object) -> Object:
        """The trainer registers a version. Started twice for one run, it would find its own."""
        run, name = _variable(job, "TRIMTAB_RUN_ID"), _variable(job, "MLFLOW_EXPERIMENT_NAME")
        if (name, run) not in self.tracking.runs:
            self.tracking.runs[name, run] = Tracked("abc", "FINISHED", "10 of 10", {"auc": 0.9}, str(self.next_version))
            self.next_version += 1
        return {"schema": 1, "version": self.tracking.runs[name, run].version}

    def _written(self, call: Call) -> None:
        if call.ref.kind == "Job" and call.verb == "apply" and call.changed:
            self.made[call.ref.name] += 1
        if call.ref in (SCHEDULE, MODEL) and call.verb == "status":
            assert crdcheck.violations(self.cluster.objects[call.ref]) == [], "the API server would not take this"
        super()._written(call)


def _variable(job: Object, name: str) -> str:
    entries = job["spec"]["template"]["spec"]["containers"][0]["env"]
    return next(str(entry["value"]) for entry in entries if entry["name"] == name)
