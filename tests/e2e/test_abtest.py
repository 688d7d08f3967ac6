"""Experiments on users who keep asking, while the operator and a router are killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from hack.demo.script import SCRIPTS, Script
from hack.demo.stage import Object, Stage, condition
from tests.e2e import backends, faulty
from tests.e2e.conftest import SHARED
from trimtab.traffic.slots import assign
from trimtab.traffic.state import RouterStatus

FILES = {**SCRIPTS, "users.py": Path(__file__).parent / "scripts" / "users.py"}
SMALL = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}
ARMS = {"control": "plain", "challenger": "other"}
USERS = 500


@pytest.fixture
def test(stage: Stage) -> Experiment:
    """No arm and no experiment yet."""
    return Experiment(stage)


class Experiment:
    """An ABTest of two arms, half of the users each."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def ask(self, objective: Object, **more: object) -> None:
        """Apply the ABTest."""
        arms = [{"name": arm, "deployment": deployment, "weight": 50} for arm, deployment in ARMS.items()]
        spec = {"arms": arms, "control": "control", "objective": objective, "minSeconds": 1, "maxSeconds": 600}
        self.stage.manifest("ABTest", "choice", {**spec, "guardrails": [{"metric": "Errors"}], **more})

    def ready(self, reason: str = "", seconds: float = 120) -> Object:
        """The ABTest once it is Ready, for this reason if one is given."""
        return self.stage.until("abt", "choice", lambda obj: _is(obj, reason), seconds)

    def users(self, name: str, *arguments: str) -> Script:
        """Users who ask for the model by the experiment's name."""
        url = f"http://choice.{self.stage.namespace}.svc/v2/models/choice/infer"
        script = Script(
            self.stage.namespace, name, "users.py", "--url", url, "--users", str(USERS), *arguments, files=FILES
        )
        script.started()
        return script

    def feedback(self, good: dict[str, str]) -> list[str]:
        """Arguments that make users report outcomes, so many of them good."""
        namespace = self.stage.namespace
        told = (("--feedback", f"{arm}=http://{name}.{namespace}.svc") for arm, name in ARMS.items())
        liked = (("--good", f"{arm}={share}") for arm, share in good.items())
        return [word for pair in (*told, *liked) for word in pair]


def _is(obj: Object, reason: str) -> bool:
    ready = condition(obj, "Ready")
    current = obj.get("status", {}).get("observedGeneration") == obj["metadata"]["generation"]
    return current and ready["status"] == "True" and reason in ("", ready["reason"])


def test_the_better_arm_gets_everybody_and_no_request_fails(
    test: Experiment, stage: Stage, versions: dict[str, str]
) -> None:
    backends.secret(stage, "feedback", {"key": "only-for-tests-0123456789-0123456789"})
    for name, version in zip(ARMS.values(), versions.values(), strict=True):
        stage.manifest("MLModel", name, {"source": {"uri": f"models:/{SHARED}/{version}"}})
        feedback = {"keySecretName": "feedback", "userHeader": "x-user-id"}
        served = {"model": {"name": name}, "replicas": 2, "resources": SMALL, "feedback": feedback}
        stage.manifest("ModelDeployment", name, served)
    test.ask({"metric": "Outcome"}, suspend=True)
    router = RouterStatus.model_validate(test.ready("Suspended")["status"]["router"])

    crowd = test.users("users", *test.feedback({"control": "0.2", "challenger": "0.5"}))
    crowd.reached(1_000)
    faulty.kill_operator_and_a_router(stage, "choice")
    crowd.reached(4_000)
    assert condition(stage.read("abt", "choice"), "Concluded")["status"] == "False", "it is suspended"
    test.ask({"metric": "Outcome"})
    status = test.ready("WinnerFound")["status"]
    crowd.stop()

    counted = crowd.result(check=False)
    assert (status["verdict"]["decision"], status["verdict"]["winner"], status["weights"]) == (
        "Win",
        "challenger",
        "0/100",
    )
    assert counted["failed"] == 0, counted
    assert counted["first"] == {user: assign(router, user) for user in counted["first"]}
    assert len(counted["first"]) == USERS
    assert {key for key in counted if key.startswith("moved")} <= {"moved control to challenger"}
    for arm in status["arms"]:
        assert 500 <= arm["outcomes"] <= counted[f"outcomes {arm['name']}"], "none is lost for good, or counted twice"
    assert 1_000 <= sum(arm["requests"] for arm in status["arms"]) <= counted["requests"]


def test_an_arm_that_fails_loses_its_users(test: Experiment, stage: Stage) -> None:
    stage.manifest("ModelDeployment", "plain", faulty.spec({}))
    stage.manifest("ModelDeployment", "other", faulty.spec({"ERR_EVERY": "4"}))
    test.ask({"metric": "Latency", "aboveMilliseconds": 500})
    test.ready()
    crowd = test.users("users")
    status = test.ready("HarmFound")["status"]
    crowd.stop()

    counted = crowd.result(check=False)
    assert (status["verdict"]["decision"], status["weights"]) == ("StopHarm", "100/0"), status["verdict"]
    assert "challenger" in status["verdict"]["reason"]
    assert "Errors" in status["verdict"]["reason"]
    assert counted["failed"] == counted["failure HTTP 500 of challenger"], "only the arm that fails has failed"
    after = test.users("after", "--seconds", "2").result()
    assert (after["failed"], set(after["first"].values())) == (0, {"control"})
