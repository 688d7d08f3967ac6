"""Blue-green: all traffic at once, to a candidate that answers its own example, with a way back."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rollout_lab import Lab

BLUE_GREEN: dict[str, Any] = {"strategy": "BlueGreen", "gates": {"maxErrorPercent": "2"}, "bakeSeconds": 30}


def settled(**rollout: object) -> Lab:
    lab = Lab({**BLUE_GREEN, **rollout})
    lab.run(3, 100)
    assert lab.condition()[:2] == ("True", "Reconciled")
    return lab


def test_it_switches_at_full_size_and_keeps_the_old_one_warm() -> None:
    lab = settled()
    lab.deploy(2)
    seen = []
    for _ in range(45):
        lab.run(1, 100)
        now = (lab.fronted(), lab.serving(), tuple(sorted(lab.pods().items())))
        if not seen or seen[-1] != now:
            seen.append(now)
    both = ((1, 4), (2, 4))
    assert seen == [("1", 1, both), ("2", 2, both), ("2", 2, ((2, 4),))]
    assert lab.history() == [("2", "Promoted", "Promoted")]
    assert "router" not in lab.status


def test_what_does_not_answer_its_own_example_gets_no_traffic() -> None:
    lab = settled()
    lab.unfit = {2: "500 Internal Server Error: no such column"}
    lab.deploy(2)
    lab.run(10, 100)
    assert lab.fronted() == "1"
    assert "does not answer its own example: 500 Internal Server Error: no such column" in lab.condition()[2]
    lab.until("RolledBack")
    assert lab.history() == [("2", "RolledBack", "SmokeTestFailed")]
    assert "no such column" in lab.condition()[2]
    assert lab.pods() == {1: 4}


def test_an_example_that_is_answered_late_is_waited_for() -> None:
    lab = settled()
    lab.unfit = {2: "warming up"}
    lab.deploy(2)
    lab.run(10, 100)
    lab.unfit = {}
    lab.until("Promoted")


def test_a_container_of_ones_own_has_no_example() -> None:
    lab = Lab({"strategy": "BlueGreen", "bakeSeconds": 10}, container={"image": "risk:1"})
    lab.run(3)
    lab.unfit = {2: "no such path"}
    lab.deploy(2)
    lab.until("Promoted", 0)


def test_errors_above_the_limit_bring_the_old_one_back() -> None:
    lab = settled()
    lab.deploy(2)
    lab.until("Baking")
    lab.failing = {2: 0.2}
    lab.until("RolledBack", 200)
    assert lab.fronted() == "1"
    assert "maxErrorPercent 2" in lab.condition()[2]
    lab.run(2, 200)
    assert lab.serving() == 1
    lab.run(15, 200)
    assert lab.pods() == {1: 4}
    assert lab.fronted() == "1"


def test_without_gates_nothing_is_judged() -> None:
    lab = Lab({"strategy": "BlueGreen", "bakeSeconds": 10})
    lab.run(3, 100)
    lab.failing = {2: 0.9}
    lab.deploy(2)
    lab.until("Promoted")


def test_there_is_no_way_back_to_nobody() -> None:
    lab = settled()
    lab.deploy(2)
    lab.until("Baking")
    lab.crashing = {1}
    lab.failing = {2: 0.5}
    lab.run(10, 200)
    assert (lab.fronted(), lab.serving()) == ("2", 2)


@pytest.mark.parametrize("stage", ["Starting", "Baking"])
def test_abort_brings_the_old_one_back_at_any_time(stage: str) -> None:
    lab = settled()
    lab.unfit = {2: "warming up"} if stage == "Starting" else {}
    lab.deploy(2)
    lab.until(stage)
    lab.note(abort=lab.name(2))
    lab.run(3, 100)
    assert (lab.fronted(), lab.serving()) == ("1", 1)
    assert lab.history() == [("2", "RolledBack", "Aborted")]


def test_a_rolling_update_can_be_aborted_and_is_remembered_too() -> None:
    lab = Lab()
    lab.run(3)
    lab.crashing = {2}
    lab.deploy(2)
    lab.run(100, pace=10)
    assert lab.condition()[:2] == ("False", "CrashLooping"), "it waits as long as it takes"
    lab.note(abort=lab.name(2))
    lab.run(3)
    assert lab.pods() == {1: 4}
    lab.deploy(3)
    lab.run(15)
    assert lab.history() == [("3", "Promoted", "Promoted"), ("2", "RolledBack", "Aborted")]
