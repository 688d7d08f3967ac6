"""Canaries under load: an equal revision gets all the traffic, a bad one goes back for a reason that is told.

The revisions are a container that can be given faults, so that each does exactly one thing wrong.
"""

from __future__ import annotations

from typing import Any

import pytest

from hack.demo.script import Script
from hack.demo.stage import Object, Stage, condition
from tests.e2e import faulty

STEPS = [{"weight": 10, "seconds": 3}, {"weight": 50, "seconds": 3}]
GATES = {"minRequests": 50, "maxLatencyMilliseconds": 100}
CANARY = {"strategy": "Canary", "steps": STEPS, "gates": GATES, "bakeSeconds": 10}


class Canary:
    """A deployment of two pods behind routers, and the load on it."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.ask({})
        ready = stage.until("mdep", "double", lambda obj: condition(obj, "Ready")["status"] == "True")
        self.first = ready["status"]["serving"]
        stage.until("service", "double", lambda obj: "trimtab.dev/router" in obj["spec"]["selector"], 60)
        self.traffic: Script = stage.load("traffic", "double", connections=8, pause=0.01)
        self.traffic.started()

    def ask(self, faults: dict[str, str], **rollout: int) -> None:
        """Ask for a revision with these faults."""
        self.stage.manifest("ModelDeployment", "double", faulty.spec(faults, rollout={**CANARY, **rollout}))

    def ended(self, seconds: float = 90) -> Object:
        """The status once a rollout is over."""
        found = self.stage.until(
            "mdep", "double", lambda obj: bool(obj["status"].get("rollout", {}).get("outcome")), seconds
        )
        status: Object = found["status"]
        return status

    def stopped(self) -> dict[str, Any]:
        """End the load; what it counted."""
        self.traffic.stop()
        return self.traffic.result(check=False)


@pytest.fixture
def canary(stage: Stage) -> Canary:
    """The first revision serves through its routers, and is asked all the time."""
    return Canary(stage)


def test_an_equal_revision_gets_all_traffic_and_no_request_fails(canary: Canary) -> None:
    canary.ask({"DELAY_SECONDS": "0"})
    canary.stage.until("mdep", "double", lambda obj: obj["status"].get("rollout", {}).get("stage") == "Stepping")
    faulty.kill_operator_and_a_router(canary.stage, "double")
    status = canary.ended()
    counted = canary.stopped()
    second = status["rollout"]["revision"]
    assert (status["rollout"]["outcome"], status["serving"]) == ("Promoted", second), status
    assert counted["failed"] == 0, counted
    assert {key for key in counted if key.startswith("revision ")} == {f"revision {canary.first}", f"revision {second}"}


@pytest.mark.parametrize(
    ("faults", "reasons", "words"),
    [
        ({"ERR_EVERY": "10"}, {"HarmProven"}, "the candidate fails more often than the current revision"),
        ({"DELAY_SECONDS": "0.3"}, {"HarmProven"}, "the candidate is slower than the current revision"),
        ({"DIE_AFTER": "40"}, {"CrashLooping", "HarmProven"}, ""),
    ],
    ids=["erroring", "slow", "crashing"],
)
def test_a_bad_revision_goes_back(canary: Canary, faults: dict[str, str], reasons: set[str], words: str) -> None:
    canary.ask(faults)
    status = canary.ended()
    counted = canary.stopped()
    rollout = status["rollout"]
    assert (rollout["outcome"], status["serving"]) == ("RolledBack", canary.first), status
    assert rollout["reason"] in reasons, rollout
    assert words in rollout["message"]
    # Its share was 10 %: of the others none failed.
    assert counted["failed"] <= counted.get(f"revision {rollout['revision']}", 0) < 0.2 * counted["requests"], counted
    told = condition(canary.stage.read("mdep", "double"), "Ready")
    assert (told["reason"], rollout["message"] in told["message"]) == ("RolledBack", True), told

    after = canary.stage.load("after", "double", connections=4, seconds=2).result()
    assert set(after) == {"requests", "failed", f"revision {canary.first}"}, "nobody is sent to it any more"


def test_a_revision_that_never_starts_goes_back_and_nobody_notices(canary: Canary) -> None:
    canary.ask({"FACTOR": "two"})
    status = canary.ended(120)
    counted = canary.stopped()
    rollout = status["rollout"]
    assert (rollout["outcome"], rollout["reason"], status["serving"]) == ("RolledBack", "CrashLooping", canary.first)
    assert "could not convert string to float" in rollout["message"], "the container's last words"
    assert counted == {"requests": counted["requests"], "failed": 0, f"revision {canary.first}": counted["requests"]}


def test_a_bad_revision_that_gets_copies_first_never_meets_a_user(canary: Canary) -> None:
    canary.ask({"ERR_EVERY": "2"}, shadowPercent=50, shadowSeconds=30)
    status = canary.ended()
    counted = canary.stopped()
    assert (status["rollout"]["outcome"], status["rollout"]["reason"]) == ("RolledBack", "HarmProven"), status
    assert counted == {"requests": counted["requests"], "failed": 0, f"revision {canary.first}": counted["requests"]}
