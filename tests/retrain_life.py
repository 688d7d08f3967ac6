"""A RetrainSchedule's whole life on an API server in memory: Jobs run, models roll out, the operator dies at any write.

The operator's parts are real. MLflow, Jobs, the MLModel and its ModelDeployment do what a story says they do. The laws
are checked at the very write that would break them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from tests import crdcheck
from tests.memory_cluster import Call, MemoryCluster
from tests.memory_operator import Clock, MemoryNotifier, MemoryOperator, MemoryRegistry, MemoryTracking
from tests.unit.kinds import kubelet
from tests.unit.kinds.builders import NAMESPACE, digest
from tests.unit.kinds.retrain_lab import DEPLOYMENT, MODEL, schedule_object, trained, verdict
from trimtab.core import conditions, metadata
from trimtab.core.objects import API_VERSION, Object, Ref, condition
from trimtab.kinds.retrainschedule.api import Status
from trimtab.kinds.retrainschedule.children import RUN

SCHEDULE = Ref("RetrainSchedule", NAMESPACE, "weekly")
MODEL_REF = Ref("MLModel", NAMESPACE, MODEL)
DEPLOYMENT_REF = Ref("ModelDeployment", NAMESPACE, DEPLOYMENT)
ALIAS = ("credit", "champion")
TICK = 20
"""Seconds."""
AWAY = 2
"""Ticks until another operator is there."""


class Killed(BaseException):
    """The operator's process ended here."""


@dataclass(frozen=True)
class Story:
    """What a schedule meets."""

    spec: Mapping[str, Any]
    fates: tuple[str, ...] = ("good",)
    """What becomes of each run that trains, in order; the last one goes on. good, reject, fail, skip, lie, rollback."""
    notes: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    """Annotations that are set, by tick."""
    edits: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    """Fields of the spec that are set, by tick."""
    drift: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    """What the deployment says of drift, from that tick on."""
    silent: frozenset[int] = frozenset()
    """Ticks at which MLflow does not answer."""
    jumps: Mapping[int, float] = field(default_factory=dict)
    """Seconds by which the clock is set, by tick."""
    ticks: int = 40


class Life:
    """One schedule from its first write to its last."""

    def __init__(self, story: Story, kill_in: int | None = None) -> None:
        self.story, self.kill_in, self.writes, self.ended = story, kill_in, 0, 0
        self.cluster, self.clock, self.registry = MemoryCluster(), Clock(), MemoryRegistry()
        self.tracking, self.notifier = MemoryTracking(self.registry), MemoryNotifier()
        self.registry.versions[ALIAS] = "1"
        self.next_version, self.tick, self._away = 2, 0, 0
        self.born: Counter[str] = Counter()
        self.versions: Counter[str] = Counter()
        self.judged: Counter[str] = Counter()
        self._fates: dict[str, str] = {}
        self._ages: Counter[str] = Counter()
        self._forms: set[object] = set()
        self.cluster.put(schedule_object("weekly", **story.spec))
        self._put_model("1", [])
        self._put_deployment("1")
        self.cluster.after = self._written
        self._restart()

    @property
    def status(self) -> Status:
        return Status.model_validate(self.cluster.objects[SCHEDULE].get("status", {}))

    def live(self) -> Life:
        """All ticks of the story."""
        for tick in range(self.story.ticks):
            self.tick = tick
            self._people()
            self._jobs()
            self._rollouts()
            self.look()
        return self

    def end(self) -> dict[str, Any]:
        """What must not depend on where the operator was killed."""
        status = self.status
        return {
            "runs": sorted((r.trigger, r.slot, r.stage, r.outcome, r.reason, bool(r.version)) for r in status.runs),
            "alias": self.registry.versions[ALIAS],
            "champion": status.champion.version if status.champion else None,
            "candidate": status.candidate,
            "failures": status.circuit.failures,
            "versions": sum(self.versions.values()),
            "verdicts": sum(self.judged.values()),
            "told": sorted(notice.title for notice in self.notifier.sent.values()),
        }

    def look(self) -> None:
        """The operator, if there is one."""
        self.registry.down = self.tick in self.story.silent
        self._away -= 1
        try:
            if self._away > 0:
                self.clock.advance(TICK)
                return
            if self._away == 0:
                self._restart()
            self.operator.hear()
            self.operator.wait(TICK)
        except Killed:
            self._away = AWAY

    def _restart(self) -> None:
        """A new process, with nothing but what the API server tells it."""
        # The model and its deployment are what the story says they are.
        self.operator = MemoryOperator(
            self.cluster,
            self.registry,
            clock=self.clock,
            tracking=self.tracking,
            notifier=self.notifier,
            kinds=(SCHEDULE.kind,),
        )
        self.operator.look()

    # Everybody else.

    def _people(self) -> None:
        if jump := self.story.jumps.get(self.tick):
            self.clock.now += timedelta(seconds=jump)
        if notes := self.story.notes.get(self.tick):
            self.cluster.edit(SCHEDULE, lambda obj: obj["metadata"].setdefault("annotations", {}).update(notes))
        if edits := self.story.edits.get(self.tick):
            self.cluster.edit(SCHEDULE, lambda obj: obj["spec"].update(edits))

    def _jobs(self) -> None:
        """Jobs end two ticks after they were seen."""
        jobs = [obj for ref, obj in sorted(self.cluster.objects.items()) if ref.kind == "Job"]
        for job in jobs:
            name = job["metadata"]["name"]
            self._ages[name] += 1
            if self._ages[name] == 3:
                if name.endswith("-gate"):
                    self._grade(job)
                else:
                    self._train(job)

    def _train(self, job: Object) -> None:
        run = job["metadata"]["name"]
        fates = self.story.fates
        fate = self._fates.setdefault(run, fates[min(len(self._fates), len(fates) - 1)])
        if fate in ("good", "reject", "rollback"):
            self.versions[run] += 1
            version = str(self.next_version)
            self.next_version += 1
            self.tracking.runs[f"{NAMESPACE}/weekly", run] = trained(version)
            self._end(job, "trainer", 0, {"schema": 1, "version": version})
        elif fate == "lie":
            self._end(job, "trainer", 0, {"schema": 1, "version": "1"})
        elif fate == "skip":
            self._end(job, "trainer", 3, {"schema": 1, "skipped": "no new rows"})
        else:
            self._end(job, "trainer", 11, {"schema": 1, "reason": "TrainingFailed", "message": "a bug"})

    def _grade(self, job: Object) -> None:
        run = job["metadata"]["labels"][RUN]
        self.judged[run] += 1
        self._end(job, "evaluate", 0, verdict("Rejected" if self._fates[run] == "reject" else "Passed"))

    def _end(self, job: Object, container: str, code: int, words: Mapping[str, Any]) -> None:
        labels = job["metadata"]["labels"]
        pod = kubelet.pod(
            f"{job['metadata']['name']}-x",
            {name: labels[name] for name in (metadata.SCHEDULE, RUN, "app.kubernetes.io/component")},
            kubelet.container(kubelet.ended(code, json.dumps(dict(words))), name=container),
            phase="Failed" if code else "Succeeded",
        )
        self.cluster.put(pod)
        at = conditions.timestamp(self.clock.now)
        told = {"type": "Failed" if code else "Complete", "status": "True", "lastTransitionTime": at}
        if code:
            told |= {"reason": "PodFailurePolicy", "message": f"Container {container} failed with exit code {code} x"}
        self.cluster.edit(
            Ref("Job", NAMESPACE, job["metadata"]["name"]), lambda obj: obj.update(status={"conditions": [told]})
        )

    def _rollouts(self) -> None:
        """The model follows candidate or alias, and a tick later the deployment follows the model."""
        model = self.cluster.objects[MODEL_REF]
        current = model["status"]["version"]
        run = next((r for r in self.status.runs if r.stage == "RollingOut"), None)
        candidate = self.status.candidate
        serving = self.cluster.objects[DEPLOYMENT_REF]["status"]["serving"]
        if serving != f"rev-{current}":
            if run and run.version == current and self._fates.get(run.name) == "rollback":
                self._put_deployment(serving.removeprefix("rev-"), sent_back=current)
            else:
                self._put_deployment(current)
        wanted = candidate.version if candidate else self.registry.versions[ALIAS]
        if wanted != current:
            self._put_model(wanted, model["status"]["revisions"])
        told = [found for at, found in sorted(self.story.drift.items()) if at <= self.tick]
        if told:
            drift = told[-1]
            self.cluster.edit(DEPLOYMENT_REF, lambda obj: obj["status"].update(drift=self._drift(drift)))

    def _drift(self, told: Mapping[str, Any]) -> Object:
        version = self.cluster.objects[DEPLOYMENT_REF]["status"]["serving"].removeprefix("rev-")
        found = {**told, "digest": digest(int(version)), "checkedAt": conditions.timestamp(self.clock.now)}
        if found.pop("follows", False) and found.get("episode"):
            found["episode"] = {"id": f"episode-{version}"}
        return found

    def _put_model(self, version: str, revisions: list[Object]) -> None:
        uri = f"models:/credit/{version}"
        entry = {"uri": uri, "digest": digest(int(version)), "version": version}
        status = {
            "version": version,
            "current": digest(int(version)),
            "resolvedUri": uri,
            "revisions": [entry, *revisions],
        }
        meta = {"name": MODEL, "namespace": NAMESPACE}
        spec = {"source": {"uri": "models:/credit@champion", "pollSeconds": 30}}
        self.cluster.put(
            {"apiVersion": API_VERSION, "kind": "MLModel", "metadata": meta, "spec": spec, "status": status}
        )

    def _put_deployment(self, version: str, sent_back: str = "") -> None:
        before = self.cluster.objects.get(DEPLOYMENT_REF, {}).get("status", {})
        row = {"name": f"rev-{version}", "digest": digest(int(version)), "version": version}
        history = before.get("history", [])
        if sent_back and not any(entry["version"] == sent_back for entry in history):
            at = conditions.timestamp(self.clock.now)
            told = {"outcome": "RolledBack", "reason": "HarmProven", "message": "it fails more often"}
            history = [{**told, "version": sent_back, "startedAt": at, "endedAt": at}, *history]
        status = {**before, "serving": row["name"], "revisions": [row], "history": history}
        meta = {"name": DEPLOYMENT, "namespace": NAMESPACE}
        spec = {"model": {"name": MODEL}}
        body = {"apiVersion": API_VERSION, "kind": "ModelDeployment", "metadata": meta, "spec": spec, "status": status}
        self.cluster.put(body)

    # The laws.

    def _written(self, call: Call) -> None:
        if call.verb in ("get", "list") or not call.changed:
            return
        if call.ref.kind == "Job" and call.verb == "apply":
            self._job_made(call.ref)
        if call.ref == SCHEDULE and call.verb == "status":
            self._status_written()
        self.writes += 1
        if self.writes == self.kill_in:
            self.ended += 1
            raise Killed

    def _job_made(self, ref: Ref) -> None:
        """No Job without a record of its run; none twice; none while suspended."""
        run = self.cluster.objects[ref]["metadata"]["labels"][RUN]
        assert run in {known.name for known in self.status.runs}
        self.born[ref.name] += 1
        assert self.born[ref.name] == 1, f"{ref.name} was made twice"
        assert not self.cluster.objects[SCHEDULE]["spec"].get("suspend") or ref.name.endswith("-gate")

    def _status_written(self) -> None:
        status = self.status
        slots = [(run.trigger, run.slot) for run in status.runs]
        assert len(set(slots)) == len(slots), "a slot has one run"
        under_way = [run for run in status.runs if run.under_way]
        assert len(under_way) <= 1
        if status.candidate is not None:
            run = next(run for run in status.runs if run.name == status.candidate.run)
            assert self.story.spec.get("gate") is None or (run.gate is not None and run.gate.verdict == "Passed")
        form = tuple((run.stage, run.outcome) for run in status.runs)
        if form not in self._forms:
            self._forms.add(form)
            assert crdcheck.violations(self.cluster.objects[SCHEDULE]) == []


def reason(obj: Object, type_: str) -> str:
    """The reason of a condition, or an empty string."""
    return str(condition(obj, type_).get("reason", ""))
