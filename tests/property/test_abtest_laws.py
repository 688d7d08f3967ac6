"""Laws of the plans of experiments, for any spec, any status and whatever arms and routers do."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests import crdcheck
from tests.property import strategies
from tests.thorough import examples
from tests.unit.kinds.abtest_lab import Lab
from trimtab.kinds.abtest.api import ABTest
from trimtab.traffic.slots import assign
from trimtab.traffic.state import SLOTS

quick = settings(max_examples=examples(45), deadline=None, suppress_health_check=list(HealthCheck))
USERS = [f"user-{number}" for number in range(300)]
arms = st.sampled_from("abc")
STEPS = st.one_of(
    st.tuples(st.just("traffic"), st.integers(1, 3_000)),
    st.tuples(st.sampled_from(["vanish", "fall", "rise", "restart_pod"]), arms),
    st.tuples(st.just("wait"), st.sampled_from([1, 15, 70, 4_000])),
    st.tuples(st.sampled_from(["obey", "deaf", "hear", "forget"]), st.just(0)),
    st.tuples(st.just("edit"), st.sampled_from([{"suspend": True}, {"suspend": False}, {"decision": "Manual"}])),
    st.tuples(st.just("annotate"), st.sampled_from([{}, {"promote": "b"}, {"abort": "yes"}, {"promote": "nobody"}])),
)
RATES: Mapping[str, Mapping[str, float]] = {
    "yes": {"a": 0.1, "b": 0.13, "c": 0.1},
    "errors": {"a": 0.01, "b": 0.01, "c": 0.06},
}
GUARDED: dict[str, Any] = {"guardrails": [{"metric": "Errors", "maxIncreasePercent": "50"}], "maxSeconds": 20_000}


def lab() -> Lab:
    made = Lab(40, 30, 30, **GUARDED)
    made.settle()
    return made


def _serve(on: Lab, requests: int) -> None:
    if "router" in on.status:
        on.obey()
        on.traffic(requests, **RATES)


def _fall(on: Lab, arm: str) -> None:
    if arm in on.deployments:
        on.fall(arm)


ACTS: Mapping[str, Callable[[Lab, Any], Any]] = {
    "traffic": _serve,
    "fall": _fall,
    "vanish": lambda on, arm: on.deployments.pop(arm, None),
    "rise": Lab.rise,
    "restart_pod": Lab.restart_pod,
    "wait": Lab.wait,
    "obey": lambda on, _: on.obey(),
    "deaf": lambda on, _: on.deaf.add("uid-router-1"),
    "hear": lambda on, _: on.deaf.clear(),
    "forget": lambda on, _: on.test.pop("status", None),
    "edit": lambda on, spec: on.edit(**spec),
    "annotate": lambda on, notes: on.annotate(**notes),
}


def act(on: Lab, step: tuple[str, Any]) -> None:
    """Something happens, and the operator looks."""
    what, how = step
    ACTS[what](on, how)
    on.step()


def rests(on: Lab) -> bool:
    """Whether another look at the same finds nothing new.

    Routers that are told what they still do, before they have heard of anything else, are believed one pass later: a
    report counts when it is younger than the telling. That pass may say so, and decides and tells nothing.
    """
    before = on.status
    if on.plan().status != before and on.reason("TrafficApplied") == "TrafficMoving":
        on.step()
        assert on.reason("TrafficApplied") == "RoutersConfirmed"
        assert [on.status.get(part) for part in ("verdict", "router")] == [before.get("verdict"), before.get("router")]
        assert on.status["run"]["stopped"] == before["run"]["stopped"]
    return on.plan().status == on.status


@quick
@given(steps=st.lists(STEPS, max_size=8))
@example(steps=[("vanish", "a"), ("traffic", 1_084)]).via("a control that is gone, and an arm that harms")
@example(
    steps=[
        ("annotate", {"abort": "yes"}),
        ("traffic", 1),
        ("annotate", {"promote": "b"}),
        ("annotate", {"abort": "yes"}),
    ]
).via("routers that are told to go on before they have heard otherwise")
def test_whatever_happens_statuses_are_sound_and_a_second_pass_rests(steps: list[tuple[str, Any]]) -> None:
    on = lab()
    for step in steps:
        act(on, step)
        assert on.plan() == on.plan()
        assert rests(on)
        if "router" in on.status:
            assert sum(on.told().weights().values()) == SLOTS
            names = {arm["name"] for arm in on.test["spec"]["arms"]}
            assert {arm.name for arm in on.told().arms} <= names
    assert crdcheck.violations(on.test) == []


@quick
@given(steps=st.lists(STEPS.filter(lambda step: step[0] not in ("annotate", "edit", "forget")), max_size=8))
def test_no_decision_reverts_by_itself_and_a_stopped_arm_stays_stopped(steps: list[tuple[str, Any]]) -> None:
    on = lab()
    run, final, stopped = on.status["run"]["id"], None, []
    for step in steps:
        act(on, step)
        if on.status["run"]["id"] != run or "verdict" not in on.status:
            run, final, stopped = on.status["run"]["id"], None, []
            continue
        verdict = on.status["verdict"]
        assert final in (None, (verdict["decision"], verdict["winner"]))
        final = (verdict["decision"], verdict["winner"]) if verdict["final"] else None
        assert on.status["run"]["stopped"][: len(stopped)] == stopped
        stopped = on.status["run"]["stopped"]


@quick
@given(steps=st.lists(STEPS.filter(lambda step: step[0] not in ("annotate", "edit")), max_size=8))
def test_users_move_to_and_from_the_control_alone_and_keep_their_slots_when_all_is_forgotten(
    steps: list[tuple[str, Any]],
) -> None:
    on = lab()
    for step in steps:
        if "router" not in on.status:
            return
        before, control = {user: assign(on.told(), user) for user in USERS}, on.told().control
        act(on, step)
        if "router" not in on.status:
            return
        after, now = {user: assign(on.told(), user) for user in USERS}, on.told().control
        moved = {(before[user], after[user]) for user in USERS if before[user] != after[user]}
        assert all(control in pair or now in pair for pair in moved), moved


@quick
@given(test=strategies.objects("ABTest"), status=strategies.statuses("ABTest"), seconds=st.integers(0, 10**6))
def test_no_status_makes_a_pass_fail(test: dict[str, Any], status: dict[str, Any], seconds: int) -> None:
    """Whatever an older release, a hand or a backup left there."""
    on = Lab()
    on.test = json.loads(json.dumps({**test, "status": status}))
    on.test["metadata"].update(name="exp", namespace="team-a")
    on.now += timedelta(seconds=seconds)
    ABTest.parse(on.test)
    on.plan()
