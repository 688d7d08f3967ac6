"""What is not there is no news: arms that are away, outcomes that nobody gives, and looks at the same counts again."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.kinds.abtest_lab import Lab

BETTER = {"a": 0.10, "b": 0.15}
ERRORS: dict[str, Any] = {"guardrails": [{"metric": "Errors", "maxIncreasePercent": "50"}]}
HARM = {"a": 0.01, "b": 0.01, "c": 0.10}


def begun(*weights: int, **spec: Any) -> Lab:
    """An experiment whose routers do what they were told."""
    lab = Lab(*weights, **spec)
    lab.settle()
    return lab


def led(lab: Lab, passes: int, requests: int = 1_000, **rates: Any) -> Lab:
    """So many minutes of traffic."""
    for _ in range(passes):
        lab.traffic(requests, **rates)
        lab.wait(60)
    return lab


def rests(lab: Lab) -> bool:
    """Whether another pass on the same counts would write nothing."""
    return lab.plan().status == lab.status


@pytest.mark.parametrize("metric", ["Outcome", "OutcomeMean"])
@pytest.mark.parametrize("mute", ["a", "b"])
def test_an_arm_of_which_nobody_reports_is_not_compared(metric: str, mute: str) -> None:
    lab = begun(objective={"metric": metric})
    for _ in range(30):
        for arm in "ab":
            lab.serve(arm, 500, yes=None if arm == mute else 60)
        lab.wait(60)
    assert (lab.verdict(), lab.reason("Measured")) == ("Waiting", "NoOutcomes")
    assert lab.status["verdict"]["reason"] == f"no outcome of {mute} has been reported"
    assert lab.weights() == {"a": 50, "b": 50}
    assert all("lift" not in row for row in lab.status["evidence"]["arms"])


@pytest.mark.parametrize("metric", ["Outcome", "OutcomeMean"])
def test_requests_to_an_arm_without_pods_are_no_bad_outcomes(metric: str) -> None:
    """Its pods have told of some before; in another segment nobody does."""
    lab = led(begun(60, 40, objective={"metric": metric}), 1, yes={"a": 0.1, "b": 0.1})
    arms = lab.test["spec"]["arms"]
    lab.edit(arms=[{**arms[0], "weight": 50}, {**arms[1], "weight": 50}])
    lab.settle()
    lab.vanish("a")
    silent = lab.sources.model_reports["uid-pod-a"]
    for _ in range(20):
        lab.traffic(1_000, yes={"a": 0.1, "b": 0.1})
        lab.sources.model_reports["uid-pod-a"] = silent
        lab.wait(60)
    lab.rise("a")
    lab.settle()
    assert [segment["seconds"] for segment in lab.status["segments"]] == [60, 1_200]
    assert (lab.verdict(), lab.weights()) == ("Running", {"a": 50, "b": 50})
    (row,) = lab.status["evidence"]["arms"]
    assert abs(float(row["lift"])) < 1


@pytest.mark.parametrize("away", [Lab.vanish, Lab.fall])
@pytest.mark.parametrize("arm", ["a", "b", "c"])
def test_nobody_wins_while_any_arm_is_away(away: Any, arm: str) -> None:
    lab = led(begun(34, 33, 33, minSeconds=600), 9, requests=3_000, yes={**BETTER, "c": 0.1})
    away(lab, arm)
    lab.wait(60)
    assert (lab.verdict(), lab.status["verdict"]["final"]) == ("Running", False)
    assert lab.reason() == ("ArmNotFound" if away is Lab.vanish else "ArmNotReady")
    held = f"nobody wins or loses while arm {arm} is away; b is better than a: "
    assert lab.condition("Concluded")["message"].startswith(held)
    assert rests(lab)
    lab.rise(arm)
    lab.wait(15)
    assert (lab.verdict(), lab.status["verdict"]["winner"]) == ("Win", "b")


def test_an_arm_that_is_away_has_not_lost() -> None:
    lab = led(begun(suspend=True), 9, requests=3_000, yes={"a": 0.15, "b": 0.10})
    lab.vanish("b")
    lab.edit(suspend=False)
    lab.wait(15)
    assert (lab.verdict(), lab.condition("Concluded")["status"]) == ("Running", "False")
    lab.rise("b")
    lab.wait(15)
    assert lab.verdict() == "StopFutile"


def test_what_was_found_with_a_person_to_decide_is_not_acted_upon_while_an_arm_is_away() -> None:
    lab = led(begun(decision="Manual"), 15, yes=BETTER)
    assert (lab.verdict(), lab.reason()) == ("Win", "AwaitingDecision")
    lab.fall("b")
    lab.edit(decision="Auto")
    lab.settle()
    assert (lab.status["verdict"]["final"], lab.weights()) == (False, {"a": 50, "b": 50})
    lab.rise("b")
    lab.settle()
    assert (lab.reason(), lab.weights()) == ("WinnerFound", {"a": 0, "b": 100})


def test_one_look_decides_all_that_its_counts_decide() -> None:
    """Arm c harms and b is better, in the same counts: what the next pass would find is found now."""
    lab = led(begun(34, 33, 33, minSeconds=540, **ERRORS, suspend=True), 9, 3_000, yes={**BETTER, "c": 0.1})
    led(lab, 4, 3_000, yes={**BETTER, "c": 0.1}, errors=HARM)
    lab.edit(suspend=False)
    lab.step()
    assert (lab.verdict(), lab.status["verdict"]["winner"], lab.status["run"]["stopped"]) == ("Win", "b", ["c"])
    assert "Errors of c exceed control's by more than 50 %" in lab.status["verdict"]["reason"]
    assert lab.weights() == {"a": 0, "b": 100, "c": 0}
    lab.settle()
    assert rests(lab)


def test_a_stopped_arm_leaves_the_others_no_more_significance() -> None:
    """Between the limits of one candidate, 40, and of two, 80, nobody wins whoever was stopped."""
    lab = led(begun(34, 33, 33, **ERRORS), 8, yes=dict.fromkeys("abc", 0.1), errors=HARM)
    assert lab.status["run"]["stopped"] == ["c"]
    lab.settle()
    values = []
    while lab.verdict() == "Running":
        lab.serve("a", 20, yes=2)
        lab.serve("b", 10, yes=2)
        lab.wait(60)
        (row,) = lab.status["evidence"]["arms"]
        values.append(float(row["eValue"]))
    assert lab.status["verdict"]["winner"] == "b"
    assert any(40 < value < 80 for value in values[:-1]), "it was put to the test"
    assert max(values[:-1]) < 80 <= values[-1]
    assert "of 80" in lab.status["verdict"]["reason"]


def test_a_stopped_arm_may_be_deleted_and_the_others_go_on() -> None:
    lab = led(begun(34, 33, 33, **ERRORS), 8, 3_000, yes=dict.fromkeys("abc", 0.1), errors=HARM)
    assert lab.status["run"]["stopped"] == ["c"]
    lab.settle()
    lab.vanish("c")
    led(lab, 12, 3_000, yes=BETTER)
    assert (lab.verdict(), lab.status["verdict"]["winner"]) == ("Win", "b")


def test_arms_that_harm_one_after_another_end_the_experiment() -> None:
    lab = led(begun(34, 33, 33, **ERRORS), 8, 3_000, yes=dict.fromkeys("abc", 0.1), errors=HARM)
    assert (lab.status["run"]["stopped"], lab.verdict()) == (["c"], "Running")
    lab.settle()
    led(lab, 8, 3_000, yes=dict.fromkeys("abc", 0.1), errors={"a": 0.01, "b": 0.10})
    assert (lab.verdict(), lab.reason("Concluded")) == ("StopHarm", "HarmFound")
    assert lab.weights() == {"a": 100, "b": 0, "c": 0}
    assert "Errors of b exceed" in lab.status["verdict"]["reason"]
    lab.settle()
    assert rests(lab)
