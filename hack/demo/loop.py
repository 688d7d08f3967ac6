"""The loop that closes itself, on real flights: traffic shifts, drift is found, a Job trains, another one grades, a
canary tries, the alias moves. Then two candidates that must not get through: one that is worse, and one that is slow.

The demo tells it, an e2e test holds it to what it says.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import yaml

from hack import ROOT
from hack.demo import flights, release
from hack.demo.script import Script
from hack.demo.stage import Object, Stage

NAME = "flights"
EXAMPLE = ROOT / "examples" / NAME
TRAINING_ROWS, TRAFFIC_ROWS, HOLDOUT_ROWS = 8_000, 3_000, 4_000
CONNECTIONS, PAUSE = 4, 0.02
STAGES = ("Queued", "Training", "Grading", "AwaitingApproval", "RollingOut", "Ended")


class Loop:
    """One namespace in which flights are served, and all that happens to them; `notify` is that of its schedules."""

    def __init__(self, namespace: str, model: str = NAME, notify: Sequence[Object] = ()) -> None:
        self.stage = Stage(namespace, model)
        self.notify = list(notify)
        self.files: dict[str, str] = {}
        self.traffic: dict[str, Script] = {}
        self.asked = self.failed = 0

    def prepare(self) -> None:
        """Put the seasons where Jobs can read them; what is judged and sent later was never learned from."""
        first = flights.season(*flights.WINTER, TRAINING_ROWS + TRAFFIC_ROWS)
        later = flights.season(*flights.LATER, HOLDOUT_ROWS + TRAFFIC_ROWS)
        self.holdout, july = later.parts(HOLDOUT_ROWS)
        winter, january = first.parts(TRAINING_ROWS)
        recent = flights.season(*flights.SUMMER, TRAINING_ROWS)
        for name, part in (
            ("winter", winter),
            ("recent", recent),
            ("later", self.holdout),
            ("traffic-winter", january),
            ("traffic-july", july),
        ):
            self.files[name] = self.stage.upload(f"{self.stage.model}/{name}.csv", part.text)

    def train_champion(self) -> Object:
        """A model of the winter, in a Job of a person's own; the result of the Job."""
        arguments = (f"--data={self.files['winter']}", f"--name={self.stage.model}", "--alias=champion")
        return Script(self.stage.namespace, "train-winter", "train_flights.py", *arguments).result()

    def serve(self, version: str) -> Object:
        """Apply the model and its deployment as they stand in the example; wait until that version serves."""
        for kind in ("MLModel", "ModelDeployment"):
            spec = example(kind)
            if kind == "MLModel":
                spec["source"]["uri"] = f"models:/{self.stage.model}@champion"
            self.stage.manifest(kind, NAME, spec)
        return self.stage.serving(NAME, version)

    def send(self, season: str) -> None:
        """Begin to send the flights of a season."""
        traffic = self.stage.load(season, NAME, CONNECTIONS, 1_800, PAUSE, self.files[f"traffic-{season}"])
        traffic.started()
        self.traffic[season] = traffic

    def end(self, season: str) -> None:
        """Send them no more."""
        traffic = self.traffic.pop(season)
        traffic.stop()
        counted = traffic.result(check=False)
        self.asked += counted["requests"]
        self.failed += counted["failed"]

    def schedule(self, name: str, kind: str = "", **gate: Any) -> None:
        """Apply a RetrainSchedule: the example's, or one that trains another `kind` of model when a person asks."""
        spec = {**example("RetrainSchedule"), "notify": self.notify}
        template = spec["job"]["template"]
        template["image"] = release.image("TRIMTAB_TOOLBOX_IMAGE")
        template["args"][0] = f"--data={self.files['recent']}"
        holdout = {"uri": self.files["later"], "digest": self.holdout.digest, "target": flights.TARGET}
        spec["gate"] = {**spec["gate"], "holdout": holdout, **gate}
        if kind:
            spec["triggers"] = {}
            template["command"] = ["python", "/scripts/train_flights.py", f"--kind={kind}"]
            template["args"] = template["args"][:1]
            template["volumes"] = [{"name": "scripts", "configMap": {"name": "scripts"}}]
            template["volumeMounts"] = [{"name": "scripts", "mountPath": "/scripts", "readOnly": True}]
        self.stage.manifest("RetrainSchedule", name, spec)

    def ask_for(self, schedule: str) -> None:
        """Start a run by hand."""
        self.stage.kubectl("annotate", "--overwrite", "rts", schedule, f"trimtab.dev/run={time.time_ns()}")

    def drift(self, check: Callable[[Object], bool], seconds: float = 180) -> Object:
        """Wait for what status.drift of the deployment says."""
        found = self.stage.until("mdep", NAME, lambda obj: check(obj.get("status", {}).get("drift", {})), seconds)
        drift: Object = found["status"]["drift"]
        return drift

    def run(self, schedule: str, check: Callable[[Object], bool], seconds: float = 300) -> Object:
        """Wait for what the newest run of a schedule says; the run."""
        found = self.stage.until("rts", schedule, lambda obj: check(newest(obj)), seconds)
        return newest(found)

    def reached(self, schedule: str, stage: str, seconds: float = 300) -> Object:
        """Wait until the newest run of a schedule is at a stage, or past it; the run."""
        return self.run(schedule, lambda run: run.get("stage") in STAGES[STAGES.index(stage) :], seconds)


def newest(schedule: Object) -> Object:
    """The newest run of a RetrainSchedule; empty while there is none."""
    runs = schedule.get("status", {}).get("runs", [])
    return dict(runs[0]) if runs else {}


def example(kind: str) -> Object:
    """The spec of one of the example's resources."""
    spec: Object = yaml.safe_load((EXAMPLE / f"{kind.lower()}.yaml").read_text())["spec"]
    return spec
