"""An experiment from its first pass to its verdict and beyond, case by case, with a clock that moves when told."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from tests import crdcheck
from tests.unit.kinds.abtest_lab import DAY, Lab

BETTER, EQUAL = {"a": 0.10, "b": 0.15}, {"a": 0.10, "b": 0.10}
FAILING = {"a": 0.01, "b": 0.10}
ERRORS = {"guardrails": [{"metric": "Errors", "maxIncreasePercent": "50"}]}


def begun(*weights: int, **spec: Any) -> Lab:
    """An experiment whose routers do what they were told."""
    lab = Lab(*weights, **spec)
    lab.settle()
    assert lab.condition("TrafficApplied")["status"] == "True"
    return lab


def led(lab: Lab, passes: int = 40, requests: int = 1_000, **rates: Any) -> Lab:
    """So many minutes of traffic, or as many as it takes to decide."""
    for _ in range(passes):
        lab.traffic(requests, **rates)
        lab.wait(60)
        if lab.status["verdict"]["final"]:
            break
    lab.settle()
    return lab


def won(**spec: Any) -> Lab:
    return led(begun(**spec), yes=BETTER)


def test_the_first_pass_makes_routers_and_their_service_and_waits_for_them() -> None:
    lab = Lab()
    done = lab.step()
    assert [child["kind"] for child in done.apply] == ["Deployment", "PodDisruptionBudget", "NetworkPolicy", "Service"]
    assert done.apply[-1]["spec"]["selector"] == {"trimtab.dev/router": "exp"}
    assert done.apply[-1]["spec"]["ports"][0] | {"name": ""} == {
        "name": "",
        "port": 80,
        "targetPort": "http",
        "protocol": "TCP",
    }
    assert lab.reason() == "TrafficMoving"
    assert done.requeue_after == timedelta(seconds=1)
    assert lab.status["url"] == "http://exp.team-a.svc"
    assert [arm.host for arm in lab.told().arms] == ["mdep-a-rev0a.team-a.svc", "mdep-b-rev0b.team-a.svc"]
    lab.routers.clear()
    assert (lab.step(), lab.reason())[1] == "RoutersStarting"


def test_nothing_is_counted_before_every_router_has_confirmed() -> None:
    lab = Lab()
    lab.step()
    lab.deaf.add("uid-router-1")
    lab.obey()
    lab.step()
    lab.traffic(1_000, yes=BETTER)
    lab.wait(60)
    assert lab.reason() == "TrafficMoving"
    assert [arm["requests"] for arm in lab.status["arms"]] == [0, 0]
    assert lab.status["segments"] == []
    lab.deaf.clear()
    lab.settle()
    lab.traffic(1_000, yes=BETTER)
    lab.wait(60)
    assert [arm["requests"] for arm in lab.status["arms"]] == [500, 500]
    assert [arm["outcomes"] for arm in lab.status["arms"]] == [500, 500]


@pytest.mark.parametrize("seconds", [3_600, 60 * DAY])
def test_no_traffic_is_waiting_for_however_long(seconds: int) -> None:
    lab = begun()
    lab.wait(seconds, passes=5)
    assert (lab.verdict(), lab.reason()) == ("Waiting", "Waiting")
    assert lab.weights() == {"a": 50, "b": 50}
    assert lab.condition("Measured")["reason"] == "NothingCounted"
    assert lab.condition("Powered")["reason"] == "TrafficUnknown"


def test_a_better_arm_wins_and_gets_everybody() -> None:
    lab = won()
    verdict = lab.status["verdict"]
    assert (verdict["decision"], verdict["winner"], verdict["final"]) == ("Win", "b", True)
    assert lab.weights() == {"a": 0, "b": 100}
    assert (lab.reason(), lab.condition("Concluded")["status"]) == ("WinnerFound", "True")
    assert lab.condition("Measured")["reason"] == "Counting", "nothing is wrong with what was counted"
    assert lab.status["evidence"]["summary"].startswith("b +5")
    assert lab.plan().requeue_after is None


def test_nobody_wins_before_the_minimum_time() -> None:
    lab = led(begun(minSeconds=3_600, maxSeconds=7_200), passes=50, yes=BETTER)
    assert lab.verdict() == "Running"
    assert "s more are needed" in lab.condition("Ready")["message"]
    assert led(lab, yes=BETTER).verdict() == "Win"


def test_a_decision_stays_whatever_is_counted_afterwards() -> None:
    lab = won()
    before = lab.status
    for _ in range(5):
        lab.serve("b", 1_000, yes=0, errors=900)
        lab.wait(DAY)
    assert lab.status == before


def test_harm_takes_all_users_at_once_and_before_the_minimum_time() -> None:
    lab = begun(minSeconds=DAY, **ERRORS)
    for _ in range(20):
        lab.traffic(1_000, yes=EQUAL, errors=FAILING)
        lab.now += timedelta(seconds=15)
        lab.step()
        if lab.verdict() == "StopHarm":
            break
    assert lab.weights() == {"a": 100, "b": 0}, "in the very pass that found it out"
    lab.settle()
    assert lab.reason() == "HarmFound"
    assert "Errors of b exceed control's by more than 50 %" in lab.status["verdict"]["reason"]


def test_one_arm_of_three_that_harms_is_stopped_alone() -> None:
    lab = begun(34, 33, 33, **ERRORS)
    led(lab, passes=8, requests=3_000, yes={"a": 0.1, "b": 0.1, "c": 0.1}, errors={**FAILING, "c": 0.01})
    assert lab.status["run"]["stopped"] == ["b"]
    assert lab.weights() == {"a": 67, "b": 0, "c": 33}
    assert (lab.verdict(), lab.status["verdict"]["final"]) == ("Running", False)
    assert lab.condition("Concluded")["message"].endswith("; stopped: b")
    assert [len(segment["weights"]) for segment in lab.status["segments"]] == [3, 3]
    led(lab, requests=3_000, yes={"a": 0.10, "b": 0.1, "c": 0.16})
    assert (lab.verdict(), lab.status["verdict"]["winner"], lab.weights()["c"]) == ("Win", "c", 100)


def test_requests_past_the_routers_pause_all_decisions() -> None:
    lab = begun()
    for _ in range(20):
        lab.traffic(1_000, yes=BETTER)
        lab._predict("uid-pod-b", 300, 30)
        lab.wait(60)
    assert (lab.verdict(), lab.reason()) == ("Paused", "SampleRatioMismatch")
    assert lab.condition("Stalled")["status"] == "True"
    assert "in segment 0" in lab.condition("Ready")["message"]
    assert "trimtab.dev/promote=ARM" in lab.condition("Ready")["message"]
    assert lab.status["evidence"]["srm"]["mismatch"] is True
    assert lab.weights() == {"a": 50, "b": 50}
    for _ in range(30):
        lab.traffic(2_000, yes=BETTER)
        lab.wait(60)
    assert lab.verdict() == "Paused", "what was found out once does not become untrue"


def test_no_difference_is_an_answer() -> None:
    lab = begun(objective={"metric": "Outcome", "minimumEffectPercent": "50", "alpha": "0.2"})
    led(lab, requests=4_000, yes=EQUAL)
    assert (lab.verdict(), lab.reason()) == ("StopFutile", "NoDifference")
    assert lab.weights() == {"a": 100, "b": 0}


@pytest.mark.parametrize(
    ("then", "reason", "weights"),
    [("KeepControl", "Inconclusive", {"a": 100, "b": 0}), ("Pause", "AwaitingDecision", {"a": 50, "b": 50})],
)
def test_when_the_time_is_up(then: str, reason: str, weights: dict[str, int]) -> None:
    lab = led(begun(maxSeconds=600, onInconclusive=then), passes=12, requests=100, yes=EQUAL)
    assert (lab.verdict(), lab.reason(), lab.weights()) == ("Inconclusive", reason, weights)


def test_a_person_decides_a_manual_experiment() -> None:
    lab = led(begun(decision="Manual"), passes=15, yes=BETTER)
    assert (lab.verdict(), lab.reason()) == ("Win", "AwaitingDecision")
    assert lab.weights() == {"a": 50, "b": 50}
    assert "kubectl annotate abt exp trimtab.dev/promote=b" in lab.condition("Ready")["message"]
    lab.annotate(promote="b")
    lab.settle()
    assert (lab.verdict(), lab.reason(), lab.weights()) == ("Promoted", "PromotedByHand", {"a": 0, "b": 100})


def test_auto_instead_of_manual_acts_on_what_was_found() -> None:
    lab = led(begun(decision="Manual"), passes=15, yes=BETTER)
    lab.edit(decision="Auto")
    lab.settle()
    assert (lab.reason(), lab.weights()) == ("WinnerFound", {"a": 0, "b": 100})


def test_promoting_what_is_not_there_is_refused_with_a_sentence() -> None:
    lab = begun()
    lab.annotate(promote="z")
    lab.step()
    assert lab.reason() == "PromotionRefused"
    assert "'z' is none of a, b" in lab.condition("Ready")["message"]
    assert lab.weights() == {"a": 50, "b": 50}


def test_abort_gives_all_to_the_control_even_after_a_win() -> None:
    lab = won()
    lab.annotate(abort=lab.status["run"]["id"], promote="b")
    lab.settle()
    assert (lab.verdict(), lab.reason(), lab.weights()) == ("Aborted", "Aborted", {"a": 100, "b": 0})


def test_suspended_shares_stay_and_nothing_is_decided() -> None:
    lab = led(begun(suspend=True, **ERRORS), yes=BETTER, errors=FAILING)
    assert (lab.reason(), lab.weights()) == ("Suspended", {"a": 50, "b": 50})
    assert lab.status["arms"][0]["requests"] == 20_000
    lab.edit(suspend=False)
    lab.wait(15)
    assert lab.verdict() == "StopHarm"


def test_other_questions_begin_a_new_run_and_keep_the_old_answer() -> None:
    lab = won()
    old = lab.status["run"]
    lab.edit(objective={"metric": "Errors"})
    lab.settle()
    assert lab.status["run"]["id"] != old["id"]
    assert lab.weights() == {"a": 50, "b": 50}
    assert lab.told().salt != old["definition"]
    (row,) = lab.status["history"]
    assert (row["id"], row["decision"], row["winner"]) == (old["id"], "Win", "b")
    assert row["reason"].endswith("over because the spec asks for another experiment")
    assert [arm["requests"] for arm in lab.status["arms"]] == [0, 0]
    lab.traffic(1_000)
    lab.wait(60)
    assert [arm["requests"] for arm in lab.status["arms"]] == [500, 500], "and nothing of the old run"


@pytest.mark.parametrize(
    "edit",
    [{"minSeconds": 5}, {"maxSeconds": 900}, {"decision": "Manual"}, {"suspend": True}, {"onInconclusive": "Pause"}],
)
def test_the_same_question_stays_the_same_run(edit: dict[str, Any]) -> None:
    lab = led(begun(), passes=1, yes=EQUAL)
    before = lab.status["run"]
    lab.edit(**edit)
    lab.wait(60)
    assert lab.status["run"] == before


def test_other_weights_are_another_segment_of_the_same_run() -> None:
    lab = led(begun(90, 10), passes=2, yes=EQUAL)
    before = lab.status["run"]["id"], lab.told().salt
    arms = lab.test["spec"]["arms"]
    lab.edit(arms=[{**arms[0], "weight": 50}, {**arms[1], "weight": 50}])
    lab.step()
    assert lab.status["run"]["counted"] == []
    lab.settle()
    led(lab, passes=2, yes=EQUAL)
    assert (lab.status["run"]["id"], lab.told().salt) == before
    assert [s["seconds"] for s in lab.status["segments"]] == [120, 120]
    assert [[w["percent"] for w in s["weights"]] for s in lab.status["segments"]] == [[90, 10], [50, 50]]


def test_annotations_of_an_earlier_run_are_not_heard_until_they_are_said_again() -> None:
    lab = begun()
    lab.annotate(promote="b")
    lab.settle()
    lab.edit(assignment={"header": "x-user-id", "salt": "again"})
    lab.settle()
    assert (lab.verdict(), lab.weights()) == ("Waiting", {"a": 50, "b": 50})
    lab.annotate()
    lab.step()
    lab.annotate(promote="b")
    lab.settle()
    assert (lab.verdict(), lab.weights()) == ("Promoted", {"a": 0, "b": 100})


def test_arms_that_are_not_there_yet_are_waited_for() -> None:
    lab = Lab()
    lab.vanish("b")
    done = lab.step()
    assert done.apply == ()
    assert lab.reason() == "ArmNotFound"
    assert "arm b: there is no ModelDeployment mdep-b in this namespace" in lab.condition("Ready")["message"]
    lab.rise("b")
    lab.fall("b")
    lab.step()
    assert lab.reason() == "ArmNotReady"
    assert "it ended with exit code 1" in lab.condition("Ready")["message"]
    lab.rise("b")
    lab.settle()
    assert lab.reason() == "Waiting"


def test_an_arm_that_vanishes_leaves_its_users_to_the_control_and_gets_them_back() -> None:
    lab = led(begun(), passes=1, yes=EQUAL)
    lab.vanish("b")
    lab.settle()
    assert (lab.reason(), lab.weights()) == ("ArmNotFound", {"a": 100, "b": 0})
    assert lab.condition("Ready")["message"].endswith("; its users go to the control")
    lab.rise("b")
    lab.settle()
    assert (lab.reason("ArmsReady"), lab.weights()) == ("ArmsAvailable", {"a": 50, "b": 50})
    assert len(lab.status["history"]) == 0, "the same revision is the same experiment"


def test_without_its_control_routers_do_as_they_were_told_last() -> None:
    lab = led(begun(70, 30), passes=1, yes=EQUAL)
    lab.vanish("a")
    lab.settle()
    assert (lab.reason(), lab.weights()) == ("ArmNotFound", {"a": 70, "b": 30})
    message = lab.condition("Ready")["message"]
    assert message.endswith("mdep-a in this namespace; it is the control, so routers do as they were told last")


def test_an_arm_whose_pods_fall_keeps_its_users_and_does_not_win_meanwhile() -> None:
    lab = begun(minSeconds=3_600)
    led(lab, passes=59, yes=BETTER)
    lab.fall("b")
    led(lab, passes=5, yes=BETTER)
    assert (lab.reason(), lab.verdict(), lab.weights()) == ("ArmNotReady", "Running", {"a": 50, "b": 50})
    lab.rise("b")
    lab.wait(15)
    assert lab.verdict() == "Win"


def test_an_arm_that_serves_another_revision_is_another_experiment() -> None:
    lab = led(begun(), passes=3, yes=BETTER)
    old = lab.status["run"]
    lab.rise("b", revision=1)
    lab.settle()
    assert lab.status["run"]["id"] != old["id"]
    assert lab.status["history"][0]["reason"].endswith("arm b serves another revision")
    assert lab.told().salt == old["definition"], "users keep their arms"
    assert lab.told().arm("b").host == "mdep-b-rev1b.team-a.svc"


def test_a_winner_may_roll_out_again() -> None:
    lab = won()
    before = lab.status["run"]["id"]
    lab.rise("b", revision=1)
    lab.settle()
    assert lab.status["run"]["id"] == before
    assert (lab.told().arm("b").host, lab.weights()) == ("mdep-b-rev1b.team-a.svc", {"a": 0, "b": 100})


def test_an_objective_that_never_reports_is_named() -> None:
    lab = led(begun(), passes=5)
    assert (lab.verdict(), lab.reason()) == ("Waiting", "NoOutcomes")
    assert "a (2500 requests), b (2500 requests)" in lab.condition("Ready")["message"]


def test_what_is_lacking_is_the_query() -> None:
    query = 'sum(refunds_total{arm="$arm"})'
    lab = begun(objective={"metric": "Prometheus", "direction": "Decrease", "query": query})
    lab.traffic(1_000)
    lab.wait(60)
    assert (lab.reason(), lab.weights()) == ("QueryFailed", {"a": 50, "b": 50})
    assert "a: the query gives 0 series" in lab.condition("Ready")["message"]


def test_a_query_decides_by_its_events_and_goes_on_after_counters_were_lost() -> None:
    query = 'sum(refunds_total{arm="$arm"})'
    lab = Lab(objective={"metric": "Prometheus", "direction": "Decrease", "query": query})
    a, b = (query.replace("$arm", arm) for arm in "ab")
    lab.events.numbers = {a: 700, b: 900}
    lab.settle()
    for minute in range(30):
        lab.traffic(1_000, yes=BETTER)
        lab.events.numbers[a] += 50
        lab.events.numbers[b] += 20
        if minute == 2:
            lab.events.numbers = {a: 10, b: 4}
        lab.wait(60)
        if lab.status["verdict"]["final"]:
            break
        events = [float(arm["mean"]) * arm["requests"] for arm in lab.status["arms"]]
        lost = 0 if minute < 2 else 1
        assert events == pytest.approx([50 * (minute + 1 - lost), 20 * (minute + 1 - lost)], rel=1e-3)
    assert (lab.verdict(), lab.status["verdict"]["winner"], lab.weights()) == ("Win", "b", {"a": 0, "b": 100})


def test_a_hopeless_experiment_is_told_so() -> None:
    lab = begun(maxSeconds=3_600, objective={"metric": "Outcome", "minimumEffectPercent": "1"})
    led(lab, passes=8, requests=100, yes=EQUAL)
    assert lab.condition("Powered")["reason"] == "TooFewUsers"
    assert "raise maxSeconds" in lab.condition("Powered")["message"]
    assert lab.status["power"]["neededUsers"] > 100_000


def test_power_is_told_by_what_the_arms_have_seen_before() -> None:
    lab = Lab()
    lab._predict("uid-pod-a", 10_000, 1_000)
    lab.now += timedelta(seconds=10_000)
    lab.step()
    assert lab.status["power"]["neededUsers"] == 115_520
    assert float(lab.status["power"]["days"]) == pytest.approx(115_520 / DAY, rel=1e-3)
    assert lab.condition("Powered")["reason"] == "EnoughTraffic"


def test_what_pods_counted_before_the_run_is_not_its_own() -> None:
    lab = Lab()
    lab._predict("uid-pod-a", 10_000, 5_000)
    lab.settle()
    led(lab, passes=1, yes=EQUAL)
    assert [arm["outcomes"] for arm in lab.status["arms"]] == [500, 500]
    assert lab.verdict() != "Paused"


def test_a_pod_that_counts_anew_is_counted_on() -> None:
    lab = led(begun(), passes=2, yes=EQUAL)
    lab.restart_pod("b")
    lab.step()
    led(lab, passes=2, yes=EQUAL)
    assert [arm["requests"] for arm in lab.status["arms"]] == [2_000, 2_000]
    assert lab.status["arms"][1]["outcomes"] in (1_500, 2_000), "never more than there were"


def test_counting_is_written_once_a_minute_and_news_at_once() -> None:
    lab = begun()
    lab.writes = 0
    for _ in range(8):
        lab.traffic(100, yes=EQUAL)
        lab.wait(15)
    assert lab.writes == 2, "the first counts, which change conditions, and those of a minute later"
    lab.edit(suspend=True)
    lab.wait(1)
    assert lab.writes == 3


def test_a_second_pass_writes_nothing_and_the_same_input_gives_the_same_plan() -> None:
    for lab in (begun(), won(), led(begun(), passes=3, yes=EQUAL)):
        assert lab.plan().status == lab.status
        assert lab.plan() == lab.plan()


def test_another_leader_goes_on_where_the_last_one_wrote() -> None:
    """Half of the passes are never written, as by a leader that dies: what was counted is the same in the end."""
    lab, other = begun(), begun()
    for minute in range(12):
        for one in (lab, other):
            one.traffic(1_000, yes=EQUAL)
        lab.wait(60)
        other.now = lab.now
        if minute % 2:
            other.step()
    lab.step()
    assert lab.status["arms"] == other.status["arms"]
    assert lab.told() == other.told()
    assert [s["seconds"] for s in lab.status["segments"]] == [s["seconds"] for s in other.status["segments"]]


def test_statuses_are_what_the_api_server_takes_and_stay_small() -> None:
    lab = begun(30, 10, 10, 10, 10, 10, 10, 10)
    led(lab, passes=5, yes=dict.fromkeys("abcdefgh", 0.1))
    assert crdcheck.violations(lab.test) == []
    assert len(json.dumps(lab.status)) < 60_000


def test_a_bandit_gives_more_to_the_better_arm_and_never_less_than_the_floor() -> None:
    lab = begun(bandit={"batchSeconds": 600, "floorPercent": 10}, maxSeconds=24_000, minSeconds=20_000)
    for _ in range(4):
        led(lab, passes=10, requests=400, yes={"a": 0.10, "b": 0.14})
    shares = [[w["percent"] for w in s["weights"]] for s in lab.status["segments"]]
    assert shares[0] == [50, 50]
    assert all(10 <= share <= 90 and share % 5 == 0 for pair in shares for share in pair)
    assert lab.weights()["b"] > 50
    assert lab.status["run"]["batch"] >= 3
