"""A canary from its first pod to all traffic, or back: what moves it, and what it says."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rollout_lab import MDEP, ROUTERS, SPACE, Lab
from trimtab.core.objects import Ref

CANARY: dict[str, Any] = {
    "strategy": "Canary",
    "steps": [{"weight": 10, "seconds": 10}, {"weight": 50, "seconds": 10}],
    "gates": {"minRequests": 50, "maxLatencyMilliseconds": 100},
    "bakeSeconds": 15,
    "maxSeconds": 120,
}


def settled(*, replicas: int = 4, **rollout: object) -> Lab:
    """A deployment of version 1 behind its routers."""
    lab = Lab({**CANARY, **rollout}, replicas=replicas)
    lab.run(4, 100)
    assert lab.condition()[:2] == ("True", "Reconciled")
    assert lab.fronted() == "routers"
    return lab


def shares(lab: Lab, seconds: int, requests: float = 100) -> list[dict[int, int]]:
    """The weights that routers are told, one after the other."""
    seen: list[dict[int, int]] = []
    for _ in range(seconds):
        lab.run(1, requests)
        if not seen or seen[-1] != lab.weights():
            seen.append(lab.weights())
    return seen


def test_an_equal_candidate_is_promoted_step_by_step() -> None:
    lab = settled()
    lab.deploy(2)
    assert shares(lab, 60) == [{1: 100}, {1: 90, 2: 10}, {1: 50, 2: 50}, {2: 100}]
    assert lab.history() == [("2", "Promoted", "Promoted")]
    assert (lab.serving(), lab.pods()) == (2, {2: 4})
    assert lab.condition()[:2] == ("True", "Reconciled")
    assert lab.rollout["verdict"] == "Promoted"


def test_a_settled_canary_writes_nothing() -> None:
    lab = settled()
    lab.deploy(2)
    lab.until("Promoted")
    lab.run(15, 100)
    writes = lab.writes
    lab.run(30, 100)
    lab.restart()
    lab.run(5, 100)
    assert lab.writes == writes


def test_the_front_reaches_pods_before_there_are_routers_and_routers_as_soon_as_they_obey() -> None:
    lab = Lab(CANARY)
    lab.deaf = {"risk-router-0"}
    lab.run(5, 10)
    assert lab.fronted() == "1"
    lab.deaf.clear()
    lab.run(2, 10)
    assert lab.fronted() == "routers"


def test_routers_that_have_not_found_the_pods_yet_get_no_traffic() -> None:
    """They resolve names by themselves; right after the start there is nothing behind the name."""
    lab = Lab(CANARY)
    lab.blind = True
    lab.run(5, 10)
    assert lab.fronted() == "1"
    lab.blind = False
    lab.run(2, 10)
    assert lab.fronted() == "routers"


def test_without_any_live_router_the_front_falls_back_to_the_pods() -> None:
    lab = settled()
    lab.cluster.edit(ROUTERS, lambda obj: obj["spec"].update(replicas=0))
    lab._act()
    lab._work(1)
    assert lab.fronted() == "1"


def test_a_candidate_is_large_enough_for_its_next_share() -> None:
    lab = settled()
    lab.deploy(2)
    lab.run(1, 100)
    assert lab.pods() == {1: 4, 2: 1}, "10 % of four pods"
    lab.until("Step 1")
    assert lab.pods() == {1: 4, 2: 2}, "50 % of them, before it has 50 %"
    lab.until("Step 2")
    assert lab.pods() == {1: 4, 2: 4}
    lab.until("Baking")
    assert lab.pods() == {1: 4, 2: 4}, "the one to go back to stays as large"


def test_with_autoscaling_both_revisions_keep_their_size() -> None:
    lab = Lab(CANARY, replicas=1, autoscaling={"minReplicas": 2, "maxReplicas": 9})
    lab.run(4, 100)
    (workload,) = lab._deployments()
    lab.cluster.edit(Ref("Deployment", SPACE, workload["metadata"]["name"]), lambda obj: obj["spec"].update(replicas=8))
    lab.run(2, 100)
    lab.deploy(2)
    lab.until("Step 1")
    scalers = {
        ref.name: obj["spec"]["minReplicas"]
        for ref, obj in lab.cluster.objects.items()
        if ref.kind == "HorizontalPodAutoscaler"
    }
    assert scalers == {f"risk-{lab.name(1)}": 8, f"risk-{lab.name(2)}": 4}


class TestHarm:
    def test_errors_send_it_back_and_are_told_with_numbers(self) -> None:
        lab = settled()
        lab.failing = {2: 0.2}
        lab.deploy(2)
        lab.until("RolledBack")
        assert lab.weights() == {1: 100}
        assert lab.history() == [("2", "RolledBack", "HarmProven")]
        status, reason, message = lab.condition()
        assert (status, reason) == ("False", "RolledBack")
        assert "fails more often than the current revision" in message
        assert f"revision {lab.name(1)} (version 1) keeps serving" in message
        assert lab.status["history"][0]["weight"] == 10

    def test_weight_is_taken_in_the_pass_that_finds_harm(self) -> None:
        lab = settled()
        lab.deploy(2)
        lab.until("Step 1")
        lab.run(2, 100)
        lab.failing = {2: 1.0}
        lab.run(1, 1_000)
        assert lab.rollout["verdict"] == "RolledBack: HarmProven"
        assert lab.weights() == {1: 100}

    def test_slow_answers_send_it_back(self) -> None:
        lab = settled()
        lab.slow = {2: 0.3}
        lab.deploy(2)
        lab.until("RolledBack")
        assert "95th percentile is above maxLatencyMilliseconds" in lab.condition()[2]

    def test_a_candidate_no_worse_than_a_bad_current_one_goes_on(self) -> None:
        lab = settled(gates={"minRequests": 50})
        lab.failing = {1: 0.05, 2: 0.05}
        lab.deploy(2)
        lab.until("Promoted")

    def test_what_was_sent_back_is_not_tried_again_until_something_else_is_asked_for(self) -> None:
        lab = settled()
        lab.failing = {2: 0.5}
        lab.deploy(2)
        lab.until("RolledBack")
        lab.run(10, 100)
        assert lab.pods() == {1: 4}
        lab.restart()
        lab.run(5, 100)
        assert lab.pods() == {1: 4}
        lab.deploy(3)
        lab.until("Promoted")
        assert lab.serving() == 3

    def test_harm_while_it_bakes_brings_back_what_served_before(self) -> None:
        lab = settled(gates={"minRequests": 50, "maxErrorPercent": "1"})
        lab.deploy(2)
        lab.until("Baking")
        assert lab.serving() == 2
        lab.failing = {2: 0.3}
        lab.until("RolledBack", 200)
        assert (lab.serving(), lab.weights()) == (1, {1: 100})
        lab.run(15, 100)
        assert lab.pods() == {1: 4}
        assert lab.condition()[:2] == ("False", "RolledBack")


class TestCrash:
    def test_pods_that_crash_before_they_are_ready(self) -> None:
        lab = settled()
        lab.crashing = {2}
        lab.deploy(2)
        lab.run(3, 100)
        assert lab.condition()[:2] == ("False", "CrashLooping"), "told at once, given up later"
        lab.until("RolledBack", 100)
        assert lab.history() == [("2", "RolledBack", "CrashLooping")]
        assert "no weights" in lab.condition()[2]
        assert lab.pods() == {1: 4}

    def test_pods_that_crash_under_traffic(self) -> None:
        lab = settled()
        lab.deploy(2)
        lab.until("Step 1")
        lab.crashing = {2}
        lab.run(2, 100)
        assert lab.rollout["verdict"] == "RolledBack: CrashLooping"
        assert lab.weights() == {1: 100}

    def test_pods_that_are_gone_without_a_word_begin_again(self) -> None:
        lab = settled()
        lab.deploy(2)
        lab.until("Step 1")
        ref = Ref("Deployment", SPACE, f"risk-{lab.name(2)}")
        lab.cluster.edit(ref, lambda obj: obj["status"].update(availableReplicas=0))
        lab._work(1)
        assert lab.rollout["verdict"] == "Starting"
        assert lab.weights() == {1: 100}
        lab.until("Promoted")


class TestNoData:
    def test_no_traffic_for_hours_is_no_verdict(self) -> None:
        lab = settled()
        lab.deploy(2)
        lab.until("Step 1")
        lab.run(3, 30)
        lab.run(4, 0)
        writes = lab.writes
        lab.run(4 * 3_600, 0, pace=480)
        assert lab.rollout["verdict"] == "Step 1 of 2, 10 %"
        assert lab.writes == writes, "and nothing is written meanwhile"

    def test_nobody_ever_asked(self) -> None:
        lab = settled()
        lab.run(1, 0)
        lab.deploy(2)
        lab.run(3_600, 0, pace=120)
        assert lab.rollout["verdict"] == "Step 1 of 2, 10 %"
        assert "no request has come yet" in lab.condition()[2]
        assert lab.history() == []

    def test_too_little_traffic_in_the_time_there_is_is_inconclusive(self) -> None:
        lab = settled(gates={"minRequests": 100_000})
        lab.deploy(2)
        lab.run(110, 20, pace=5)
        lab.until("RolledBack", 20, seconds=90)
        assert lab.rollout["reason"] == "Inconclusive"
        assert lab.weights() == {1: 100}
        assert 120 <= lab.rollout["activeSeconds"] <= 125


class TestOrders:
    def test_pause_keeps_the_share_and_the_time(self) -> None:
        lab = settled()
        lab.deploy(2)
        lab.until("Step 1")
        lab.note(rollout_paused="true")
        lab.run(60, 100, pace=5)
        assert lab.rollout["verdict"] == "Step 1 of 2, 10 %, paused"
        assert lab.condition()[:2] == ("Unknown", "RolloutPaused")
        lab.note(rollout_paused="")
        lab.run(5, 100)
        assert lab.rollout["verdict"] == "Step 1 of 2, 10 %", "its ten seconds are not over yet"
        lab.until("Promoted")

    def test_harm_is_harm_also_while_paused(self) -> None:
        lab = settled()
        lab.deploy(2)
        lab.until("Step 1")
        lab.note(rollout_paused="true")
        lab.failing = {2: 0.5}
        lab.run(10, 200)
        assert lab.rollout["verdict"] == "RolledBack: HarmProven"

    def test_promote_skips_what_is_left(self) -> None:
        lab = settled(gates={"minRequests": 100_000})
        lab.deploy(2)
        lab.until("Step 1")
        lab.note(promote=lab.name(2))
        lab.run(4, 100)
        assert (lab.serving(), lab.weights()) == (2, {2: 100})
        lab.until("Promoted")
        assert "names it" in lab.rollout["message"]

    def test_promote_overrules_a_rollback(self) -> None:
        lab = settled()
        lab.failing = {2: 0.5}
        lab.deploy(2)
        lab.until("RolledBack")
        lab.run(3, 100)
        lab.note(promote=lab.rollout["revision"])
        lab.until("Promoted")
        assert lab.serving() == 2

    def test_abort_takes_it_back_at_once(self) -> None:
        lab = settled()
        lab.deploy(2)
        lab.until("Step 1")
        lab.note(abort=lab.name(2))
        lab.run(1, 100)
        assert lab.rollout["verdict"] == "RolledBack: Aborted"
        assert lab.weights() == {1: 100}
        lab.run(30, 100)
        assert lab.pods() == {1: 4}

    def test_abort_while_it_bakes(self) -> None:
        lab = settled()
        lab.deploy(2)
        lab.until("Baking")
        lab.note(abort=lab.name(2))
        lab.run(1, 100)
        assert (lab.serving(), lab.weights()) == (1, {1: 100})

    def test_a_newer_revision_takes_the_place_of_the_candidate(self) -> None:
        lab = settled()
        lab.deploy(2)
        lab.until("Step 2")
        lab.deploy(3)
        seen = shares(lab, 60)
        assert seen[0] in ({1: 50, 2: 50}, {1: 100})
        assert seen[-4:] == [{1: 100}, {1: 90, 3: 10}, {1: 50, 3: 50}, {3: 100}]
        assert lab.history() == [("3", "Promoted", "Promoted"), ("2", "Superseded", "Superseded")]
        assert lab.pods() == {3: 4}

    def test_asking_for_what_serves_ends_the_rollout(self) -> None:
        lab = settled()
        lab.deploy(2)
        lab.until("Step 1")
        lab.deploy(1)
        lab.run(10, 100)
        assert (lab.weights(), lab.pods()) == ({1: 100}, {1: 4})
        assert lab.condition()[:2] == ("True", "Reconciled")


class TestShadow:
    def test_copies_come_before_the_first_step(self) -> None:
        lab = settled(shadowPercent=20, shadowSeconds=10)
        lab.deploy(2)
        lab.until("Shadowing")
        lab.run(3, 100)
        shadow = lab.router().shadow
        assert shadow is not None
        assert (shadow.arm, shadow.percent) == (f"r{lab.name(2)}", 20)
        assert lab.weights() == {1: 100}
        lab.until("Step 1")
        lab.run(2, 100)
        assert lab.router().shadow is None
        lab.until("Promoted")

    @pytest.mark.parametrize("harm", ["failing", "slow"])
    def test_its_copies_can_prove_harm_before_anybody_is_harmed(self, harm: str) -> None:
        lab = settled(shadowPercent=50, shadowSeconds=60)
        setattr(lab, harm, {2: 0.4})
        lab.deploy(2)
        seen = shares(lab, 40)
        assert lab.rollout["verdict"] == "RolledBack: HarmProven"
        assert seen == [{1: 100}]


def test_a_step_begins_when_every_live_router_knows_of_it() -> None:
    lab = settled()
    lab.deploy(2)
    lab.until("Step 1")
    lab.run(2, 100)
    lab.deaf = {"risk-router-1"}
    lab.until("Step 2")
    lab.run(30, 100)
    assert lab.rollout["verdict"] == "Step 2 of 2, 50 %"
    assert "clockAt" not in lab.rollout
    lab.deaf.clear()
    lab.run(2, 100)
    assert "clockAt" in lab.rollout


def test_leaving_the_strategy_leads_around_the_routers_before_they_go() -> None:
    lab = settled()
    lab.spec(rollout={"strategy": "RollingUpdate", "steps": [], "shadowPercent": 0})
    lab.run(1, 100)
    assert lab.fronted() == "1"
    assert ROUTERS in lab.cluster.objects, "who still asks them is answered"
    lab.run(15, 100)
    assert ROUTERS not in lab.cluster.objects
    assert "router" not in lab.status


def test_an_experiment_holds_new_revisions() -> None:
    lab = settled()
    meta = {"name": "which", "namespace": SPACE}
    arms = [{"name": "control", "deployment": MDEP.name, "weight": 50}]
    test = {"apiVersion": "trimtab.dev/v1alpha1", "kind": "ABTest", "metadata": meta, "spec": {"arms": arms}}
    lab.cluster.put(test)
    lab.deploy(2)
    lab.run(5, 100)
    assert lab.pods() == {1: 4}
    assert lab.condition()[:2] == ("True", "RolloutHeld")
    assert "ABTest which" in lab.condition()[2]
    ended = {**test, "status": {"verdict": {"decision": "Inconclusive"}}}
    lab.cluster.put(ended)
    lab.run(3, 100)
    assert lab.pods() == {1: 4, 2: 2}
