"""The sample ratio of a live experiment: what its sources lose by themselves is no mismatch, and a mismatch is one."""

from __future__ import annotations

from typing import Any

from tests.unit.kinds.abtest_lab import Lab
from trimtab.evidence.ledger import restore
from trimtab.kinds.abtest.status import Status

EQUAL = {"a": 0.10, "b": 0.10}


def begun(*weights: int, **spec: Any) -> Lab:
    """An experiment whose routers do what they were told."""
    lab = Lab(*weights, **spec)
    lab.settle()
    return lab


def rows(lab: Lab) -> dict[str, float]:
    """The rows that were counted of each arm, in its first segment."""
    tallies = restore(Status.model_validate(lab.status).ledger).segments[0].tallies
    return {name: sum(bucket.rows for bucket in tally.buckets) for name, tally in tallies.items()}


def test_pods_that_die_with_what_they_counted_are_no_mismatch() -> None:
    """A pod that ends takes along what was not written yet; routers still know who was sent to it."""
    lab = begun()
    for _ in range(8):
        lab.traffic(4_000, yes=EQUAL)
        lab.wait(30)
        lab.restart_pod("b")
        lab.traffic(2_000, yes=EQUAL)
        lab.wait(30)
    assert rows(lab)["b"] < 0.8 * rows(lab)["a"], "there was something to lose"
    assert (lab.verdict(), lab.reason()) == ("Running", "Running")


def test_an_arm_that_fails_more_often_has_no_fewer_users() -> None:
    lab = begun()
    for _ in range(20):
        lab.traffic(2_000, errors={"b": 0.2})
        lab.wait(60)
    assert rows(lab)["b"] < 0.85 * rows(lab)["a"]
    assert lab.status["evidence"]["srm"]["mismatch"] is False


def test_that_nobody_counts_users_is_said_and_is_no_mismatch() -> None:
    """Pods of one arm, or of all, were not told which header names the user, or clients send none."""
    for nameless in ("b", "ab"):
        lab = begun(objective={"metric": "Errors"})
        for _ in range(4):
            lab.traffic(2_000, errors={"a": 0.01, "b": 0.01})
            for arm in nameless:
                lab.forget_users(arm)
            lab.wait(60)
        assert (lab.verdict(), lab.reason("Measured")) == ("Running", "UsersNotCounted")
        deployments = ", ".join(f"mdep-{arm}" for arm in nameless)
        assert f"userHeader of ModelDeployment {deployments} to x-user-id" in lab.condition("Measured")["message"]
        assert "users are not counted" in lab.condition("Ready")["message"]


def test_users_that_do_not_come_by_the_weights_pause_all_decisions() -> None:
    """Also while pods die: what they lose is no excuse for what routers saw."""
    lab = begun()
    for turn in range(10):
        lab.serve("a", 1_200, yes=120)
        lab.serve("b", 800, yes=80)
        lab.wait(60)
        if turn % 3 == 2:
            lab.restart_pod("a")
    assert (lab.verdict(), lab.reason()) == ("Paused", "SampleRatioMismatch")


def test_feedback_by_way_of_the_routers_neither_is_nor_hides_a_mismatch() -> None:
    """Routers count it, and pods do not take it for a prediction: in all arms alike."""
    lab = begun()
    for _ in range(10):
        lab.traffic(2_000, yes=EQUAL)
        for arm in lab.names:
            lab.tell(arm, 500)
        lab.wait(60)
    assert lab.verdict() == "Running"
    for _ in range(20):
        lab.serve("a", 1_200, yes=120)
        lab.serve("b", 800, yes=80)
        lab.tell("a", 600)
        lab.tell("b", 400)
        lab.wait(60)
    assert (lab.verdict(), lab.reason()) == ("Paused", "SampleRatioMismatch")
