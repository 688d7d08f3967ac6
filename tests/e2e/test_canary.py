"""Canaries on real pods behind real routers: each candidate gets what it deserves, and says why."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from hack.demo import release
from hack.demo.stage import Stage, condition
from trimtab.core.objects import Object

SERVER = (Path(__file__).parent / "scripts" / "answering.py").read_text()
ROLLOUT = {
    "strategy": "Canary",
    "steps": [{"weight": 10, "seconds": 5}, {"weight": 50, "seconds": 5}],
    "gates": {"minRequests": 100, "maxLatencyMilliseconds": 200},
    "bakeSeconds": 10,
}
CANDIDATES: dict[str, tuple[dict[str, str], str, str]] = {
    "an equal one": ({"ERRORS": "0.0"}, "Promoted", "Promoted"),
    "an erroring one": ({"ERRORS": "0.3"}, "RolledBack", "HarmProven"),
    "a slow one": ({"SLOW": "0.4"}, "RolledBack", "HarmProven"),
    "a crashing one": ({"CRASH": "1"}, "RolledBack", "CrashLooping"),
}


def deployed(stage: Stage, environment: dict[str, str]) -> None:
    container = {
        "image": release.image("TRIMTAB_SERVER_IMAGE"),
        "command": ["python", "-c", SERVER],
        "port": 9000,
        "readinessPath": "/",
        "livenessPath": "/",
    }
    env = [{"name": name, "value": value} for name, value in environment.items()]
    spec = {"container": container, "replicas": 2, "rollout": ROLLOUT, "env": env}
    stage.manifest("ModelDeployment", "answers", spec)


def settled(obj: Object) -> bool:
    """Ready, and the front leads through the routers."""
    return condition(obj, "Ready")["status"] == "True" and "router" in obj["status"]


@pytest.mark.parametrize("candidate", CANDIDATES)
def test_a_candidate_gets_what_it_deserves(stage: Stage, candidate: str) -> None:
    environment, outcome, reason = CANDIDATES[candidate]
    deployed(stage, {})
    first = stage.until("mdep", "answers", settled, 180)["status"]["serving"]
    traffic = stage.load("traffic", "answers", connections=4, pause=0.01)
    traffic.started()
    _through_routers(stage)
    deployed(stage, environment)
    ended = stage.until("mdep", "answers", lambda obj: bool(obj["status"].get("history")), 240)
    (entry,) = ended["status"]["history"]
    assert (entry["outcome"], entry["reason"]) == (outcome, reason), entry
    after = stage.until("mdep", "answers", lambda obj: condition(obj, "Ready")["status"] in ("True", "False"))
    promoted = outcome == "Promoted"
    assert (after["status"]["serving"] == first) is not promoted
    assert condition(after, "Ready")["reason"] == ("Reconciled" if promoted else "RolledBack")
    traffic.stop()
    counted = traffic.result(check=False)
    if promoted or reason == "CrashLooping":
        assert counted["failed"] == 0, counted
    assert counted["failed"] < 0.05 * counted["requests"], counted


def _through_routers(stage: Stage) -> None:
    deadline = time.monotonic() + 60
    while "trimtab.dev/router" not in stage.read("service", "answers")["spec"]["selector"]:
        assert time.monotonic() < deadline, "the front does not lead through the routers"
        time.sleep(0.2)
