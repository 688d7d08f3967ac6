"""What happens to trainers on a real node: too much memory, too much disk, an eviction, SIGKILL, a hang.

All at the same time, each a schedule of its own, for most of the time is Kubernetes' own: a minute is the shortest
deadline, and it waits ten seconds and then twenty before it tries again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from hack.cluster import kubectl
from hack.demo import release
from hack.demo.loop import newest
from hack.demo.stage import Object, Stage
from tests.e2e import tracked

SCRIPT = Path(__file__).parent / "scripts" / "trainer.py"
FOLDER = "/scripts"
CLAIM = "checkpoints"
EVICTED = "evicted"
TRAIN = ["python", f"{FOLDER}/{SCRIPT.name}"]
# A process that is the first of its container cannot kill itself, and one that is not does not get SIGTERM.
BELOW_A_SHELL = ["sh", "-c", f'{" ".join(TRAIN)} "$0"; exit $?']
PROMOTED = "is the champion, in place of none"


class Fate(NamedTuple):
    """What is to become of a run, and how those of its pods have ended that are left: exit codes, or who ended them."""

    outcome: str
    reason: str
    words: str
    pods: list[str]
    versions: int
    steps: list[float]
    """All that was logged: a step that is done twice is there twice."""


DONE = [1.0, 2.0, 3.0]
FATES = {
    "memory": Fate("Failed", "OutOfMemory", "used more than its memory limit", ["OOMKilled"] * 2, 0, []),
    "hang": Fate("Failed", "DeadlineExceeded", "took longer than it may: Job was active longer", [], 0, [1.0]),
    "killed": Fate("Promoted", "Promoted", PROMOTED, ["0", "137", "137"], 1, DONE),
    EVICTED: Fate("Promoted", "Promoted", PROMOTED, ["0"], 1, DONE),
    "disk": Fate("Failed", "Evicted", "ephemeral local storage usage exceeds", ["Evicted"], 0, []),
}


class Trainers:
    """A schedule, a model and a run for each fate."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.stamp = str(time.time_ns())

    def begin(self) -> None:
        """Ask for a run of each."""
        self._put("ConfigMap", "scripts", data={SCRIPT.name: SCRIPT.read_text()})
        room = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        self._put("PersistentVolumeClaim", CLAIM, spec=room)
        self._schedule("memory", backoffLimit=1, limits={"memory": "96Mi"})
        self._schedule("hang", activeDeadlineSeconds=60)
        self._schedule("killed", command=[*BELOW_A_SHELL, "killed"], backoffLimit=2)
        self._schedule(EVICTED)
        self._schedule("disk", limits={"memory": "1Gi", "ephemeral-storage": "64Mi"})

    def model(self, how: str) -> str:
        """The registered model of a fate, which no earlier run of the tests has seen."""
        return f"e2e-{how}-{self.stamp}"

    def _schedule(
        self, how: str, command: list[str] | None = None, limits: Mapping[str, str] | None = None, **job: object
    ) -> None:
        self.stage.manifest("MLModel", how, {"source": {"uri": f"models:/{self.model(how)}@champion"}})
        template = {
            "image": release.image("TRIMTAB_TOOLBOX_IMAGE"),
            "command": command or [*TRAIN, how],
            "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "1Gi", **(limits or {})}},
            "volumes": [{"name": "scripts", "configMap": {"name": "scripts"}}],
            "volumeMounts": [{"name": "scripts", "mountPath": FOLDER, "readOnly": True}],
        }
        asked = {"template": template, "backoffLimit": 0, "checkpoints": {"claimName": CLAIM}, **job}
        self.stage.manifest("RetrainSchedule", how, {"model": how, "job": asked})
        self.stage.kubectl("annotate", "rts", how, f"trimtab.dev/run={self.stamp}")

    def evict(self) -> None:
        """Take the pod away of the one that waits for that, as `kubectl drain` does."""
        found = self.stage.until("rts", EVICTED, lambda obj: newest(obj).get("stage") == "Training")
        job = newest(found)["name"]
        deadline = time.monotonic() + 90
        while "waits" not in (said := self.stage.kubectl("logs", f"job/{job}", check=False)):
            assert time.monotonic() < deadline, said
            time.sleep(0.3)
        (pod,) = self._pods(job)
        name, where = pod["metadata"]["name"], f"/api/v1/namespaces/{self.stage.namespace}/pods"
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
        self.stage.kubectl("create", "--raw", f"{where}/{name}/eviction", "-f", "-", stdin=json.dumps(body))

    def fate(self, how: str) -> tuple[Object, Fate]:
        """What became of a run, once it has ended: the run, and the same in the terms of FATES."""
        run = newest(self.stage.until("rts", how, lambda obj: newest(obj).get("stage") == "Ended", 240))
        made = tracked.versions(self.model(how))
        assert set(made) <= {run["name"]}, made
        ends = sorted(_end(pod) for pod in self._pods(run["name"]) if "deletionTimestamp" not in pod["metadata"])
        steps = tracked.history(run["mlflowRunId"], "step") if run.get("mlflowRunId") else []
        wanted = FATES[how].words
        said = wanted if wanted in run["message"] else run["message"]
        return run, Fate(run["outcome"], run["reason"], said, ends, len(made), steps)

    def _pods(self, run: str) -> list[Object]:
        wanted = f"trimtab.dev/run-name={run},app.kubernetes.io/component=trainer"
        found: list[Object] = self.stage.read("pods", "-l", wanted)["items"]
        return found

    def _put(self, kind: str, name: str, **content: object) -> None:
        meta = {"name": name, "namespace": self.stage.namespace}
        kubectl.apply(json.dumps({"apiVersion": "v1", "kind": kind, "metadata": meta, **content}))


def _end(pod: Object) -> str:
    """How the trainer of a pod has ended."""
    status = pod["status"]
    state = next((item["state"].get("terminated") for item in status.get("containerStatuses", ())), None) or {}
    if status.get("reason") == "Evicted" or state.get("reason") == "OOMKilled":
        return str(status.get("reason") or state["reason"])
    return str(state.get("exitCode", status["phase"]))


@pytest.mark.timeout(400)
def test_whatever_becomes_of_a_trainer_is_told_and_makes_one_version_at_most(stage: Stage) -> None:
    trainers = Trainers(stage)
    trainers.begin()
    trainers.evict()
    found = {how: trainers.fate(how) for how in FATES}
    assert {how: fate for how, (_, fate) in found.items()} == FATES, {how: run for how, (run, _) in found.items()}
    for how in FATES:
        assert len(stage.read("rts", how)["status"]["runs"]) == 1
